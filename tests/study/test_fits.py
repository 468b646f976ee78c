"""Fits recover the curves that points were drawn from, and say which family it was."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlaif.study.fits import Fit, average, find_crossing, fit_best, fit_curve

BUDGETS = [80.0, 320.0, 1280.0, 5120.0, 20480.0]


def power(a: float, b: float, c: float) -> Fit:
    return Fit("power", a, c, b, 0.0, 0.0)


def sigmoid(a: float, half: float, s: float) -> Fit:
    return Fit("sigmoid", a, s, half, 0.0, 0.0)


@pytest.mark.parametrize(("a", "b", "c"), [(0.6, 2.0, 0.5), (0.95, 8.0, 0.7), (0.3, 0.4, 0.2)])
def test_a_power_law_without_noise_is_recovered(a: float, b: float, c: float) -> None:
    planted = power(a, b, c)
    fit = fit_curve("power", average(BUDGETS, [planted.at(x) for x in BUDGETS]))
    assert (fit.asymptote, fit.scale, fit.steepness) == pytest.approx((a, b, c), rel=2e-3)
    assert fit.residual < 1e-9


@pytest.mark.parametrize(("a", "half", "s"), [(0.9, 700.0, 1.3), (0.6, 200.0, 2.0), (1.0, 4000.0, 0.8)])
def test_a_sigmoid_without_noise_is_recovered(a: float, half: float, s: float) -> None:
    planted = sigmoid(a, half, s)
    fit = fit_curve("sigmoid", average(BUDGETS, [planted.at(x) for x in BUDGETS]))
    assert (fit.asymptote, fit.scale, fit.steepness) == pytest.approx((a, half, s), rel=2e-3)
    assert fit.residual < 1e-9


def scattered(planted: Fit, *, sd: float = 0.01, num_seeds: int = 5) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(0)
    budgets = BUDGETS * num_seeds
    return budgets, [planted.at(x) + float(rng.normal(0, sd)) for x in budgets]


def test_the_family_that_the_points_come_from_is_chosen() -> None:
    assert next(iter(fit_best(*scattered(power(0.6, 2.0, 0.4))))) == "power"
    assert next(iter(fit_best(*scattered(sigmoid(0.9, 1500.0, 2.0))))) == "sigmoid"


def test_aicc_is_that_of_the_formula() -> None:
    budgets, values = scattered(power(0.6, 2.0, 0.4))
    fit = fit_best(budgets, values)["power"]
    n, k = 25, 4
    residual = sum((value - fit.at(budget)) ** 2 for budget, value in zip(budgets, values, strict=True))
    assert fit.residual == pytest.approx(residual)
    assert fit.aicc == pytest.approx(n * math.log(residual / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def test_too_few_budgets_or_points_give_no_fit() -> None:
    assert fit_best([80, 320, 1280] * 5, [0.1, 0.2, 0.3] * 5) == {}
    assert fit_best([80, 320, 1280, 5120], [0.1, 0.2, 0.3, 0.35]) == {}
    assert len(fit_best([80, 320, 1280, 5120] * 2, [0.1, 0.2, 0.3, 0.35] * 2)) == 2


def test_no_asymptote_is_above_one() -> None:
    values = [0.1, 0.3, 0.5, 0.7, 0.9]  # a straight line over log budget, which no share can follow for long
    for fit in fit_best(BUDGETS * 2, values * 2).values():
        assert 0.9 <= fit.asymptote <= 1.0


def test_a_flat_curve_has_no_half_point_by_the_power_law() -> None:
    fit = fit_curve("power", average(BUDGETS, [0.4] * 5))
    assert (fit.asymptote, fit.scale, fit.half_point) == (pytest.approx(0.4), 0.0, None)


@pytest.mark.parametrize("fit", [power(0.6, 2.0, 0.5), sigmoid(0.9, 700.0, 1.3)])
def test_the_marginal_return_is_the_slope_over_log_budget(fit: Fit) -> None:
    step = 1e-5
    slope = (fit.at(500 * math.exp(step)) - fit.at(500 * math.exp(-step))) / (2 * step)
    assert fit.marginal(500) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("fit", [power(0.6, 2.0, 0.5), sigmoid(0.9, 700.0, 1.3)])
def test_the_half_point_is_where_half_of_the_asymptote_is_reached(fit: Fit) -> None:
    assert fit.half_point is not None
    assert fit.at(fit.half_point) == pytest.approx(fit.asymptote / 2)


def test_a_crossing_is_where_the_second_curve_overtakes_the_first() -> None:
    flat, rising = power(0.5, 0.0, 1.0), sigmoid(1.0, 1000.0, 1.0)  # .5 is reached at B50
    assert find_crossing(flat.at, rising.at, low=80, high=20480) == pytest.approx(1000, rel=1e-3)
    assert find_crossing(rising.at, flat.at, low=80, high=20480) is None
    assert find_crossing(flat.at, rising.at, low=80, high=900) is None
    assert find_crossing(flat.at, rising.at, low=1100, high=20480) is None
