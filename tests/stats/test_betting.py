"""Capital processes against hand values, an independent library and their promise: few false certificates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlaif.stats.betting import (
    SHARES,
    Side,
    Stratum,
    Stream,
    certified_bound,
    confidence_sequence,
    confidence_sequence_of_strata,
    even_stream,
    expect_labels,
    is_certified,
    log_capitals,
    mean_of,
    prompt_stream,
    replaced_stream,
    weighted_stream,
)
from rlaif.stats.intervals import wilson

VALUES = [1, 0.5, 1, 0, 1, 1, 0.25, 1, 1, 0, 1, 0.5]
LEVEL = math.log(20)


@pytest.mark.parametrize(
    ("list_size", "null", "side", "capitals"),
    [
        (None, 0.3, "above", (2.16666666666667, 12.1384976826003, 69.1685543555025)),
        (None, 0.3, "below", (0.5, 0.189540696925523, 0.112142785100614)),
        (None, 0.5, "above", (1.5, 1.96623114854407, 2.10803915581547)),
        (None, 0.5, "below", (0.5, 0.220595328078321, 0.149832430708112)),
        (None, 0.55, "above", (1.40909090909091, 1.48337176685649, 1.29132225843375)),
        (None, 0.55, "below", (0.5, 0.233553947453027, 0.168196641296446)),
        (30, 0.3, "above", (2.16666666666667, 21.4400289699618, 4465.28455444632)),
        (30, 0.3, "below", (0.5, 0.185074803295127, 0.101335307543138)),
        (30, 0.5, "above", (1.5, 2.22010578645615, 3.88713456789559)),
        (30, 0.5, "below", (0.5, 0.214347658838657, 0.132771213549956)),
        (30, 0.55, "above", (1.40909090909091, 1.6004225865744, 1.83481718664721)),
        (30, 0.55, "below", (0.5, 0.226648015837305, 0.148709299310151)),
    ],
)
def test_capitals_after_1_6_and_12_labels_are_those_of_confseq(
    list_size: int | None, null: float, side: Side, capitals: tuple[float, ...]
) -> None:
    """`betting_mart` of confseq 0.0.11, averaged over truncation scales 1/21 to 20/21 with bets above them."""
    found = np.exp(log_capitals(even_stream(VALUES, list_size=list_size), null=null, side=side))
    assert [found[0], found[5], found[11]] == pytest.approx(capitals, rel=1e-13)


def slow_log_capital(values: list[float], *, null: float, list_size: int | None) -> float:
    logs, seen = [0.0] * 20, 0.0
    for t, x in enumerate(values):
        m = null if list_size is None else (list_size * null - seen) / (list_size - t)
        if m < 0 or (m == 0 and x > 0):
            return math.inf
        if m > 0:
            logs = [total + math.log1p(c * (x / m - 1)) for total, c in zip(logs, SHARES, strict=True)]
        seen += x
    most = max(logs)
    return most + math.log(math.fsum(math.exp(total - most) for total in logs) / 20)


@pytest.mark.parametrize("list_size", [None, 40, 60])
def test_capitals_are_those_of_a_plain_loop(list_size: int | None) -> None:
    values = np.random.default_rng(5).choice([0, 0.5, 1], size=40, p=[0.3, 0.2, 0.5])
    found = log_capitals(even_stream(values, list_size=list_size), null=0.5, side="above")
    for n in (1, 7, 25, 39):
        slow = slow_log_capital(list(values[:n]), null=0.5, list_size=list_size)
        assert found[n - 1] == pytest.approx(slow, abs=1e-12)


def test_a_value_equal_to_what_the_null_allows_changes_nothing() -> None:
    for list_size in (None, 10):
        logs = log_capitals(even_stream([0.5] * 6, list_size=list_size), null=0.5, side="above")
        assert logs == pytest.approx(0.0, abs=1e-15)


def test_both_sides_mirror_each_other() -> None:
    values = np.array(VALUES)
    for list_size in (None, 20):
        above = log_capitals(even_stream(values, list_size=list_size), null=0.625, side="above")
        below = log_capitals(even_stream(1 - values, list_size=list_size), null=0.375, side="below")
        assert above == pytest.approx(below, abs=1e-12)
        one = confidence_sequence(even_stream(values, list_size=list_size))
        other = confidence_sequence(even_stream(1 - values, list_size=list_size))
        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)


def test_capital_against_a_larger_mean_is_never_larger() -> None:
    rng = np.random.default_rng(3)
    values, nulls = rng.random(25), np.linspace(0.01, 1, 100)[:, None]
    q = rng.uniform(0.01, 0.03, size=25)
    streams = [
        even_stream(values),
        even_stream(values, list_size=30),
        weighted_stream(values, probabilities=q, list_size=60),
        prompt_stream(values, sizes=rng.integers(1, 5, size=25), largest=4, num_prompts=30),
        prompt_stream(values, sizes=rng.integers(1, 5, size=25), largest=4),
    ]
    for stream in streams:
        last = log_capitals(stream, null=nulls, side="above")[:, -1]
        finite = last[np.isfinite(last)]
        assert np.all(np.isinf(last[: len(last) - len(finite)]))
        assert np.all(np.diff(finite) <= 1e-12)


def test_a_null_that_the_list_has_passed_is_impossible_for_ever() -> None:
    # Five of ten items are worth 4 together, so a mean of .3 (3 together) is past after the fourth label.
    logs = log_capitals(even_stream([1, 1, 1, 1, 0], list_size=10), null=0.3, side="above")
    assert np.isfinite(logs[:3]).all()
    assert np.isinf(logs[3:]).all()


def test_a_null_that_the_list_has_just_reached_is_possible_while_zeros_follow() -> None:
    logs = log_capitals(even_stream([1, 1, 1, 0, 0], list_size=10), null=0.3, side="above")
    assert np.isfinite(logs).all()
    assert logs[3:] == pytest.approx(logs[2])


def test_an_allowed_mean_above_one_certifies_nothing() -> None:
    # "The mean is at most .9" cannot be broken any more after two zeros of ten.
    logs = log_capitals(even_stream([0, 0, 1, 1, 1, 1, 1, 1, 1, 1], list_size=10), null=0.9, side="above")
    assert logs.max() <= 0


def test_a_null_of_zero_is_impossible_after_the_first_value_above_it() -> None:
    logs = log_capitals(even_stream([0, 0.5, 0]), null=0.0, side="above")
    assert list(logs) == [pytest.approx(0.0, abs=1e-15), math.inf, math.inf]
    assert confidence_sequence(even_stream([0, 0, 0])).low == 0


def test_a_list_wholly_labelled_is_a_census() -> None:
    for stream in (
        even_stream(VALUES, list_size=12),
        weighted_stream(VALUES, probabilities=[1 / (12 - t) for t in range(12)], list_size=12),
    ):
        estimate = confidence_sequence(stream)
        assert estimate.low == estimate.mean == estimate.high == pytest.approx(sum(VALUES) / 12)
    whole = prompt_stream([1, 0], sizes=[3, 1], largest=3, num_prompts=2)
    assert confidence_sequence(whole).mean == pytest.approx(0.75)
    assert certified_bound(whole, side="above") == pytest.approx(0.75)


def test_values_in_tenths_end_a_list_without_rounding_deciding() -> None:
    values = [0.1, 0.7, 0.2, 0.3, 0.6, 0.1]
    for order in (values, values[::-1]):
        logs = log_capitals(even_stream(order, list_size=6), null=sum(values) / 6, side="above")
        assert np.isfinite(logs).all(), "the true mean stays possible to the end"


def test_equal_draw_probabilities_are_an_even_draw() -> None:
    even = log_capitals(even_stream(VALUES, list_size=20), null=0.4, side="above")
    q = [1 / (20 - t) for t in range(12)]
    assert log_capitals(weighted_stream(VALUES, probabilities=q, list_size=20), null=0.4, side="above") == (
        pytest.approx(even, abs=1e-12)
    )
    endless = log_capitals(even_stream(VALUES), null=0.4, side="above")
    drawn = replaced_stream(VALUES, probabilities=[1 / 20] * 12, list_size=20)
    assert log_capitals(drawn, null=0.4, side="above") == pytest.approx(endless, abs=1e-12)


def test_the_sides_of_a_weighted_draw_take_their_own_values() -> None:
    # An item drawn with probability 1/2 from a list of 4: x / (4/2) above, (1 - x) / (4/2) below.
    stream = weighted_stream([1.0], probabilities=[0.5], list_size=4)
    above = np.mean([1 - c + c * 0.5 / 0.5 for c in SHARES])
    below = np.mean([1 - c for c in SHARES])
    assert np.exp(log_capitals(stream, null=0.5, side="above")) == pytest.approx(above)
    assert np.exp(log_capitals(stream, null=0.5, side="below")) == pytest.approx(below)


def test_prompts_of_one_size_are_plain_units() -> None:
    plain = log_capitals(even_stream(VALUES, list_size=15), null=0.45, side="above")
    prompts = prompt_stream(VALUES, sizes=[5] * 12, largest=5, num_prompts=15)
    assert log_capitals(prompts, null=0.45, side="above") == pytest.approx(plain, abs=1e-12)


def test_a_small_prompt_moves_the_capital_by_its_share_of_the_largest() -> None:
    # z = .5 + (1/4)(1 - .5) = .625 for one pair of at most four
    stream = prompt_stream([1.0], sizes=[1], largest=4)
    expected = np.mean([1 - c + c * 0.625 / 0.5 for c in SHARES])
    assert np.exp(log_capitals(stream, null=0.5, side="above")) == pytest.approx(expected)


def test_bounds_are_where_the_capital_reaches_its_level() -> None:
    stream = even_stream([1, 0, 1, 1, 1, 1, 0, 1, 1, 1], list_size=50)
    low = certified_bound(stream, side="above")
    assert log_capitals(stream, null=low, side="above").max() >= LEVEL
    assert log_capitals(stream, null=low + 1e-9, side="above").max() < LEVEL
    assert is_certified(stream, null=low, side="above")
    assert not is_certified(stream, null=low + 1e-9, side="above")
    assert confidence_sequence(stream).low < low, "a sequence has half the error on each side"


def test_without_labels_anything_is_possible() -> None:
    estimate = confidence_sequence(even_stream([], list_size=5))
    assert (estimate.low, estimate.mean, estimate.high, estimate.n) == (0, 0.5, 1, 0)


def test_at_one_n_a_sequence_is_one_and_a_half_times_as_wide_as_wilson() -> None:
    values = ([1, 1, 0, 1, 1] * 20)[:100]
    estimate, fixed = confidence_sequence(even_stream(values)), wilson(80, 100)
    assert 1.3 < (estimate.high - estimate.low) / (fixed.high - fixed.low) < 1.7


def test_strata_of_one_are_their_stream() -> None:
    stream = even_stream(VALUES, list_size=40)
    one = confidence_sequence_of_strata([Stratum(1.0, stream)])
    at = math.log(40)
    assert log_capitals(stream, null=one.low, side="above")[-1] >= at
    assert log_capitals(stream, null=one.low + 0.0021, side="above")[-1] < at


def test_the_capital_of_two_strata_is_the_smallest_over_their_means() -> None:
    rng = np.random.default_rng(8)
    a, b = even_stream(rng.random(30) < 0.9, list_size=60), even_stream(rng.random(20) < 0.3)
    low = confidence_sequence_of_strata([Stratum(0.4, a), Stratum(0.6, b)]).low
    means = np.linspace(0.001, 1, 2000)
    logs = np.stack([log_capitals(s, null=means[:, None], side="above")[:, -1] for s in (a, b)])
    # Every pair of means whose capitals together stay under 1 / alpha gives an overall mean that is possible.
    second = np.array([means[logs[0, i] + logs[1] < math.log(40)][:1].sum() or np.inf for i in range(len(means))])
    best = float((0.4 * means + 0.6 * second).min())
    assert low <= best
    assert low == pytest.approx(best, abs=0.003)


def test_a_stratum_without_labels_may_have_any_mean() -> None:
    full = even_stream([1, 1, 0, 1], list_size=4)
    estimate = confidence_sequence_of_strata([Stratum(0.5, full), Stratum(0.5, even_stream([], list_size=9))])
    assert (estimate.low, estimate.high) == pytest.approx((0.375, 0.875), abs=0.002)
    with pytest.raises(ValueError, match="sum to 1"):
        confidence_sequence_of_strata([Stratum(0.5, full)])


@pytest.mark.parametrize(("truth", "labels"), [(0.6, 149), (0.7, 36), (0.8, 16), (0.9, 8)])
def test_labels_to_expect_follow_the_divergence(truth: float, labels: int) -> None:
    assert round(expect_labels(truth=truth, null=0.5)) == labels


def test_no_certificate_takes_fewer_than_seven_labels_against_one_half() -> None:
    assert expect_labels(truth=1.0, null=0.5) == 7
    assert is_certified(even_stream([1] * 7), null=0.5, side="above")
    assert not is_certified(even_stream([1] * 6), null=0.5, side="above")
    assert expect_labels(truth=0.5, null=0.5) == math.inf


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ([0.5, 1.2], {}),
        ([0.5, math.nan], {}),
        ([1, 1, 0], {"list_size": 2}),
    ],
)
def test_impossible_values_are_refused(values: list[float], more: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        even_stream(values, **more)


def test_impossible_probabilities_and_sizes_are_refused() -> None:
    for q in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="probability"):
            weighted_stream([1.0], probabilities=[q], list_size=3)
    with pytest.raises(ValueError, match="needs its probability"):
        weighted_stream([1.0, 0.0], probabilities=[0.5], list_size=3)
    with pytest.raises(ValueError, match="pair"):
        prompt_stream([1.0], sizes=[4], largest=3)


def certified_share(stream: Stream, *, null: float, side: Side) -> float:
    return float((log_capitals(stream, null=null, side=side).max(axis=-1) >= LEVEL).mean())


def test_looking_after_every_label_certifies_falsely_in_few_of_600_lists() -> None:
    """At most 8.6 %: the 99.99 % limit of 5 % in 600 draws. A list of 100 with ties, and draws of .7 without end."""
    rng = np.random.default_rng(1)
    base = np.repeat([0, 0.5, 1], [40, 20, 40])
    lists = rng.permuted(np.tile(base, (600, 1)), axis=1)
    draws = (rng.random((600, 150)) < 0.7).astype(float)
    for side in ("above", "below"):
        # the last label makes a census, and a mean on the border stays possible
        assert certified_share(even_stream(lists, list_size=100), null=0.5, side=side) < 0.086
        assert certified_share(even_stream(draws), null=0.7, side=side) < 0.086


def test_weighted_draws_certify_falsely_in_few_runs_and_ignoring_the_weights_in_most() -> None:
    rng = np.random.default_rng(2)
    x = (rng.random(200) < np.where(np.arange(200) < 60, 0.3, 0.9)).astype(float)
    weights = np.where(np.arange(200) < 60, 5.0, 1.0)
    # The item with the smallest exponential clock of its rate is drawn next: probability in proportion to weight.
    order = np.argsort(rng.exponential(size=(400, 200)) / weights, axis=1)[:, :80]
    drawn = weights[order]
    left = weights.sum() - np.cumsum(drawn, axis=1) + drawn
    stream = weighted_stream(x[order], probabilities=drawn / left, list_size=200)
    null = float(x.mean())
    assert certified_share(stream, null=null, side="above") < 0.09
    assert certified_share(stream, null=null, side="below") < 0.09
    assert certified_share(even_stream(x[order], list_size=200), null=null, side="below") > 0.9
    assert mean_of(stream._replace(values=stream.values[0], factors=stream.factors[0], ratios=stream.ratios[0])) == (
        pytest.approx(null, abs=0.15)
    )
