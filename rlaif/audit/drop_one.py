"""A label over several principles -> what it would be without each of them.

The same mean as the label's own, over the comparisons that are left, mapped by the same calibration. Where the options
of `preferences` do more than that mean, nothing is said. Asks nobody.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from rlaif.calibration.calibrate import apply_map
from rlaif.ledger.labels import LabelDecision
from rlaif.preferences.label import PairLabel, combine_labels
from rlaif.records import Comparison


class Without(NamedTuple):
    """A pair's label with one principle left out."""

    principle_id: str
    label: float
    """Probability that the first of the pair is preferred."""
    turns: bool
    """The other response would win."""


def leave_each_out(found: LabelDecision) -> list[Without]:
    """The label without each principle in turn; empty where it was not made by the plain mean, or by one principle."""
    preference, constitution = found.preference, found.constitution
    comparisons = [one for one in found.comparisons if one is not None]
    weights = {} if constitution is None else {p.id: p.weight for p in constitution.principles if p.weight > 0}
    names = dict.fromkeys(one.principle.id for one in comparisons)
    is_plain = preference.kind == "pair" and preference.making is None and len(comparisons) == len(found.comparisons)
    by_length = found.calibration is not None and found.calibration.map.kind not in ("identity", "temperature")
    if not is_plain or by_length or len(names) < 2 or not set(names) <= weights.keys():
        return []
    rows = []
    for left_out in names:
        kept = [one for one in comparisons if one.principle.id != left_out]
        label = _label(kept, weights, found)
        rows.append(Without(left_out, label, turns=(label - 0.5) * (preference.label - 0.5) < 0))
    return rows


def _label(comparisons: list[Comparison], weights: dict[str, float], found: LabelDecision) -> float:
    """Over principles for each judge, then over judges."""
    by_judge: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        by_judge[comparison.judge_id].append(comparison)
    labels = [
        combine_labels([_turned(one, found) for one in rows], weights=[weights[one.principle.id] for one in rows])
        for rows in by_judge.values()
    ]
    whole = combine_labels(labels, weights=[found.weights[judge_id] for judge_id in by_judge])
    if found.calibration is None or whole.logit is None:
        return whole.p_first
    return apply_map(found.calibration.map, logit=whole.logit, length=0.0)


def _turned(comparison: Comparison, found: LabelDecision) -> PairLabel:
    """What a comparison says of the first of the preference's samples."""
    if comparison.sample_ids == found.preference.sample_ids:
        return PairLabel(comparison.p_first, comparison.logit)
    return PairLabel(1 - comparison.p_first, None if comparison.logit is None else -comparison.logit)
