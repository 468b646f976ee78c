"""The judge's health -> the words and charts of its section.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from rlaif.config.preferences import PreferencesConfig
from rlaif.judge_health.health import MASS_EDGES, JudgeHealth
from rlaif.judge_health.length_effect import LengthEffect
from rlaif.judging.modes import MODES
from rlaif.records import CalibrationMap, Estimate
from rlaif.report.charts import Spot, histogram, spot_chart
from rlaif.report.wording import format_count, format_estimate, format_number, format_percent, join_words
from rlaif.stats.logits import sigmoid

PLANTED = (
    "The front desk's judge prefers the first place by a planted bias, so that there is something to find. The share "
    "of order flips that its card gives, 0.5 %, counts clear pairs alone, in which one response is plainly better. "
    "Most pairs of a run are close, and there the bias decides."
)


def judge_view(
    health: JudgeHealth | None,
    *,
    preferences: Mapping[str, Any] | None = None,
    is_planted: bool = False,
    calibration: CalibrationMap | None = None,
) -> dict[str, Any] | None:
    """The section on one judge. `preferences`: the run's options for making labels; `is_planted`: it is the front
    desk's judge, whose position bias was trained into it."""
    if health is None:
        return None
    mode = MODES[health.mode]
    failed = sum(health.failed_by_cause.values())
    asked = failed + health.num_judgements
    lowest = health.lowest_label_mass
    return {
        "planted": PLANTED if is_planted else "",
        "making": _describe_making(preferences),
        "comparisons": format_count(health.num_comparisons, "comparison"),
        "flipped": format_estimate(health.flipped, percent=True),
        "position": format_estimate(health.position_effect, signed=True, decimals=2),
        "even_pair": _format_even_pair(health.position_effect),
        "mass": format_estimate(health.label_mass, percent=True),
        "lowest_mass": "" if lowest is None else f"; the least {format_percent(lowest)}",
        "failed": format_number(failed),
        "failed_share": format_percent(failed / max(1, asked)),
        "asked": format_count(asked, "answer"),
        "causes": [
            (cause.replace("_", " "), format_number(count), format_percent(count / max(1, asked)))
            for cause, count in sorted(health.failed_by_cause.items(), key=lambda item: -item[1])
        ],
        "scored": mode.shows == "one",
        "orders": " ".join(filter(None, (mode.words.orders, _describe_scale(mode.words.scale, calibration)))),
        "is_answered": health.label_mass is not None or not mode.words.scale,
        "one_order": format_count(health.num_one_order, "comparison was", "comparisons were") + f" {mode.words.too_few}"
        if health.num_one_order
        else "",
        "saturated": format_estimate(health.saturated, percent=True),
        "mass_histogram": _draw_mass(health),
        "mass_n": format_count(sum(health.label_mass_bins), "judgement"),
        "length": _length_view(health.length),
        "principles": _principles_view(health),
        "circles": _circles_view(health),
        "repeats": _describe_repeats(health),
        "served": join_words([f"{name} ({format_number(count)})" for name, count in health.served_models.items()])
        if len(health.served_models) > 1
        else "",
        "histogram": histogram(
            health.confidence_bins,
            edges=("undecided: 50 %", "certain: 100 %"),
            name="labels",
            title="Comparisons by the probability of the likelier response",
            desc="Ten bins from .5 to 1: " + ", ".join(str(count) for count in health.confidence_bins),
        ),
    }


def _describe_scale(scale: str, calibration: CalibrationMap | None) -> str:
    """Where the labels' scale comes from, for a judge whose labels are no probabilities."""
    if not scale or calibration is None or calibration.kind == "identity":
        return scale
    return "How sure the labels are was fitted to people's labels, as a contrast gives no probability."


def _describe_making(preferences: Mapping[str, Any] | None) -> str:
    """How the making of labels differs from the default, in sentences; empty where it does not."""
    known = {key: value for key, value in (preferences or {}).items() if key in PreferencesConfig.model_fields}
    return " ".join(PreferencesConfig.model_validate(known).describe_making())


def _format_even_pair(effect: Estimate | None) -> str:
    """How often the response in the first place wins a pair that is otherwise even."""
    return "" if effect is None else format_percent(sigmoid(effect.mean), decimals=0)


def _draw_mass(health: JudgeHealth) -> Markup | None:
    """Judgements by their label mass, in bins that grow narrower towards 1, where most of them are."""
    if not health.label_mass_bins:
        return None
    edges = [0.0, *MASS_EDGES, 1.0]
    said = [f"{edges[k]:g} to {edges[k + 1]:g}: {count}" for k, count in enumerate(health.label_mass_bins) if count]
    return histogram(
        health.label_mass_bins,
        edges=(f"below {MASS_EDGES[0]:g}", f"above {MASS_EDGES[-1]:g}"),
        name="mass",
        title="Judgements by the probability on all verdicts together",
        desc="; ".join(said),
    )


def _length_view(length: LengthEffect | None) -> dict[str, Any] | None:
    if length is None:
        return None
    sources = {bias.source for bias in length.biases.values()}
    words = {"labels": "people's labels", "measure": "a measure"}
    whence = join_words([words[source] for source in sorted(sources)])
    return {
        "unit": f"{format_number(length.length_sd, decimals=1)} words",
        "comparisons": format_count(length.num_comparisons, "comparison"),
        "association": format_estimate(length.association, signed=True, decimals=2),
        "bias": None if length.bias is None else format_estimate(length.bias, signed=True, decimals=2),
        "is_clear": length.bias is not None and not length.bias.low <= 0 <= length.bias.high,
        "whence": f"{whence}, simulated" if length.is_simulated else whence,
        "not_separable": join_words(list(length.not_separable)),
        "svg": spot_chart(
            [Spot(found.longer, found.logit, found.count) for found in length.bins],
            name="length",
            title="The judge's log-odds for the longer response, by how much longer it is",
            unit="SD longer",
        ),
    }


def _principles_view(health: JudgeHealth) -> list[dict[str, Any]]:
    rows = []
    for name, steady in health.by_principle.items():
        influence = health.influence.get(name)
        bias = health.length.biases.get(name) if health.length is not None else None
        rows.append({
            "name": name,
            "weight": "" if influence is None else format_percent(influence.weight_share, decimals=0),
            "position": format_estimate(steady.position_effect, signed=True, decimals=2),
            "flipped": format_estimate(steady.flipped, percent=True, decimals=0),
            "turns": None
            if influence is None or influence.flips is None
            else format_estimate(influence.flips, percent=True, decimals=0),
            "bias": None if bias is None else format_estimate(bias.slope, signed=True, decimals=2),
            "n": format_estimate(steady.flipped).n,
        })  # fmt: skip
    return rows


def _circles_view(health: JudgeHealth) -> dict[str, Any] | None:
    found = health.transitivity
    if found is None or not found.num_triples:
        return None
    return {
        "circular": format_number(found.num_circular),
        "triples": format_count(found.num_triples, "triple"),
        "said": format_estimate(found.circular, percent=True),
    }


def _describe_repeats(health: JudgeHealth) -> str:
    """Sentences about texts and questions that occurred twice; empty where none did."""
    found = health.duplicates
    if found is None:
        return ""
    said = []
    if found.num_identical_pairs:
        said.append(f"{format_count(found.num_identical_pairs, 'judged pair')} were one text twice.")
    if found.num_repeated_pairs:
        said.append(f"{format_count(found.num_repeated_pairs, 'pair')} had the two texts of another pair.")
    if found.num_repeated_questions:
        same = format_estimate(found.repeated_agree, percent=True)
        said.append(
            f"{format_count(found.num_repeated_questions, 'question')} repeated the exact prompt of another: "
            f"{same.mean} ({same.interval}, {same.n}) got the same verdict."
        )
    return " ".join(said)
