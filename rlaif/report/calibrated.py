"""A calibration and what it did -> words and tables: the labels, who predicts people, what the labels lean to.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlaif.config.evaluation import is_built_in
from rlaif.evaluation.leanings import Leaning
from rlaif.evaluation.people import CalibrationEffect, Predictor
from rlaif.evaluation.text_measures import find_unit
from rlaif.records import CalibrationMap, Estimate, PartMap
from rlaif.report.input import ReadoutLoss
from rlaif.report.moved import Moved
from rlaif.report.wording import (
    NOTHING,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    join_words,
    show_plain,
)

MAP_NAMES = {
    "identity": "left as they are",
    "temperature": "temperature",
    "temperature_length": "temperature and length",
    "panel": "a slope for each judge, and length",
    "pooled": "temperature and length for each principle",
}
TRIAL_NAMES = {"human": "pairs of people", "judge": "pairs of the judge"}
NUM_WORDS = 10
"""A judge's liking for length is said for so many words."""


def describe_map(found: CalibrationMap) -> str:
    """What calibration did to the judge's labels, in words."""
    if found.kind == "identity":
        return "The judge's labels were left as they are: no other map predicted the people's choices better."
    sure = "surer" if found.slope > 1 else "less sure"
    said = f"The labels were made {sure} (their log-odds times {format_number(found.slope, decimals=2)})"
    if found.kind == "temperature":
        return said + "."
    if found.by_principle:
        parts = join_words([_describe_part(part, has_length=True) for part in found.by_principle])
        return f"{said} on the whole; each principle has its own slope and weight of length: {parts}."
    if found.by_judge:
        said += " on the whole; each judge has its own slope: "
        said += join_words([_describe_part(part, has_length=False) for part in found.by_judge])
    step, limit = found.length_sd, found.length_limit * found.length_sd
    return (
        f"{said}, and the longer response {'loses' if found.length < 0 else 'gains'} "
        f"{format_number(abs(found.length), decimals=2)} log-odds for every {format_number(step, decimals=1)} words "
        f"that it is longer, up to {format_number(limit, decimals=0)} words: the judge had liked length "
        f"{'more' if found.length < 0 else 'less'} than the labels do."
    )


def _describe_part(part: PartMap, *, has_length: bool) -> str:
    slope = f"{part.name[:12] if not has_length else part.name} times {format_number(part.slope, decimals=2)}"
    return f"{slope} and {format_number(part.length, decimals=2)} for length" if has_length else slope


def describe_liking(found: CalibrationMap) -> str:
    """The liking for length that the map takes away, in the judge's own log-odds; empty where it takes none."""
    if found.by_principle:
        parts = [(part.name, _find_liking(part.slope, part.length, found.length_sd)) for part in found.by_principle]
        said = [f"{show_plain(name)} {_format_liking(liking)}" for name, liking in parts if liking is not None]
        return f"The judge's liking for length, in its log-odds for every {NUM_WORDS} words, was {join_words(said)}."
    liking = _find_liking(found.slope, found.length, found.length_sd)
    if liking is None or found.length == 0:
        return ""
    what = "liking for" if liking > 0 else "dislike of"
    return (
        f"The judge's {what} length was taken away: {_format_liking(abs(liking), signed=False)} of its log-odds for "
        f"every {NUM_WORDS} words that a response is longer."
    )


def _find_liking(slope: float, length: float, length_sd: float) -> float | None:
    """What the judge adds for NUM_WORDS words where people would be even; None where its labels count nothing."""
    return -length / slope * NUM_WORDS / length_sd if slope > 0 else None


def _format_liking(liking: float, *, signed: bool = True) -> str:
    return format_number(liking, decimals=2, signed=signed)


def describe_effect(effect: CalibrationEffect | None) -> Iterator[str]:
    """Sentences on what a calibration changed in this round's labels."""
    if effect is None or not effect.num_pairs:
        return
    turned = format_percent(effect.num_turned / effect.num_pairs)
    yield (
        f"Of {format_count(effect.num_pairs, 'pair')} that the judge labelled in this round, "
        f"{format_number(effect.num_turned)} ({turned}) changed side."
    )
    if effect.by_principle:
        said = [
            f"{show_plain(name)} {format_number(turned)} of {format_number(num)}"
            for name, (turned, num) in effect.by_principle.items()
        ]
        yield f"Comparisons under one principle that changed side: {join_words(said)}."
    longer = effect.longer
    if longer is not None:
        before, after = (format_percent(mean, decimals=0) for mean in (longer.mean_before, longer.mean_after))
        yield f"The longer response of a pair was given {before} on average, and {after} after calibration."


def predictors_view(predictors: Sequence[Predictor]) -> dict[str, Any] | None:
    """Who predicts people's choices on pairs that were held out of the reward model's training."""
    if not predictors:
        return None
    return {
        "pairs": format_count(predictors[0].num_pairs, "pair"),
        "rows": [
            {
                "name": one.name,
                "accuracy": format_estimate(one.accuracy, percent=True),
                "log_loss": format_estimate(one.log_loss),
                "n": format_estimate(one.log_loss).n,
            }
            for one in predictors
        ],
    }


def describe_readout(readout: ReadoutLoss | None) -> str:
    """What people's rows are worth to the reward model, or how to measure it."""
    if readout is None:
        return (
            "What a reward model without people's rows would know was not measured; "
            "reward_model.human_weight=cross_validated measures it."
        )
    without, with_people = (format_number(loss, decimals=3) for loss in (readout.without, readout.with_people))
    return (
        "Read-outs of the reward model's base, fitted without the prompts that they are measured on, predict people's "
        f"choices with a log loss of {without} by the judge's rows alone, and of {with_people} with people's rows, "
        f"which count {format_number(readout.weight)} each."
    )


def trials_view(readout: ReadoutLoss | None) -> list[dict[str, Any]]:
    """Rows of a table: pairs of people and of the judge, ordered with people's rows and without them."""
    return [
        {
            "name": TRIAL_NAMES[trial.source],
            "pairs": format_number(trial.num_pairs),
            "without": format_estimate(trial.accuracy_without, percent=True),
            "with_people": format_estimate(trial.accuracy_with, percent=True),
            "gain": format_estimate(_in_points(trial.gain), signed=True, decimals=1),
        }
        for trial in (() if readout is None else readout.by_source)
    ]


def _in_points(share: Estimate) -> Estimate:
    return Estimate(mean=100 * share.mean, low=100 * share.low, high=100 * share.high, n=share.n)


def leanings_view(leanings: Sequence[Leaning], moved: Moved) -> dict[str, Any] | None:
    """What the labels lean to, and how the policy moved; of two opposite poles the one that the page shows."""
    shown = [leaning for leaning in leanings if leaning.name not in moved.mirrored]
    if not shown:
        return None
    named = {row.name: row.principles for row in moved.named}
    return {
        "turns": [_describe_turn(one, named) for one in shown if one.turn is not None],
        "rows": [
            {
                "name": one.name,
                "unit": find_unit(one.name) if is_built_in(one.name) else "",
                "named": ", ".join(named.get(one.name, ())),
                "before": format_estimate(one.labels.before, signed=True),
                "after": format_estimate(one.labels.after, signed=True),
                "change": format_estimate(one.labels.change, signed=True),
                "policy": format_estimate(one.policy.change, signed=True) if one.policy else NOTHING,
                "policy_means": _format_move(one) if one.policy else "",
                "n": format_estimate(one.labels.change).short_n,
            }
            for one in shown
        ],
    }


def _describe_turn(leaning: Leaning, named: Mapping[str, Sequence[str]]) -> str:
    """A measure whose direction changed, and whether the policy followed."""
    name = f"{show_plain(leaning.name)}{'' if leaning.name in named else ', which no principle names'}"
    before, after = leaning.labels.mean_before, leaning.labels.mean_after
    liking = "liking for" if before > 0 else "dislike of"
    whats = {
        "turned": f"turned into its opposite the judge's {liking} {name}",
        "taken away": f"took away the judge's {liking} {name}",
        "given": f"brought in, where the judge had none, a {'liking for' if after > 0 else 'dislike of'} {name}",
    }
    what = whats[leaning.turn or "given"]
    said = (
        f"People's labels {what}: the preferred response of a pair had {_format_more(before)} of it than the other "
        f"one, and now has {_format_more(after)}"
    )
    if leaning.is_followed:
        said += f"; the policy went {_format_move(leaning)}"
    elif leaning.policy is not None:
        said += f"; the policy did not clearly follow ({_format_move(leaning)})"
    return f"{said}."


def _format_more(lean: float) -> str:
    return f"{format_number(abs(lean), decimals=1)} {'more' if lean > 0 else 'less'}"


def _format_move(leaning: Leaning) -> str:
    if leaning.policy is None:
        return ""
    before, after = (
        format_number(mean, decimals=1) for mean in (leaning.policy.mean_before, leaning.policy.mean_after)
    )
    return f"from {before} to {after}"
