"""Several draws from the same pairs -> the probability with which an item came into any of them.

A later draw leaves out what earlier ones took, so its own probabilities are about the pairs that remained. Labels of
both are one sample of all pairs only with the probabilities of being drawn by either. Reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlaif.errors import DataError
from rlaif.records import SpotCheck


def pool_draws(checks: Sequence[SpotCheck]) -> dict[str, float | None]:
    """For each draw, by id, the probability that its labels have when those of all these draws are used together.

    None: each label keeps its own, for no other of the draws is known to be from the same pairs.

    An item is in one of the draws with 1 - (1 - p1)(1 - p2 where the first left it out). With even draws from the same
    pairs, p1 and p2 are the same for every pair. With focus they are not, and what the second draw would have given an
    item of the first is not known; this is refused, and so are draws that share some of their pairs.
    """
    pooled: dict[str, float | None] = {}
    for check in checks:
        group = [other for other in checks if set(other.drawn_from) & set(check.drawn_from)]
        if len(group) > 1:
            _refuse_unequal(group)
        chances = [len(one.items) / one.num_frame for one in group]
        pooled[check.id] = None if len(group) == 1 else 1 - math.prod(1 - chance for chance in chances)
    return pooled


def _refuse_unequal(group: Sequence[SpotCheck]) -> None:
    sheets = ", ".join(one.sheet_id[:12] for one in group)
    reason = ""
    if any(one.design != "even" for one in group):
        reason = "one of them has a focus or a queue"
    elif len({frozenset(one.drawn_from) for one in group}) > 1:
        reason = "one of them was from further rounds or runs"
    if reason:
        raise DataError(
            f"labels of {len(group)} draws of the same pairs ({sheets}) are no one sample with known probabilities: "
            f"{reason}",
            where="the draws",
            fix="export the labels of one draw by --sheet SHEET",
        )
