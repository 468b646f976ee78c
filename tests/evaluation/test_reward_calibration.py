"""What a reward model claims against what the labels say, by hand values."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_model import ScoredPair


def scored(prompt: str, claimed: float, label: float) -> ScoredPair:
    """A pair for whose first response the rewards claim that probability."""
    return ScoredPair(prompt, math.log(claimed / (1 - claimed)), 0.0, label, length_first=5, length_second=5)


def test_the_gap_is_the_distance_of_claim_and_label_weighted_by_pairs() -> None:
    found = compute_reward_calibration(
        [scored("a", 0.75, 1.0), scored("a", 0.75, 0.4), scored("b", 0.95, 0.55), scored("c", 0.55, 0.55)]
    )
    assert found is not None
    assert [(round(b.claimed, 6), round(b.labelled, 6), b.num_pairs) for b in found.bins] == [
        (0.55, 0.55, 1), (0.75, 0.7, 2), (0.95, 0.55, 1),
    ]  # fmt: skip
    assert found.gap == pytest.approx((2 * 0.05 + 0.4 + 0) / 4)
    assert found.overconfidence == pytest.approx((0.75 * 2 + 0.95 + 0.55) / 4 - (1.0 + 0.4 + 0.55 + 0.55) / 4)
    assert (found.num_pairs, found.num_prompts) == (4, 3)


def test_which_response_stands_first_changes_nothing() -> None:
    pairs = [scored("a", 0.8, 0.3), scored("b", 0.6, 0.9)]
    swapped = [
        p._replace(
            score_first=p.score_second, score_second=p.score_first, label=1 - p.label,
            length_first=p.length_second, length_second=p.length_first,
        )
        for p in pairs
    ]  # fmt: skip
    one, other = compute_reward_calibration(pairs), compute_reward_calibration(swapped)
    assert one is not None
    assert other is not None
    assert one.gap == pytest.approx(other.gap)
    assert [b.num_pairs for b in one.bins] == [b.num_pairs for b in other.bins]


def test_huge_margins_claim_certainty_without_overflow() -> None:
    found = compute_reward_calibration([ScoredPair("a", 1e9, -1e9, 1.0, length_first=5, length_second=5)])
    assert found is not None
    assert (found.bins[0].claimed, found.gap) == (1.0, 0.0)


def test_without_pairs_nothing_is_claimed() -> None:
    assert compute_reward_calibration([]) is None


def test_a_row_of_weight_three_counts_three_times() -> None:
    heavy, light = scored("a", 0.75, 1.0), scored("b", 0.75, 0.4)
    found = compute_reward_calibration([heavy._replace(weight=3.0), light])
    copies = compute_reward_calibration([heavy, heavy, heavy, light])
    assert found is not None
    assert copies is not None
    assert (found.gap, found.overconfidence) == pytest.approx((copies.gap, copies.overconfidence))
    assert found.bins[0].labelled == pytest.approx((3 * 1.0 + 0.4) / 4)


def test_the_floor_is_what_a_perfect_model_shows_by_chance() -> None:
    rng = random.Random(0)
    gaps, floors = [], []
    for _ in range(150):
        claims = [rng.uniform(0.5, 1.0) for _ in range(200)]
        pairs = [scored(str(n), claim, float(rng.random() < claim)) for n, claim in enumerate(claims)]
        found = compute_reward_calibration(pairs)
        assert found is not None
        assert found.floor is not None
        gaps.append(found.gap)
        floors.append(found.floor)
    assert statistics.fmean(floors) == pytest.approx(statistics.fmean(gaps), rel=0.08)
    assert statistics.fmean(gaps) > 0.03


def test_soft_labels_that_equal_the_claims_have_a_floor_of_zero_and_one_prompt_has_none() -> None:
    exact = compute_reward_calibration([scored("a", 0.8, 0.8), scored("b", 0.6, 0.6)])
    assert exact is not None
    assert exact.floor == pytest.approx(0.0)
    alone = compute_reward_calibration([scored("a", 0.8, 1.0), scored("a", 0.6, 0.0)])
    assert alone is not None
    assert alone.floor is None


def test_pairs_of_one_prompt_that_go_together_raise_the_floor() -> None:
    apart = [scored(str(n), 0.75, float(n % 4 > 0)) for n in range(40)]
    in_order = sorted(apart, key=lambda pair: pair.label)
    grouped = [pair._replace(prompt_id=f"{place // 10}") for place, pair in enumerate(in_order)]
    one, other = compute_reward_calibration(apart), compute_reward_calibration(grouped)
    assert one is not None
    assert other is not None
    assert one.floor is not None
    assert other.floor is not None
    assert other.floor > 2 * one.floor
