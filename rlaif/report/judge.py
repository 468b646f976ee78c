"""The judge's health -> what the report says and draws of it.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from rlaif.config.preferences import PreferencesConfig
from rlaif.judge_health.health import MASS_EDGES, JudgeHealth
from rlaif.judge_health.length_effect import LengthEffect
from rlaif.records import Estimate
from rlaif.report.charts import Spot, histogram, spot_chart
from rlaif.report.wording import say_count, say_estimate, say_list, say_number, say_percent
from rlaif.stats.logits import sigmoid

_ORDERS = {
    "pair": "Each label averages both orders, so that the place shown weighs nothing.",
    "score": "Each response was scored by itself: there was no order, so that no place could help and nothing flip.",
    "ranking": "Each label averages the orders in which the responses were shown, so that the place weighs nothing.",
}


def describe_judge(
    health: JudgeHealth | None, *, preferences: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """`preferences`: the run's options of how labels are made."""
    if health is None:
        return None
    failed = sum(health.failed_by_cause.values())
    lowest = health.lowest_label_mass
    return {
        "making": _say_making(preferences),
        "comparisons": say_count(health.num_comparisons, "comparison"),
        "flipped": say_estimate(health.flipped, percent=True),
        "position": say_estimate(health.position_effect, signed=True, decimals=2),
        "even_pair": _say_even_pair(health.position_effect),
        "mass": say_estimate(health.label_mass, percent=True),
        "lowest_mass": "" if lowest is None else f"; the least {say_percent(lowest)}",
        "failed": say_number(failed),
        "failed_share": say_percent(failed / max(1, failed + health.num_judgements)),
        "asked": say_count(failed + health.num_judgements, "answer"),
        "causes": [
            (cause.replace("_", " "), say_number(count), say_percent(count / max(1, failed + health.num_judgements)))
            for cause, count in sorted(health.failed_by_cause.items(), key=lambda item: -item[1])
        ],
        "scored": health.mode == "score",
        "orders": _ORDERS[health.mode],
        "one_order": say_count(health.num_one_order, "comparison was", "comparisons were")
        + (" ranked in too few orders" if health.mode == "ranking" else " asked in one order only")
        if health.num_one_order
        else "",
        "saturated": say_estimate(health.saturated, percent=True),
        "mass_histogram": _draw_mass(health),
        "mass_n": say_count(sum(health.label_mass_bins), "judgement"),
        "length": _describe_length(health.length),
        "principles": _describe_principles(health),
        "circles": _describe_circles(health),
        "repeats": _describe_repeats(health),
        "served": say_list([f"{name} ({say_number(count)})" for name, count in health.served_models.items()])
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


def _say_making(preferences: Mapping[str, Any] | None) -> str:
    """What of the labels is otherwise than by default, in sentences; empty where nothing is."""
    known = {key: value for key, value in (preferences or {}).items() if key in PreferencesConfig.model_fields}
    return " ".join(PreferencesConfig.model_validate(known).describe_making())


def _say_even_pair(effect: Estimate | None) -> str:
    """How often the first place alone decides a pair that is otherwise even."""
    return "" if effect is None else say_percent(sigmoid(effect.mean), decimals=0)


def _draw_mass(health: JudgeHealth) -> Markup | None:
    """Judgements by their label mass; the bins grow narrower towards 1, where the mass crowds."""
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


def _describe_length(length: LengthEffect | None) -> dict[str, Any] | None:
    if length is None:
        return None
    sources = {bias.source for bias in length.biases.values()}
    words = {"labels": "people's labels", "measure": "a measure"}
    whence = say_list([words[source] for source in sorted(sources)])
    return {
        "unit": f"{say_number(length.length_sd, decimals=1)} words",
        "comparisons": say_count(length.num_comparisons, "comparison"),
        "association": say_estimate(length.association, signed=True, decimals=2),
        "bias": None if length.bias is None else say_estimate(length.bias, signed=True, decimals=2),
        "is_clear": length.bias is not None and not length.bias.low <= 0 <= length.bias.high,
        "whence": f"{whence}, simulated" if length.is_simulated else whence,
        "not_separable": say_list(list(length.not_separable)),
        "svg": spot_chart(
            [Spot(found.longer, found.logit, found.count) for found in length.bins],
            name="length",
            title="The judge's log-odds for the longer response, by how much longer it is",
            unit="SD longer",
        ),
    }


def _describe_principles(health: JudgeHealth) -> list[dict[str, Any]]:
    rows = []
    for name, steady in health.by_principle.items():
        influence = health.influence.get(name)
        bias = health.length.biases.get(name) if health.length is not None else None
        rows.append({
            "name": name,
            "weight": "" if influence is None else say_percent(influence.weight_share, decimals=0),
            "position": say_estimate(steady.position_effect, signed=True, decimals=2),
            "flipped": say_estimate(steady.flipped, percent=True, decimals=0),
            "turns": None
            if influence is None or influence.flips is None
            else say_estimate(influence.flips, percent=True, decimals=0),
            "bias": None if bias is None else say_estimate(bias.slope, signed=True, decimals=2),
            "n": say_estimate(steady.flipped).n,
        })  # fmt: skip
    return rows


def _describe_circles(health: JudgeHealth) -> dict[str, Any] | None:
    found = health.transitivity
    if found is None or not found.num_triples:
        return None
    return {
        "circular": say_number(found.num_circular),
        "triples": say_count(found.num_triples, "triple"),
        "said": say_estimate(found.circular, percent=True),
    }


def _describe_repeats(health: JudgeHealth) -> str:
    """Sentences about what was asked twice; empty where nothing was."""
    found = health.duplicates
    if found is None:
        return ""
    said = []
    if found.num_identical_pairs:
        said.append(f"{say_count(found.num_identical_pairs, 'judged pair')} were one text twice.")
    if found.num_repeated_pairs:
        said.append(f"{say_count(found.num_repeated_pairs, 'pair')} had the two texts of another pair.")
    if found.num_repeated_questions:
        same = say_estimate(found.repeated_agree, percent=True)
        said.append(
            f"{say_count(found.num_repeated_questions, 'question')} repeated the exact prompt of another: {same.mean} "
            f"({same.interval}, {same.n}) got the same verdict."
        )
    return " ".join(said)
