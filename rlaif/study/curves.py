"""Finished cells -> a curve for each recipe: means, fits, what more budget brings, and where one overtakes another.

Seeds are the units: an interval resamples whole seeds, or is Student's over them. A recipe's curve takes the seeds
that have all of its budgets; others are counted as unfinished. Draws no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.records import Estimate
from rlaif.stats.intervals import mean_interval
from rlaif.study.fits import Family, Fit, average, find_crossing, fit_best, fit_curve
from rlaif.study.results import CellResult

NUM_RESAMPLES = 1000
_SEED = 20_240
"""Of the resampling, so that the same cells give the same intervals."""


class Curve(NamedTuple):
    """Success of one recipe by seed and budget."""

    recipe: str
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    success: NDArray[np.float64]
    """(seeds, budgets)."""
    num_unfinished: int
    """Seeds that lack a budget."""

    def take(self, seeds: Sequence[int]) -> Curve:
        """The curve of some of its seeds, which may stand several times."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return self._replace(seeds=tuple(seeds), success=self.success[rows])

    @property
    def means(self) -> list[float]:
        return [float(mean) for mean in self.success.mean(0)]

    def steps(self) -> NDArray[np.float64]:
        """(seeds, budgets - 1): d success / d log budget between neighbouring budgets."""
        found: NDArray[np.float64] = np.diff(self.success, axis=1) / np.diff(np.log(self.budgets))
        return found

    def points(self) -> tuple[list[float], list[float]]:
        """Budget and success of every cell."""
        return list(self.budgets) * len(self.seeds), [float(value) for value in self.success.ravel()]


class Range(NamedTuple):
    """A number with its 95 % interval by resampled seeds; None where it does not exist."""

    value: float | None
    low: float | None = None
    high: float | None = None
    share: float = 1.0
    """Share of the resamples in which the number exists; the interval is that of these."""


class FittedCurve(NamedTuple):
    """A curve and what is read off it."""

    curve: Curve
    spreads: tuple[Estimate | None, ...]
    """Mean and Student's interval at each budget; None with a single seed."""
    fits: Mapping[Family, Fit]
    """Both families, the chosen one first; empty where there are too few cells."""
    asymptote: Range
    half_point: Range
    marginal: tuple[float, ...]
    """The chosen fit's d success / d log budget at each budget; empty without a fit."""
    refit: Callable[[tuple[int, ...]], Fit] | None
    """The chosen family through resampled seeds, each resample fitted once; None without a fit."""

    @property
    def fit(self) -> Fit | None:
        """The chosen fit."""
        return next(iter(self.fits.values()), None)


def find_curves(cells: Sequence[CellResult], *, noise: float) -> dict[str, Curve]:
    """The curves of a panel: of recipes whose demonstrations have this noise, and of those without demonstrations."""
    by_recipe: dict[str, dict[int, dict[float, float]]] = {}
    for cell in cells:
        if cell.noise is None or cell.noise == noise:
            by_recipe.setdefault(cell.recipe, {}).setdefault(cell.seed, {})[cell.budget] = cell.success
    curves = {}
    for recipe in sort_recipes(by_recipe):
        by_seed = by_recipe[recipe]
        budgets = sorted({budget for found in by_seed.values() for budget in found})
        whole = sorted(seed for seed, found in by_seed.items() if len(found) == len(budgets))
        if whole:
            success = np.array([[by_seed[seed][budget] for budget in budgets] for seed in whole])
            curves[recipe] = Curve(recipe, tuple(budgets), tuple(whole), success, len(by_seed) - len(whole))
    return curves


def sort_recipes(names: Iterable[str]) -> list[str]:
    """Single methods first, and among them and the others those that begin with demonstrations."""
    return sorted(names, key=lambda name: ("+" in name, not name.startswith("sft"), name))


def find_noises(cells: Sequence[CellResult]) -> list[float]:
    """The panels of a study: each noise of its demonstrations, 0 where there were none."""
    return sorted({cell.noise for cell in cells if cell.noise is not None}) or [0.0]


def resample_seeds(seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """Seeds drawn with replacement, as often as there are, `NUM_RESAMPLES` times; none for a single seed."""
    if len(seeds) < 2:
        return []
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(len(seeds), size=(NUM_RESAMPLES, len(seeds)))
    return [tuple(sorted(seeds[k] for k in row)) for row in drawn]


def spread_over_seeds(seeds: Sequence[int], measure: Callable[[tuple[int, ...]], float | None]) -> Range:
    """A number of all seeds, with the interval of the middle 95 % of its resamples."""
    known: dict[tuple[int, ...], float | None] = {}
    found: list[float] = []
    resamples = resample_seeds(seeds)
    for drawn in resamples:
        if drawn not in known:
            known[drawn] = measure(drawn)
        value = known[drawn]
        if value is not None:
            found.append(value)
    whole = measure(tuple(sorted(seeds)))
    if not found:
        return Range(whole, share=0.0 if resamples else 1.0)
    low, high = (float(end) for end in np.quantile(found, [0.025, 0.975]))
    return Range(whole, low, high, len(found) / len(resamples))


def fit_curves(curves: Mapping[str, Curve]) -> dict[str, FittedCurve]:
    """Every curve with its fits."""
    return {recipe: _fit(curve) for recipe, curve in curves.items()}


def _fit(curve: Curve) -> FittedCurve:
    fits = fit_best(*curve.points())
    spreads = tuple(mean_interval([float(x) for x in curve.success[:, k]]) for k in range(len(curve.budgets)))
    if not fits:
        return FittedCurve(curve, spreads, fits, asymptote=Range(None), half_point=Range(None), marginal=(), refit=None)
    chosen = next(iter(fits.values()))
    known: dict[tuple[int, ...], Fit] = {}

    def refit(seeds: tuple[int, ...]) -> Fit:
        if seeds not in known:
            known[seeds] = fit_curve(chosen.family, average(*curve.take(seeds).points()))
        return known[seeds]

    return FittedCurve(
        curve,
        spreads,
        fits,
        asymptote=spread_over_seeds(curve.seeds, lambda seeds: refit(seeds).asymptote),
        half_point=spread_over_seeds(curve.seeds, lambda seeds: refit(seeds).half_point),
        marginal=tuple(chosen.marginal(budget) for budget in curve.budgets),
        refit=refit,
    )


def find_overtaking(first: FittedCurve, second: FittedCurve) -> Range:
    """The budget from which on the second recipe succeeds more often than the first, by their fitted curves.

    Only budgets count that both were trained with. Seeds are resampled in pairs.
    """
    seeds = sorted(set(first.curve.seeds) & set(second.curve.seeds))
    budgets = sorted(set(first.curve.budgets) & set(second.curve.budgets))
    one, other = first.refit, second.refit
    if one is None or other is None or len(budgets) < 2 or not seeds:
        return Range(None, share=0.0)

    def cross(drawn: tuple[int, ...]) -> float | None:
        return find_crossing(one(drawn).at, other(drawn).at, low=budgets[0], high=budgets[-1])

    return spread_over_seeds(seeds, cross)


def pair_differences(first: Curve, second: Curve, *, budget: float) -> list[float]:
    """Success of the first less that of the second at a budget, for each seed that both have."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    a, b = first.take(seeds), second.take(seeds)
    gaps = a.success[:, a.budgets.index(budget)] - b.success[:, b.budgets.index(budget)]
    return [float(gap) for gap in gaps]
