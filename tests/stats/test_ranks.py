"""Orders and choices of computed numbers: hand values, and the same whatever the last bits are."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.stats.ranks import FLOAT32_TOLERANCE, find_highest, is_above, is_same, mean_ranks, order_descending


def test_equal_values_share_their_mean_rank() -> None:
    assert mean_ranks([10, 30, 20, 20, 5]) == [2, 5, 3.5, 3.5, 1]
    assert mean_ranks([]) == []


def test_the_highest_is_the_first_of_equal_ones() -> None:
    assert find_highest([1, 3, 3, 2]) == 1
    assert find_highest([0.1 + 0.2, 0.3]) == 0
    assert find_highest([0.3, 0.1 + 0.2]) == 0
    assert find_highest([1.0, 1.000001], tolerance=FLOAT32_TOLERANCE) == 0
    assert find_highest([1.0, 1.000001]) == 1
    assert find_highest([-math.inf, -math.inf]) == 0


def test_a_list_is_highest_first_and_equal_values_keep_their_order() -> None:
    assert order_descending([1, 0.3, 2, 0.1 + 0.2, 0.3]) == [2, 0, 1, 3, 4]


def test_a_number_is_above_another_only_by_more_than_rounding() -> None:
    assert 29 > 0.29 * 100, "the product is rounded down"
    assert not is_above(29, 0.29 * 100)
    assert is_above(29.001, 29)
    assert not is_above(28, 29)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_changes_no_rank_and_no_choice(seed: int) -> None:
    random_ = random.Random(seed)
    levels = [random_.gauss(0, 3) for _ in range(4)]
    values = [random_.choice(levels) for _ in range(30)]
    rounded = [random_.choice([math.nextafter(v, -math.inf), v, math.nextafter(v, math.inf)]) for v in values]
    assert mean_ranks(rounded) == mean_ranks(values)
    assert order_descending(rounded) == order_descending(values)
    assert find_highest(rounded) == find_highest(values)
    assert all(is_same(a, b) for a, b in zip(values, rounded, strict=True))
