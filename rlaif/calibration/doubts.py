"""Comparisons -> the pairs on which the judge contradicts itself, or the judges of a panel one another.

Under one principle, and over all of them together by their weights: a flip under a principle that hardly counts is no
doubt about the whole. Draws nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rlaif.calibration.labels import OVERALL
from rlaif.calibration.spot_check import ItemKey
from rlaif.records import Comparison, OrderVerdict
from rlaif.stats.logits import P_FIRST, canonical_pair


class Doubts(NamedTuple):
    """Items by sample ids in canonical order and principle's id, or `overall`."""

    flipped: set[ItemKey]
    """The two orders name different winners."""
    differ: set[ItemKey]
    """Two judges name different winners."""


def find_doubts(comparisons: Iterable[Comparison], *, weights: Mapping[str, float]) -> Doubts:
    """weights: of the principles that count, by id; comparisons under others are not read."""
    by_order: dict[ItemKey, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    by_judge: dict[ItemKey, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for comparison in comparisons:
        weight = weights.get(comparison.principle.id, 0.0)
        if weight <= 0:
            continue
        pair = canonical_pair(*comparison.sample_ids)
        turn = 1 if comparison.sample_ids[0] == pair[0] else -1
        leads = _leads(comparison)
        for key in ((pair, comparison.principle.id), (pair, OVERALL)):
            for order, lead in leads.items():
                by_order[key][order] += turn * weight * lead
            by_judge[key][comparison.judge_id] += turn * weight * sum(leads.values()) / len(leads)
    return Doubts(_contradicted(by_order), _contradicted(by_judge))


def _leads(comparison: Comparison) -> dict[str, float]:
    """How far each order is for the comparison's first sample; both alike where they are not known one by one."""
    if len(comparison.orders) == 2:
        listed, swapped = map(_lead, comparison.orders)
        return {"listed": listed, "swapped": swapped}
    whole = comparison.p_first - 0.5 if comparison.logit is None else comparison.logit
    if comparison.flipped and not comparison.orders:  # an older record: that they differ is all that is known
        return {"listed": whole + 1, "swapped": whole - 1}
    return {"listed": whole, "swapped": whole}


def _lead(order: OrderVerdict) -> float:
    return P_FIRST[order.verdict] - 0.5 if order.logit is None else order.logit


def _contradicted(leads: Mapping[ItemKey, Mapping[str, float]]) -> set[ItemKey]:
    return {key for key, found in leads.items() if min(found.values()) < 0 < max(found.values())}
