from __future__ import annotations

import math

import pytest

from rlaif.reward_model.data import Pair
from rlaif.reward_model.held_out import measure_held_out


def pair(chosen: int, rejected: int, *, label: float = 1.0, prompt_id: str = "p", weight: float = 1.0) -> Pair:
    return Pair(prompt_id=prompt_id, chosen=chosen, rejected=rejected, label=label, weight=weight)


def test_ties_have_no_truth_and_a_label_below_one_half_says_that_rejected_is_better() -> None:
    rewards = [0.0, 1.0]
    pairs = [pair(1, 0), pair(1, 0, label=0.5), pair(1, 0, label=0.2), pair(0, 1, label=0.2)]
    held_out = measure_held_out(pairs, rewards)
    assert (held_out.num_pairs, held_out.num_ties) == (3, 1)
    assert held_out.accuracy is not None
    assert held_out.accuracy.mean == pytest.approx(2 / 3)


def test_equal_rewards_count_one_half() -> None:
    held_out = measure_held_out([pair(0, 1)], [0.5, 0.5])
    assert held_out.accuracy is not None
    assert held_out.accuracy.mean == 0.5


def test_log_loss_and_its_floor_match_the_hand_computation() -> None:
    held_out = measure_held_out([pair(0, 1, label=0.75), pair(1, 0, label=1.0)], [1.0, 0.0])
    # 0.75 * 0.31326 + 0.25 * 1.31326 = 0.56326, and -log sigmoid(-1) = 1.31326; entropies 0.56234 and 0.
    assert held_out.log_loss == pytest.approx((0.56326169 + 1.31326169) / 2)
    assert held_out.log_loss_floor == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 2)


def test_a_row_of_weight_three_has_three_times_the_log_loss_and_counts_three_times_for_the_accuracy() -> None:
    held_out = measure_held_out([pair(0, 1, label=0.75, weight=3.0), pair(1, 0, label=1.0)], [1.0, 0.0])
    assert held_out.log_loss == pytest.approx((3 * 0.56326169 + 1.31326169) / 4)
    assert held_out.log_loss_floor == pytest.approx(-3 * (0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 4)
    assert held_out.accuracy is not None
    assert held_out.accuracy.mean == 0.75


def test_pairs_that_are_labelled_both_ways_bound_the_accuracy() -> None:
    both_ways = [pair(0, 1), pair(0, 1), pair(1, 0), pair(0, 2)]
    assert measure_held_out(both_ways, [2.0, 1.0, 0.0]).accuracy_at_most == 0.75
    assert measure_held_out(both_ways[:2], [2.0, 1.0, 0.0]).accuracy_at_most == 1.0
    heavy = [pair(0, 1), pair(1, 0, weight=5.0)]
    assert measure_held_out(heavy, [2.0, 1.0]).accuracy_at_most == pytest.approx(5 / 6)


def test_without_held_out_pairs_nothing_is_claimed() -> None:
    held_out = measure_held_out([], [])
    assert (held_out.accuracy, held_out.log_loss) == (None, None)
