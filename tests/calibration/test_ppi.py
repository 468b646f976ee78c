"""Rates by the judge and people together: by hand, by the formulas of the papers, and that they cover the truth."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from rlaif.calibration.ppi import (
    MIN_RARER,
    Rate,
    Rated,
    as_rated,
    check_transport,
    estimate_rate,
    predict_out_of_fold,
)
from rlaif.stats.intervals import mid_p, share_interval, t_quantile
from rlaif.stats.logits import sigmoids

NAMES = [f"{number:04}" for number in range(500)]


def draw(rng: np.random.Generator, *, size: int = 500, labels: int = 100, doubt: float = 0.5) -> Rated:
    """A judge whose log-odds are three times too large and lean to yes; people's mean is about .5."""
    quality = rng.normal(size=size)
    said = np.full(size, np.nan)
    said[:labels] = rng.random(labels) < sigmoids(2 * quality[:labels])
    features = np.stack([6 * quality + 2 + doubt * rng.normal(size=size), np.ones(size)], axis=1)
    return as_rated(features, labels=said, prompts=[f"{number:04}" for number in range(size)])


def rate_of(items: Rated) -> Rate:
    rate = estimate_rate(items)
    assert rate is not None
    return rate


def width(rate: Rate) -> tuple[float, float]:
    return rate.estimate.high - rate.estimate.low, rate.people.high - rate.people.low


def test_a_judge_that_knows_people_makes_the_interval_narrower() -> None:
    rate = rate_of(draw(np.random.default_rng(2), size=2000, labels=200))
    assert rate.uses_judge
    assert rate.num_labels == rate.people.n == 200
    together, alone = width(rate)
    assert together < 0.85 * alone


def test_a_judge_that_knows_nothing_leaves_people_s_mean_nearly_as_it_is() -> None:
    rng = np.random.default_rng(2)
    items = draw(rng)
    noise = items._replace(features=np.stack([3 * rng.normal(size=500), np.ones(500)], axis=1))
    rate = rate_of(noise)
    together, alone = width(rate)
    assert together < 1.03 * alone
    assert rate.estimate.mean == pytest.approx(rate.people.mean, abs=0.03)


def test_the_figure_is_people_s_mean_plus_the_judge_s_difference() -> None:
    items = draw(np.random.default_rng(3))
    rate, predicted = rate_of(items), predict_out_of_fold(items)
    known = ~np.isnan(items.labels)
    expected = items.labels[known].mean() + rate.trust * (predicted.mean() - predicted[known].mean())
    assert rate.estimate.mean == pytest.approx(expected, abs=1e-12)
    assert 0 <= rate.trust <= 1


def test_the_trust_is_the_tuning_of_ppi_with_all_items_as_the_judge_s() -> None:
    """Without clusters cov(Y, f) / var(f), up to the degree of freedom: the smallest variance of the difference."""
    items = draw(np.random.default_rng(4), size=4000, labels=400)
    rate, predicted = rate_of(items), predict_out_of_fold(items)
    at = np.flatnonzero(~np.isnan(items.labels))
    covariance = np.cov(items.labels[at], predicted[at])
    assert rate.trust == pytest.approx(min(1.0, covariance[0, 1] / covariance[1, 1]), abs=0.02)


def test_under_ten_labels_of_the_rarer_answer_people_s_labels_alone_give_the_figure() -> None:
    items = draw(np.random.default_rng(5), size=200, labels=0)
    for yes, uses_judge in ((MIN_RARER - 1, False), (MIN_RARER, True), (60 - MIN_RARER, True), (51, False)):
        said = np.full(200, np.nan)
        said[:60] = [1.0] * yes + [0.0] * (60 - yes)
        rate = rate_of(items._replace(labels=said))
        assert rate.uses_judge is uses_judge
        assert (rate.estimate == rate.people) is not uses_judge
    assert rate.people == mid_p(51, 60)


def test_only_a_plain_count_is_a_binomial_s() -> None:
    """With a half among them, two on one prompt, or unlike chances, the labels' own spread is looked at."""
    items, said = draw(np.random.default_rng(5), size=200, labels=0), np.full(200, np.nan)
    said[:30] = [1.0] * 3 + [0.0] * 27
    items = items._replace(labels=said)
    assert rate_of(items).people == mid_p(3, 30)
    halved = said.copy()
    halved[:2] = 0.5
    paired = np.maximum(np.arange(200), 1)
    weights = np.where(np.arange(200) < 20, 1.0, 2.0)
    labels = said[:30].tolist()
    assert rate_of(items._replace(labels=halved)).people == share_interval(halved[:30].tolist())
    assert rate_of(items._replace(prompts=paired)).people == share_interval(labels, clusters=paired[:30].tolist())
    assert rate_of(items._replace(weights=weights)).people == share_interval(labels, weights=weights[:30].tolist())


def test_the_spread_of_yes_and_no_near_one_half_is_known_better_than_student_s_t_says() -> None:
    """Weights that differ by nothing but their last digits keep Student's t of n - 2, and nothing else changes."""
    unlike = 1 + 1e-9 * (np.arange(500) % 2)
    even = draw(np.random.default_rng(20), labels=40, doubt=30)
    said = np.full(500, np.nan)
    said[:200] = [1.0] * 12 + [0.0] * 188
    rare = even._replace(labels=said)
    narrower = [width(rate_of(items))[0] / width(rate_of(items._replace(weights=unlike)))[0] for items in (even, rare)]
    normal, student = NormalDist().inv_cdf(0.975), t_quantile(0.975, df=38)
    assert normal / student < narrower[0] < 0.995
    assert narrower[1] == pytest.approx(1, abs=1e-6)  # twelve of 200 say yes: few residuals are nearly all the spread


def test_labels_on_few_prompts_give_people_s_figure() -> None:
    items = draw(np.random.default_rng(6))
    prompts = np.where(np.arange(500) < 100, np.arange(500) % 9, np.arange(500))
    assert not rate_of(items._replace(prompts=prompts)).uses_judge


def test_without_labels_there_is_no_rate() -> None:
    assert estimate_rate(draw(np.random.default_rng(7), labels=0)) is None


def test_no_item_is_predicted_by_labels_of_its_prompt() -> None:
    """Changing every label of one prompt leaves the prediction of all its items as it was, labelled or not."""
    items = draw(np.random.default_rng(8), size=300, labels=90)
    prompts = np.arange(300) // 3
    prompts[299] = 0  # an unlabelled item of the first prompt
    items = items._replace(prompts=prompts)
    changed = items.labels.copy()
    changed[:3] = 1 - changed[:3]
    before, after = predict_out_of_fold(items), predict_out_of_fold(items._replace(labels=changed))
    of_first = prompts == 0
    assert of_first.sum() == 4
    assert np.array_equal(before[of_first], after[of_first])
    assert not np.array_equal(before[~of_first], after[~of_first])


def test_copies_of_every_pair_within_its_prompt_add_no_information() -> None:
    items = draw(np.random.default_rng(9))
    twice = Rated(*(np.repeat(column, 2, axis=0) for column in items))
    one, two = rate_of(items), rate_of(twice)
    assert two.people.n == one.people.n == 100
    # A plain count has the binomial's interval, and prompts with two labels one by their spread.
    assert (two.people.low, two.people.high) == pytest.approx((one.people.low, one.people.high), abs=0.002)
    # Fits see each label twice beside the same prior, so the judge's part moves a little.
    assert width(two)[0] == pytest.approx(width(one)[0], rel=0.02)


def test_the_order_of_rows_does_not_matter() -> None:
    items = draw(np.random.default_rng(17))
    order = np.random.default_rng(18).permutation(500)
    shuffled = as_rated(items.features[order], labels=items.labels[order], prompts=[NAMES[k] for k in order])
    one, other = rate_of(items).estimate, rate_of(shuffled).estimate
    assert (one.low, one.mean, one.high) == pytest.approx((other.low, other.mean, other.high), abs=1e-12)


def test_exchanging_the_two_answers_exchanges_the_rate() -> None:
    """Without an intercept every feature changes its sign with the order of the two responses."""
    items = draw(np.random.default_rng(19))
    items = items._replace(features=items.features[:, :1])
    one = rate_of(items).estimate
    other = rate_of(items._replace(features=-items.features, labels=1 - items.labels)).estimate
    assert (one.low, one.mean, one.high) == pytest.approx((1 - other.high, 1 - other.mean, 1 - other.low), abs=1e-9)


def test_labels_drawn_half_as_often_count_twice() -> None:
    items = draw(np.random.default_rng(10))
    probabilities = np.where(np.arange(500) % 2 == 0, 0.2, 0.4)
    drawn = as_rated(items.features, labels=items.labels, prompts=NAMES, probabilities=probabilities)
    known = ~np.isnan(items.labels)
    expected = np.average(items.labels[known], weights=1 / probabilities[known])
    assert rate_of(drawn).people.mean == pytest.approx(expected)
    even = as_rated(items.features, labels=items.labels, prompts=NAMES, probabilities=np.full(500, 0.2))
    assert rate_of(even).estimate.mean == pytest.approx(rate_of(items).estimate.mean, abs=1e-12)


def test_the_interval_stays_inside_0_and_1() -> None:
    items = draw(np.random.default_rng(11), size=300, labels=0)
    said = np.full(300, np.nan)
    said[:250] = [1.0] * 10 + [0.0] * 240
    rate = rate_of(items._replace(labels=said))
    assert 0 < rate.estimate.low < rate.estimate.mean < rate.estimate.high < 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"labels": [1.5, math.nan]}, "label lies"),
        ({"labels": [1.0, math.nan], "probabilities": [math.nan, 0.5]}, "every labelled item needs"),
        ({"labels": [1.0, math.nan], "probabilities": [1.5, 0.5]}, "every labelled item needs"),
        ({"labels": [1.0, math.nan], "features": [[math.inf], [0.0]]}, "finite"),
    ],
)
def test_impossible_columns_are_refused(more: dict[str, list[float]], sentence: str) -> None:
    given = {"features": [[0.0], [1.0]], **more}
    with pytest.raises(ValueError, match=sentence):
        as_rated(given.pop("features"), prompts=["a", "b"], **given)


def test_of_150_intervals_the_truth_is_in_nearly_all_and_in_few_of_the_judge_s_own() -> None:
    rng, inside, naive = np.random.default_rng(12), 0, 0
    for _ in range(150):
        items = draw(rng, size=300, labels=60)
        estimate = rate_of(items).estimate
        inside += estimate.low <= 0.5 <= estimate.high
        judged = sigmoids(items.features[:, 0])
        naive += abs(judged.mean() - 0.5) < 1.96 * judged.std() / math.sqrt(300)
    # .95 with the 99.99 % limits of 150 draws
    assert inside / 150 > 0.87
    assert naive / 150 < 0.2


def labelled(rng: np.random.Generator, *, n: int, shift: float) -> tuple[list[float], list[float]]:
    p = rng.uniform(0.1, 0.9, size=n)
    return p.tolist(), (rng.random(n) < np.clip(p + shift, 0, 1)).astype(float).tolist()


def test_a_calibration_that_is_off_by_a_quarter_does_not_hold_by_fifty_labels() -> None:
    rng = np.random.default_rng(13)
    outcomes = []
    for _ in range(100):
        predicted, labels = labelled(rng, n=50, shift=-0.28)
        found = check_transport(predicted, labels=labels)
        assert found is not None
        outcomes.append(found.outcome)
    assert outcomes.count("does not hold") > 90
    assert "holds" not in outcomes


def test_a_calibration_that_holds_is_stopped_once_in_twenty_at_most() -> None:
    rng = np.random.default_rng(14)
    outcomes = []
    for _ in range(400):
        predicted, labels = labelled(rng, n=50, shift=0.0)
        found = check_transport(predicted, labels=labels)
        assert found is not None
        outcomes.append(found.outcome)
    assert outcomes.count("does not hold") / 400 < 0.09


def test_many_labels_show_that_a_calibration_holds() -> None:
    predicted, labels = labelled(np.random.default_rng(15), n=4000, shift=0.0)
    found = check_transport(predicted, labels=labels)
    assert found is not None
    assert found.outcome == "holds"
    assert -0.05 < found.residual.low < found.residual.mean < found.residual.high < 0.05


def test_no_violation_among_few_labels_does_not_prove_a_calibration_wrong() -> None:
    found = check_transport([0.06] * 30 + [0.07] * 10, labels=[0.0] * 40)
    assert found is not None
    assert found.outcome == "undecided"
    assert found.residual.high > 0
    assert check_transport([0.5], labels=[1.0]) is None


def test_exchanging_the_two_answers_exchanges_the_gate_s_bounds() -> None:
    predicted, labels = labelled(np.random.default_rng(16), n=80, shift=-0.1)
    one = check_transport(predicted, labels=labels)
    other = check_transport([1 - p for p in predicted], labels=[1 - y for y in labels])
    assert one is not None
    assert other is not None
    assert one.outcome == other.outcome
    assert (one.residual.low, one.residual.high) == pytest.approx((-other.residual.high, -other.residual.low))
