"""Measures and the constitution -> the rows about what moved, in the order in which the report shows them.

A measure that a principle's tags name is what the constitution asked for: more of it, or with a minus sign before the
tag less. Measures that no principle names may drift, and are shown separately. Computes no statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from rlaif.config.evaluation import is_built_in
from rlaif.evaluation.measures import find_wanted
from rlaif.evaluation.policy import Change
from rlaif.records import Constitution, Estimate
from rlaif.records.base import Value
from rlaif.stats.ranks import order_descending


class MovedRow(Value):
    name: str
    principles: tuple[str, ...]
    """Ids of the principles whose tags name the measure; empty: nobody asked for it."""
    change: Change
    clear: bool
    """The interval of the change excludes zero."""


class Moved(NamedTuple):
    named: list[MovedRow]
    """The measures that a principle names, in the order of the constitution."""
    unnamed: list[MovedRow]
    """The measures that no principle names, the largest move first."""
    mirrored: dict[str, str]
    """Measures that are left out because they are exactly 100 minus another: name -> the one that is shown."""
    lowered: frozenset[str] = frozenset()
    """Named measures of which less was asked for; where principles disagree, the first one counts."""

    def is_as_asked(self, row: MovedRow) -> bool:
        """Whether a named measure clearly moved in the direction that was asked for."""
        return row.clear and _rises(row) != (row.name in self.lowered)

    def is_against(self, row: MovedRow) -> bool:
        """Whether a named measure clearly moved in the other direction."""
        return row.clear and not self.is_as_asked(row)


def list_moved(measures: Mapping[str, Change], *, constitution: Constitution) -> Moved:
    """All measures; of two opposite poles only one."""
    named_by: dict[str, list[str]] = {}
    signs: dict[str, int] = {}
    for principle in constitution.principles:
        for tag in principle.tags:
            wanted = find_wanted(tag, measures)
            if wanted is not None and principle.weight > 0:
                named_by.setdefault(wanted.name, []).append(principle.id)
                signs.setdefault(wanted.name, wanted.sign)
    mirrored = _find_mirrored(measures, preferred=[*named_by, *(name for name in measures if name not in named_by)])
    for name in named_by:
        mirrored.pop(name, None)
    rows = {
        name: MovedRow(
            name=name,
            principles=tuple(named_by.get(name, ())),
            change=change,
            clear=_excludes_zero(change.change),
        )
        for name, change in measures.items()
        if name not in mirrored
    }
    unnamed = [row for row in rows.values() if not row.principles]
    largest_first = order_descending([abs(row.change.mean_after - row.change.mean_before) for row in unnamed])
    return Moved(
        [rows[name] for name in named_by],
        [unnamed[place] for place in largest_first],
        mirrored,
        frozenset(name for name, sign in signs.items() if sign < 0),
    )


def _rises(row: MovedRow) -> bool:
    return row.change.mean_after > row.change.mean_before


def _excludes_zero(change: Estimate | None) -> bool:
    return change is not None and (change.low > 0 or change.high < 0)


def _find_mirrored(measures: Mapping[str, Change], *, preferred: list[str]) -> dict[str, str]:
    mirrored: dict[str, str] = {}
    for k, name in enumerate(preferred):
        for other in preferred[k + 1 :]:
            if is_built_in(name) or is_built_in(other):
                continue  # these have no opposite poles, and small counts may add up to 100 by accident
            if name not in mirrored and other not in mirrored and _is_mirror(measures[name], measures[other]):
                mirrored[other] = name
    return mirrored


def _is_mirror(a: Change, b: Change) -> bool:
    """Whether means, intervals and change all agree with b = 100 - a, which does not happen by accident."""
    pairs = [(a.mean_before, b.mean_before), (a.mean_after, b.mean_after)]
    for x, y in ((a.before, b.before), (a.after, b.after)):
        if (x is None) != (y is None):
            return False
        if x is not None and y is not None:
            pairs += [(x.low, y.high), (x.high, y.low)]
    if a.change is not None and b.change is not None:
        pairs += [(a.change.low + 100, b.change.high), (a.change.high + 100, b.change.low)]
    return all(math.isclose(x + y, 100, abs_tol=1e-6) for x, y in pairs)
