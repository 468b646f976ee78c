"""Intervals against tables, hand values, and their promise: 95 % of them cover."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.records import Estimate
from rlaif.stats.intervals import (
    drawn_share,
    effective_size,
    mean_interval,
    mid_p,
    share_interval,
    share_of_error,
    stratified_share,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("df", "t"),
    [
        (1, 12.7062),
        (2, 4.3027),
        (3, 3.1824),
        (4, 2.7764),
        (9, 2.2622),
        (30, 2.0423),
        (100, 1.9840),
        (5000, 1.9600),
    ],
)
def test_t_quantiles_are_those_of_the_printed_tables(df: int, t: float) -> None:
    assert t_quantile(0.975, df=df) == pytest.approx(t, abs=1e-4)


def test_the_mean_of_1_2_3_4_has_the_interval_of_the_textbook() -> None:
    # sd = sqrt(5/3), se = sd / 2 = 0.6455, t(3) = 3.1824
    estimate = mean_interval([1, 2, 3, 4])
    assert estimate is not None
    assert (estimate.mean, estimate.n) == (2.5, 4)
    assert estimate.high - estimate.mean == pytest.approx(3.1824 * math.sqrt(5 / 3) / 2, abs=1e-4)


def test_values_copied_within_their_prompt_add_no_information() -> None:
    once = mean_interval([1, 2, 3, 4])
    thrice = mean_interval([v for v in (1, 2, 3, 4) for _ in range(3)], clusters=[p for p in "abcd" for _ in range(3)])
    assert once is not None
    assert thrice is not None
    assert (thrice.low, thrice.high, thrice.n) == pytest.approx((once.low, once.high, 4))


def test_one_prompt_has_a_mean_but_no_interval() -> None:
    assert mean_interval([1.0, 2.0], clusters=["a", "a"]) is None
    assert mean_interval([]) is None


def test_wilson_of_8_in_10_is_the_published_interval() -> None:
    estimate = wilson(8, 10)
    assert (estimate.low, estimate.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_wilson_of_nothing_in_ten_reaches_up_to_z2_over_n_plus_z2() -> None:
    estimate = wilson(0, 10)
    assert (estimate.low, estimate.high) == pytest.approx((0, 3.8415 / 13.8415), abs=1e-4)


def test_a_share_of_ones_alone_is_not_certain() -> None:
    estimate = share_interval([1.0] * 10)
    assert estimate is not None
    t2 = t_quantile(0.975, df=9) ** 2
    assert (estimate.low, estimate.high) == pytest.approx((10 / (10 + t2), 1.0))


def test_a_share_and_its_complement_have_mirrored_intervals() -> None:
    values, clusters = [0.9, 0.8, 1.0, 0.4, 0.55, 0.7], [1, 1, 2, 2, 3, 4]
    share = share_interval(values, clusters=clusters)
    complement = share_interval([1 - value for value in values], clusters=clusters)
    assert share is not None
    assert complement is not None
    assert (share.low, share.high) == pytest.approx((1 - complement.high, 1 - complement.low))


def test_a_share_beyond_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError):
        share_interval([0.5, 1.2])


def clustered_shares(rng: random.Random, *, num_prompts: int, num_samples: int) -> tuple[list[float], list[int]]:
    """0/1 outcomes whose probability differs by prompt, .75 on average."""
    values, clusters = [], []
    for prompt in range(num_prompts):
        p = rng.choice([0.5, 0.75, 1.0])
        for _ in range(num_samples):
            values.append(float(rng.random() < p))
            clusters.append(prompt)
    return values, clusters


@pytest.mark.parametrize("num_prompts", [30, 100])
def test_clustered_share_intervals_cover_the_truth_95_times_in_100(num_prompts: int) -> None:
    rng = random.Random(7)
    covered = naive = 0
    for _ in range(1000):
        values, clusters = clustered_shares(rng, num_prompts=num_prompts, num_samples=6)
        clustered, alone = share_interval(values, clusters=clusters), share_interval(values)
        assert clustered is not None
        assert alone is not None
        covered += clustered.low <= 0.75 <= clustered.high
        naive += alone.low <= 0.75 <= alone.high
    assert 0.935 <= covered / 1000 <= 0.97
    # the negative control: taking six answers to one prompt for six prompts is overconfident
    assert naive / 1000 < 0.925


def test_mean_intervals_cover_the_truth_95_times_in_100_with_few_prompts() -> None:
    rng = random.Random(3)
    covered = 0
    for _ in range(2000):
        shifts = [rng.gauss(0, 1) for _ in range(12)]
        values = [shift + rng.gauss(0, 1) for shift in shifts for _ in range(4)]
        estimate = mean_interval(values, clusters=[k for k in range(12) for _ in range(4)])
        assert estimate is not None
        covered += estimate.low <= 0 <= estimate.high
    assert 0.935 <= covered / 2000 <= 0.965


def test_a_weighted_mean_and_its_error_are_those_of_the_hand_computation() -> None:
    # mean (3 * 0 + 1 * 4 + 2 * 3) / 6 = 5/3; residuals 3 * -5/3, 1 * 7/3, 2 * 4/3: squares 25 + 49/9 + 64/9
    estimate = mean_interval([0.0, 4.0, 3.0], weights=[3, 1, 2])
    assert estimate is not None
    assert estimate.mean == pytest.approx(5 / 3)
    squares = [25, 49 / 9, 64 / 9]
    error = math.sqrt(3 / 2 * sum(squares)) / 6
    # Satterthwaite: (9 + 1 + 4)^2 / (81 + 1 + 16) - 1 = 1
    assert estimate.high - estimate.mean == pytest.approx(t_quantile(0.975, df=1) * error)


def test_a_few_heavy_values_leave_few_degrees_of_freedom() -> None:
    values = [float(k % 2) for k in range(100)]
    even, heavy = share_interval(values), share_interval(values, weights=[50.0] * 4 + [1.0] * 96)
    assert even is not None
    assert heavy is not None
    # The four heavy ones carry nearly all of the variance: as wide as four values are.
    assert heavy.high - heavy.low > 3 * (even.high - even.low)


def test_weights_that_hardly_differ_change_an_interval_hardly_also_where_one_answer_is_rare() -> None:
    values = [1.0] * 3 + [0.0] * 47
    even, uneven = share_interval(values), share_interval(values, weights=[1.0 + k / 500 for k in range(50)])
    assert even is not None
    assert uneven is not None
    assert uneven.high == pytest.approx(even.high, abs=0.01)


@pytest.mark.parametrize("weight", [1, 7, 0.3])
def test_even_weights_change_no_bit(weight: float) -> None:
    values, prompts = [0.1, 0.7, 0.3, 0.9, 0.2], list("aabcc")
    assert share_interval(values, clusters=prompts, weights=[weight] * 5) == share_interval(values, clusters=prompts)
    assert mean_interval(values, clusters=prompts, weights=[weight] * 5) == mean_interval(values, clusters=prompts)


def test_where_all_values_are_one_the_weights_still_say_how_little_was_seen() -> None:
    even, uneven = share_interval([1.0] * 20), share_interval([1.0] * 20, weights=[20.0, *[1.0] * 19])
    assert even is not None
    assert uneven is not None
    assert uneven.mean == uneven.high == 1.0
    assert uneven.low < even.low - 0.3


def test_kishs_size_of_two_to_one() -> None:
    assert effective_size([2.0, 1.0]) == pytest.approx(9 / 5)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [1.0, math.inf], [math.nan, 1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        mean_interval([1.0, 2.0], weights=weights)


def test_clusters_whose_values_balance_out_are_no_certainty() -> None:
    found = mean_interval([1.0, -1.0, 2.0, -2.0], clusters=["a", "a", "b", "b"])
    assert found is not None
    assert found.low < -1 < found.mean == 0 < 1 < found.high


def test_strata_add_their_intervals_in_squares_by_their_shares() -> None:
    values, strata = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0], ["a", "a", "a", "b", "b", "b"]
    weights = [3.0, 3.0, 3.0, 1.0, 1.0, 1.0]
    a, b = share_interval(values[:3]), share_interval(values[3:])
    found = stratified_share(values, strata=strata, weights=weights)
    assert a is not None
    assert b is not None
    assert found is not None
    assert found.mean == pytest.approx(0.75 * 2 / 3 + 0.25 / 3)
    assert found.low == pytest.approx(found.mean - math.hypot(0.75 * (a.mean - a.low), 0.25 * (b.mean - b.low)))
    assert found.high == pytest.approx(found.mean + math.hypot(0.75 * (a.high - a.mean), 0.25 * (b.high - b.mean)))
    assert found.n == 6


def test_a_prompt_that_lies_in_two_strata_leaves_the_interval_no_narrower_than_without_strata() -> None:
    rng = random.Random(0)
    values = [float(rng.random() < 0.7) for _ in range(30)]
    values += values  # the second half repeats the first: each prompt's two items always agree
    strata, prompts = ["a"] * 30 + ["b"] * 30, [*range(30), *range(30)]
    found, plain = stratified_share(values, strata=strata, clusters=prompts), share_interval(values, clusters=prompts)
    assert found is not None
    assert plain is not None
    assert found.low <= plain.low < plain.high <= found.high
    assert stratified_share([], strata=[]) is None


def test_the_error_of_a_drawn_list_is_that_of_its_strata_less_what_was_drawn_of_it() -> None:
    # 5 of 10 sure pairs and 5 of 50 unsure ones were drawn
    values = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    probabilities, strata = [0.5] * 5 + [0.1] * 5, ["sure"] * 5 + ["unsure"] * 5
    found = drawn_share(values, strata=strata, probabilities=probabilities)
    sure, unsure = 0.8 * 0.2 * 5 / 4 / 5 * (1 - 0.5), 0.4 * 0.6 * 5 / 4 / 5 * (1 - 0.1)
    parts = [(1 / 6) ** 2 * sure, (5 / 6) ** 2 * unsure]
    assert found is not None
    assert found.mean == pytest.approx(1 / 6 * 0.8 + 5 / 6 * 0.4)
    df = int(sum(parts) ** 2 / sum(part**2 / 4 for part in parts))
    by_hand = share_of_error(found.mean, standard_error=math.sqrt(sum(parts)), df=df, n=10)
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high))


def test_a_list_that_was_drawn_whole_has_no_interval_left() -> None:
    assert drawn_share([1.0, 0.0, 0.5], strata="aab", probabilities=[1.0] * 3) == Estimate(
        mean=0.5, low=0.5, high=0.5, n=3
    )
    assert drawn_share([], strata=[], probabilities=[]) is None


def test_a_draw_in_which_nothing_varied_is_as_sure_as_the_part_of_the_list_that_it_is() -> None:
    few, many = (drawn_share([1.0] * 20, strata=["a"] * 20, probabilities=[p] * 20) for p in (0.02, 0.8))
    assert few is not None
    assert many is not None
    assert few.low < 0.85 < 0.95 < many.low < many.high == few.high == 1.0


def test_a_stratum_of_few_values_joins_its_neighbour() -> None:
    values, probabilities = [1.0, 0.0] * 6, [0.1] * 12
    one = drawn_share(values, strata=["a"] * 12, probabilities=probabilities)
    assert drawn_share(values, strata=["a"] * 10 + ["b"] * 2, probabilities=probabilities) == one
    assert drawn_share(values, strata=[f"stratum {i:02}" for i in range(12)], probabilities=probabilities) is not None


def test_a_mid_p_bound_leaves_two_and_a_half_percent_beyond_with_the_outcome_counted_half() -> None:
    def beyond(p: float, at_least: int) -> float:
        chances = [math.comb(12, j) * p**j * (1 - p) ** (12 - j) for j in range(13)]
        return sum(chances[at_least + 1 :]) + chances[at_least] / 2

    found = mid_p(3, 12)
    assert beyond(found.low, 3) == pytest.approx(0.025, abs=1e-9)
    assert beyond(found.high, 3) == pytest.approx(0.975, abs=1e-9)


def test_mid_p_of_none_in_ten_ends_where_half_the_chance_of_none_is_2_5_percent() -> None:
    found = mid_p(0, 10)
    assert found.low == 0
    assert found.high == pytest.approx(1 - 0.05**0.1)
    assert mid_p(10, 10).low == pytest.approx(0.05**0.1)
    assert mid_p(10, 10).high == 1


def test_mid_p_bounds_of_many_trials_are_mirrored_and_near_the_normal_ones() -> None:
    few, many = mid_p(900, 9000), mid_p(8100, 9000)
    assert (few.low, few.high) == pytest.approx((1 - many.high, 1 - many.low), abs=1e-12)
    half = 1.96 * math.sqrt(0.1 * 0.9 / 9000)
    assert (few.low, few.high) == pytest.approx((0.1 - half, 0.1 + half), abs=2e-4)


def test_where_few_of_thirty_succeed_mid_p_covers_about_95_percent() -> None:
    covered = []
    for share in (0.06, 0.09, 0.1171, 0.15, 0.2, 0.27):
        chances = [math.comb(30, k) * share**k * (1 - share) ** (30 - k) for k in range(31)]
        covered.append(sum(chances[k] for k in range(31) if mid_p(k, 30).low <= share <= mid_p(k, 30).high))
    assert min(covered) > 0.92
    assert sum(covered) / 6 == pytest.approx(0.955, abs=0.012)


def test_mid_p_of_more_successes_than_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="not a share"):
        mid_p(11, 10)
