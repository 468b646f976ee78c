"""Success over budget -> a saturating curve: a power law or a sigmoid, whichever explains the points better.

    power    a - b B^-c          a: asymptote
    sigmoid  A / (1 + (B50/B)^s) A: asymptote, B50: the budget of half of it

Weighted least squares by search on a grid that closes in: no starting values, no randomness, the same fit each time.
The asymptote is held in [0, 1], since success is a share. Knows no recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]
Family = Literal["power", "sigmoid"]

FAMILIES: tuple[Family, ...] = ("power", "sigmoid")
NUM_PARAMETERS = 4
"""Three of the curve, and the variance of the points about it."""
MIN_BUDGETS = 4
"""Fewer leave nothing over to tell the three parameters from chance."""
_ROUNDS, _GRID, _SHRINK = 14, 33, 0.4
_FLOOR = 1e-12
"""Least mean square, for points that lie on a curve exactly."""


class Fit(NamedTuple):
    """A fitted curve."""

    family: Family
    asymptote: float
    steepness: float
    """c of the power law, s of the sigmoid."""
    scale: float
    """b of the power law, B50 of the sigmoid."""
    residual: float
    """Sum of squares of the points about the curve."""
    aicc: float
    """Akaike's criterion for small samples (Hurvich and Tsai 1989); infinite where there are too few points."""

    def at(self, budget: float) -> float:
        """The curve's success at a budget."""
        if self.family == "power":
            return self.asymptote - self.scale * math.pow(budget, -self.steepness)
        return self.asymptote / (1.0 + math.pow(self.scale / budget, self.steepness))

    def marginal(self, budget: float) -> float:
        """d success / d log budget: what one e-fold of the budget adds there."""
        if self.family == "power":
            return self.scale * self.steepness * math.pow(budget, -self.steepness)
        ratio = math.pow(self.scale / budget, self.steepness)
        return self.asymptote * self.steepness * ratio / ((1.0 + ratio) * (1.0 + ratio))

    @property
    def half_point(self) -> float | None:
        """The budget at which the curve has half of its asymptote; None for a flat one, which always has it."""
        if self.family == "sigmoid":
            return self.scale
        if self.scale <= 0 or self.asymptote <= 0:
            return None
        return float((2.0 * self.scale / self.asymptote) ** (1.0 / self.steepness))


class Averages(NamedTuple):
    """The points of a curve, averaged at each budget."""

    budgets: Array
    means: Array
    counts: Array
    """Points at each budget."""
    within: float
    """Sum of squares of the points about their budget's mean, which no curve can explain."""


def average(budgets: Sequence[float], values: Sequence[float]) -> Averages:
    """The points by budget. budgets, values: one of each for every point."""
    by_budget: dict[float, list[float]] = {}
    for budget, value in zip(budgets, values, strict=True):
        by_budget.setdefault(budget, []).append(value)
    ordered = sorted(by_budget)
    means = [math.fsum(by_budget[budget]) / len(by_budget[budget]) for budget in ordered]
    within = math.fsum(
        (value - mean) ** 2 for budget, mean in zip(ordered, means, strict=True) for value in by_budget[budget]
    )
    counts = [len(by_budget[budget]) for budget in ordered]
    return Averages(np.array(ordered), np.array(means), np.array(counts, dtype=np.float64), within)


def fit_best(budgets: Sequence[float], values: Sequence[float]) -> dict[Family, Fit]:
    """Both curves, the better one by AICc first; empty with fewer than four budgets or six points.

    A tie goes to the power law.
    """
    points = average(budgets, values)
    if len(points.budgets) < MIN_BUDGETS or points.counts.sum() <= NUM_PARAMETERS + 1:
        return {}
    fits = [fit_curve(family, points) for family in FAMILIES]
    return {fit.family: fit for fit in sorted(fits, key=lambda fit: fit.aicc)}


def fit_curve(family: Family, points: Averages) -> Fit:
    """The least-squares curve of a family through points."""
    return _fit_power(points) if family == "power" else _fit_logistic(points)


class _Side(NamedTuple):
    """The values of a parameter, as its logarithm, among which the best is searched for."""

    low: float
    high: float

    def grid(self, num: int) -> Array:
        return np.linspace(self.low, self.high, num)

    def close_in(self, best: float, *, within: _Side) -> _Side:
        """A shorter side about the best value so far, which may still move out of the old one."""
        reach = (self.high - self.low) * _SHRINK / 2
        return _Side(max(within.low, best - reach), min(within.high, best + reach))


def _fit_power(points: Averages) -> Fit:
    middle = float(np.exp(np.log(points.budgets).mean()))
    x = np.log(points.budgets / middle)

    def solve(log_c: Array) -> tuple[Array, Array, Array]:
        return _solve_power(np.exp(-np.exp(log_c)[:, None] * x), points)

    whole = side = _Side(math.log(0.02), math.log(8.0))
    best = side.low
    for _ in range(_ROUNDS):
        grid = side.grid(_GRID * 3)
        best = float(grid[int(np.argmin(solve(grid)[2]))])
        side = side.close_in(best, within=whole)
    a, b, lack = solve(np.array([best]))
    c = math.exp(best)
    return _as_fit("power", float(a[0]), c, math.pow(middle, c) * float(b[0]), lack=float(lack[0]), points=points)


def _solve_power(basis: Array, points: Averages) -> tuple[Array, Array, Array]:
    """a in [0, 1] and b >= 0 of a - b basis that leave least, and what they leave. basis: (curves, budgets)."""
    w, y = points.counts, points.means
    total = w.sum()
    mean_g, mean_y = (basis * w).sum(1) / total, float((w * y).sum() / total)
    spread = (w * (basis - mean_g[:, None]) ** 2).sum(1)
    slope = (w * (basis - mean_g[:, None]) * (y - mean_y)).sum(1) / np.maximum(spread, 1e-300)
    free = (mean_y - slope * mean_g, -slope)
    at_one = (np.ones(len(basis)), np.maximum((w * basis * (1.0 - y)).sum(1) / (w * basis**2).sum(1), 0.0))
    flat = (np.full(len(basis), mean_y), np.zeros(len(basis)))
    candidates = []
    for a, b in (free, at_one, flat):
        lack = (w * (a[:, None] - b[:, None] * basis - y) ** 2).sum(1)
        allowed = (a >= 0) & (a <= 1) & (b >= 0)
        candidates.append((a, b, np.where(allowed, lack, np.inf)))
    choice = np.argmin([lack for _, _, lack in candidates], axis=0)
    rows = np.arange(len(basis))
    stacked = [np.stack(parts)[choice, rows] for parts in zip(*candidates, strict=True)]
    return stacked[0], stacked[1], stacked[2]


def _fit_logistic(points: Averages) -> Fit:
    logs = np.log(points.budgets)
    w, y = points.counts, points.means

    def solve(half: Array, log_s: Array) -> tuple[Array, Array]:
        """A in [0, 1] of each sigmoid, and what it leaves; half: log B50."""
        basis = sigmoids(np.clip(np.exp(log_s)[:, None] * (logs - half[:, None]), -500.0, 500.0))
        a = np.clip((w * basis * y).sum(1) / np.maximum((w * basis**2).sum(1), 1e-300), 0.0, 1.0)
        return a, (w * (a[:, None] * basis - y) ** 2).sum(1)

    halves = _Side(float(logs[0]) - math.log(100.0), float(logs[-1]) + math.log(100.0))
    steepnesses = _Side(math.log(0.1), math.log(12.0))
    sides, best = (halves, steepnesses), (0.0, 0.0)
    for _ in range(_ROUNDS):
        half, log_s = (grid.ravel() for grid in np.meshgrid(*(side.grid(_GRID) for side in sides)))
        k = int(np.argmin(solve(half, log_s)[1]))
        best = float(half[k]), float(log_s[k])
        sides = (
            sides[0].close_in(best[0], within=halves),
            sides[1].close_in(best[1], within=steepnesses),
        )
    a, lack = solve(np.array([best[0]]), np.array([best[1]]))
    half_point, s = map(math.exp, best)
    return _as_fit("sigmoid", float(a[0]), s, half_point, lack=float(lack[0]), points=points)


def _as_fit(family: Family, asymptote: float, steepness: float, scale: float, *, lack: float, points: Averages) -> Fit:
    """lack: the part of the sum of squares that another curve could explain."""
    n = float(points.counts.sum())
    residual = lack + points.within
    aicc = math.inf
    if n > NUM_PARAMETERS + 1:
        k = NUM_PARAMETERS
        aicc = n * math.log(max(residual / n, _FLOOR)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    return Fit(family, asymptote, steepness, scale, residual=residual, aicc=aicc)


def find_crossing(
    first: Callable[[float], float], second: Callable[[float], float], *, low: float, high: float
) -> float | None:
    """The largest budget in [low, high] from which on the second curve is above the first; None where there is none.

    Where the second curve is above from the beginning there is no crossing.
    """
    grid = np.exp(np.linspace(math.log(low), math.log(high), 160))
    gaps = [second(float(budget)) - first(float(budget)) for budget in grid]
    if gaps[-1] <= 0:
        return None
    below = [k for k, gap in enumerate(gaps) if gap <= 0]
    if not below:
        return None
    k = below[-1]
    share = gaps[k] / (gaps[k] - gaps[k + 1])
    return float(grid[k] * (grid[k + 1] / grid[k]) ** share)
