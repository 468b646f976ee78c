"""Cells become curves: which seeds count, intervals over seeds, and where one recipe overtakes another."""

from __future__ import annotations

import math

import pytest
from planted_cells import BUDGETS, make_cell, plant

from rlaif.study.curves import (
    find_curves,
    find_noises,
    find_overtaking,
    fit_curves,
    pair_differences,
    resample_seeds,
    spread_over_seeds,
)
from rlaif.study.fits import Fit


def test_a_recipe_without_demonstrations_stands_in_every_panel() -> None:
    cells = [make_cell("rl", 80, 0.1), make_cell("sft", 80, 0.2, noise=0.0), make_cell("sft", 80, 0.3, noise=0.1)]
    assert find_noises(cells) == [0.0, 0.1]
    clean, noisy = (find_curves(cells, noise=noise) for noise in (0.0, 0.1))
    assert (clean["rl"].means, clean["sft"].means) == ([0.1], [0.2])
    assert (noisy["rl"].means, noisy["sft"].means) == ([0.1], [0.3])


def test_a_seed_that_lacks_a_budget_is_left_out_and_counted() -> None:
    cells = plant(num_seeds=3, keep=lambda cell: not (cell.seed == 2 and cell.budget == 5120 and cell.recipe == "sft"))
    curves = find_curves(cells, noise=0.1)
    assert (curves["sft"].seeds, curves["sft"].num_unfinished) == ((0, 1), 1)
    assert (curves["rl"].seeds, curves["rl"].num_unfinished) == ((0, 1, 2), 0)


def test_steps_are_per_e_fold_of_budget() -> None:
    cells = [make_cell("sft", 100, 0.1), make_cell("sft", 100 * math.e, 0.3), make_cell("sft", 100 * math.e**3, 0.4)]
    assert find_curves(cells, noise=0.1)["sft"].steps()[0] == pytest.approx([0.2, 0.05])


def test_differences_pair_the_seeds() -> None:
    cells = [make_cell(recipe, 80, value, seed=seed) for recipe, seed, value in (
        ("sft", 0, 0.5), ("sft", 1, 0.7), ("rl", 1, 0.1), ("rl", 2, 0.9),
    )]  # fmt: skip
    curves = find_curves(cells, noise=0.1)
    assert pair_differences(curves["sft"], curves["rl"], budget=80) == pytest.approx([0.6])


def test_resampled_intervals_are_the_middle_of_the_resamples() -> None:
    values = {0: 0.0, 1: 1.0}
    found = spread_over_seeds([0, 1], lambda seeds: sum(values[seed] for seed in seeds) / 2)
    assert (found.value, found.low, found.high, found.share) == (0.5, 0.0, 1.0, 1.0)
    rare = spread_over_seeds([0, 1], lambda seeds: None if 1 in seeds else 3.0)
    assert (rare.value, rare.low, rare.high) == (None, 3.0, 3.0)
    assert rare.share == pytest.approx(0.25, abs=0.05)
    assert resample_seeds([4]) == []


def test_a_planted_overtaking_lies_in_its_interval() -> None:
    flat, rising = Fit("power", 0.5, 0.0, 0.0, 0, 0), Fit("sigmoid", 1.0, 1.5, 1000.0, 0, 0)
    means = {"sft": tuple(flat.at(b) for b in BUDGETS), "rl": tuple(rising.at(b) for b in BUDGETS)}
    fitted = fit_curves(find_curves(plant(means, sd=0.01), noise=0.1))
    found = find_overtaking(fitted["sft"], fitted["rl"])
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert found.low <= 1000 <= found.high
    assert found.value == pytest.approx(1000, rel=0.1)
    assert found.share == 1.0
    assert find_overtaking(fitted["rl"], fitted["sft"]).value is None


def test_fits_tell_asymptote_and_marginal_return_of_a_planted_curve() -> None:
    fitted = fit_curves(find_curves(plant(), noise=0.1))["sft"]
    assert fitted.asymptote.low is not None
    assert fitted.asymptote.high is not None
    assert fitted.asymptote.low <= 0.57 <= fitted.asymptote.high + 0.01
    assert fitted.marginal[0] > 4 * fitted.marginal[-1]


def test_one_seed_gives_means_and_no_interval() -> None:
    fitted = fit_curves(find_curves(plant(num_seeds=1), noise=0.1))["sft"]
    assert fitted.fit is None
    assert fitted.spreads == (None,) * 4
    assert fitted.asymptote.value is None
