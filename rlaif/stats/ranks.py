"""Computed numbers in order, so that the rounding of a machine decides no rank, no choice and no line of a list.

Two numbers count as equal where they differ by no more than the error of their computation. Reads no records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

TOLERANCE = 1e-9
"""Rounding of float64 arithmetic such as means, sums and fitted scores, relative to the larger number and to one."""
FLOAT32_TOLERANCE = 1e-5
"""Rounding of a model's forward pass, whose last bits depend on the batch and the processor."""


def is_same(one: float, other: float, *, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are equal but for rounding."""
    return one == other or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def is_above(one: float, other: float, *, tolerance: float = TOLERANCE) -> bool:
    """Whether a number is larger than another by more than rounding."""
    return one > other and not is_same(one, other, tolerance=tolerance)


def find_highest(values: Sequence[float], *, tolerance: float = TOLERANCE) -> int:
    """The place of the highest value; of those that equal it but for rounding, the first. `values` is not empty."""
    highest = max(values)
    return next(place for place, value in enumerate(values) if is_same(value, highest, tolerance=tolerance))


def order_descending(values: Sequence[float], *, tolerance: float = TOLERANCE) -> list[int]:
    """The places of the values, highest first; those that are equal but for rounding stay in their given order."""
    return [place for group in _group_equal(values, tolerance=tolerance)[::-1] for place in sorted(group)]


def mean_ranks(values: Sequence[float], *, tolerance: float = TOLERANCE) -> list[float]:
    """Ranks from 1, lowest first; values that are equal but for rounding share the mean of their ranks."""
    ranks = [0.0] * len(values)
    below = 0
    for group in _group_equal(values, tolerance=tolerance):
        for place in group:
            ranks[place] = below + (len(group) + 1) / 2
        below += len(group)
    return ranks


def _group_equal(values: Sequence[float], *, tolerance: float) -> list[list[int]]:
    """Places of equal values, lowest first: each differs from the next below it by rounding alone."""
    groups: list[list[int]] = []
    last = math.nan
    for place in sorted(range(len(values)), key=lambda place: values[place]):
        if groups and is_same(last, values[place], tolerance=tolerance):
            groups[-1].append(place)
        else:
            groups.append([place])
        last = values[place]
    return groups
