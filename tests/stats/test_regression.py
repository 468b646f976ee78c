"""Clustered regressions against hand values, a slow second computation, and known coefficients."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.stats.intervals import mean_interval, t_quantile
from rlaif.stats.regression import correlate, fit_linear, fit_logistic


def test_a_line_through_exact_points_has_no_spread() -> None:
    fitted = fit_linear([[1.0], [2.0], [-1.0]], [3.0, 6.0, -3.0], clusters="abc")
    assert fitted is not None
    assert (fitted[0].mean, fitted[0].low, fitted[0].high, fitted[0].n) == pytest.approx((3, 3, 3, 3))


def test_the_slope_and_its_interval_are_those_of_the_sums_by_hand() -> None:
    x, y, clusters = [1.0, 2.0, 1.0, -1.0], [1.0, 5.0, 3.0, -1.0], "aabc"
    slope = (1 + 10 + 3 + 1) / (1 + 4 + 1 + 1)
    residuals = [b - slope * a for a, b in zip(x, y, strict=True)]
    sums = [x[0] * residuals[0] + x[1] * residuals[1], x[2] * residuals[2], x[3] * residuals[3]]
    error = math.sqrt(3 / 2 * sum(s**2 for s in sums)) / 7
    fitted = fit_linear([[a] for a in x], y, clusters=clusters)
    assert fitted is not None
    assert fitted[0].mean == pytest.approx(slope)
    assert fitted[0].high - slope == pytest.approx(t_quantile(0.975, df=2) * error)


def test_regressing_on_a_one_is_the_clustered_mean() -> None:
    rng = random.Random(1)
    values, clusters = [rng.gauss(1, 2) for _ in range(40)], [k // 4 for k in range(40)]
    fitted, mean = fit_linear([[1.0]] * 40, values, clusters=clusters), mean_interval(values, clusters=clusters)
    assert fitted is not None
    assert mean is not None
    assert fitted[0].model_dump() == pytest.approx(mean.model_dump())


def test_what_cannot_be_told_apart_is_not_estimated() -> None:
    assert fit_linear([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], [1.0, 2.0, 4.0], clusters="abc") is None
    assert fit_linear([[1.0], [2.0]], [1.0, 2.0], clusters="aa") is None
    assert fit_logistic([[0.0], [0.0], [0.0]], [0.2, 0.3, 0.9], clusters="abc") is None


def test_an_intercept_alone_predicts_the_mean_of_soft_labels() -> None:
    fitted = fit_logistic([[0.0], [1.0], [-1.0], [0.0]], [0.7, 0.7, 0.7, 0.7], clusters="abcd")
    assert fitted is not None
    assert fitted[0].mean == pytest.approx(math.log(0.7 / 0.3), abs=0.01)
    assert fitted[1].mean == pytest.approx(0, abs=1e-6)


def test_the_logistic_finds_the_coefficients_that_drew_the_labels() -> None:
    rng = random.Random(0)
    rows = [(rng.uniform(-1, 1),) for _ in range(4000)]
    labels = [float(rng.random() < 1 / (1 + math.exp(-(0.4 - 1.2 * x)))) for (x,) in rows]
    fitted = fit_logistic([list(row) for row in rows], labels, clusters=[k // 2 for k in range(4000)])
    assert fitted is not None
    assert fitted[0].low < 0.4 < fitted[0].high
    assert fitted[1].low < -1.2 < fitted[1].high
    assert fitted[1].high - fitted[1].low < 0.4


def test_features_that_tell_every_winner_still_have_finite_slopes() -> None:
    fitted = fit_logistic([[-1.0], [1.0], [-0.5], [0.5]], [0.0, 1.0, 0.0, 1.0], clusters="abcd")
    assert fitted is not None
    assert 3 < fitted[1].mean < 60


def test_correlation_about_zero_by_hand() -> None:
    assert correlate([1.0, 2.0], [2.0, 4.0]) == pytest.approx(1)
    assert correlate([1.0, 0.0], [0.0, 1.0]) == 0
    assert correlate([0.0], [1.0]) is None


def test_a_row_of_weight_k_has_the_slope_and_the_correlation_of_k_rows() -> None:
    x, y, weights = [1.0, 2.0, -1.0, 0.5], [1.0, 5.0, 1.0, -2.0], [1.0, 3.0, 2.0, 1.0]
    at = [place for place, weight in enumerate(weights) for _ in range(int(weight))]
    one = fit_linear([[a] for a in x], y, clusters=range(4), weights=weights)
    many = fit_linear([[x[k]] for k in at], [y[k] for k in at], clusters=at)
    assert one is not None
    assert many is not None
    assert (one[0].mean, one[0].low, one[0].n) == pytest.approx((many[0].mean, many[0].low, 4))
    assert correlate(x, y, weights=weights) == pytest.approx(correlate([x[k] for k in at], [y[k] for k in at]))
