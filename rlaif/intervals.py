"""Numbers -> an estimate with its 95 % interval, clustered where several numbers come from one prompt.

Standard library only: Student's t is computed here. Draws nothing and knows no records but `Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from rlaif.records import Estimate

LEVEL = 0.95


def mean_interval(values: Sequence[float], *, clusters: Sequence[Hashable] | None = None) -> Estimate | None:
    """Mean and t-interval of numbers without known bounds; n counts the clusters (by default every value).

    The variance is the cluster-robust one of a ratio: values of one prompt may depend on each other in any
    way (Cochran 1977, Sampling Techniques, chapter 9A). None with fewer than two clusters.
    """
    spread = _spread(values, clusters)
    if spread.num_clusters < 2:
        return None
    error = spread.standard_error
    if clusters is not None and error <= 1e-12 * abs(spread.mean) and max(values) > min(values):
        # The values of each cluster balance out by chance: that is no certainty, so their own spread counts.
        error = _spread(values, None).standard_error
    half = t_quantile((1 + LEVEL) / 2, df=spread.num_clusters - 1) * error
    return Estimate(mean=spread.mean, low=spread.mean - half, high=spread.mean + half, n=spread.num_clusters)


def share_interval(values: Sequence[float], *, clusters: Sequence[Hashable] | None = None) -> Estimate | None:
    """Mean of numbers in [0, 1] (shares, probabilities, 0/1) with an interval inside [0, 1].

    Wilson's interval at the effective sample size mean (1 - mean) / se^2, with t for z. Where all values are
    0 or all are 1 nothing was seen to vary, and the effective size is the number of clusters.
    None without values.
    """
    if not values:
        return None
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError("a share lies in [0, 1]")
    spread = _spread(values, clusters)
    n = spread.num_clusters
    variance = spread.mean * (1 - spread.mean)
    effective = variance / spread.standard_error**2 if n > 1 and spread.standard_error > 1e-12 else float(n)
    z = t_quantile((1 + LEVEL) / 2, df=n - 1) if n > 1 else NormalDist().inv_cdf((1 + LEVEL) / 2)
    low, high = _wilson_bounds(spread.mean, effective, z=z)
    return Estimate(mean=spread.mean, low=low, high=high, n=n)


def wilson(k: int, n: int) -> Estimate:
    """k successes in n independent trials, with Wilson's interval (Wilson 1927)."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is not a share")
    low, high = _wilson_bounds(k / n, n, z=NormalDist().inv_cdf((1 + LEVEL) / 2))
    return Estimate(mean=k / n, low=low, high=high, n=n)


def _wilson_bounds(p: float, n: float, *, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At p = 0 and p = 1 a bound equals p, up to rounding.
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


class _Spread(NamedTuple):
    mean: float
    standard_error: float
    num_clusters: int


def _spread(values: Sequence[float], clusters: Sequence[Hashable] | None) -> _Spread:
    if not values:
        return _Spread(math.nan, math.nan, 0)
    keys = range(len(values)) if clusters is None else clusters
    mean = math.fsum(values) / len(values)
    if all(value == values[0] for value in values):
        mean = values[0]
    residuals: dict[Hashable, float] = {}
    for value, key in zip(values, keys, strict=True):
        residuals[key] = residuals.get(key, 0.0) + value - mean
    g = len(residuals)
    squares = math.fsum(residual**2 for residual in residuals.values())
    return _Spread(mean, math.sqrt(g / (g - 1) * squares) / len(values) if g > 1 else math.nan, g)


@lru_cache(maxsize=256)
def t_quantile(p: float, *, df: int) -> float:
    """Student's t: the x with P(T <= x) = p, for 1/2 < p < 1; the normal quantile where df is over 2000.

    P(|T| <= x) is a finite sum in theta = atan(x / sqrt(df)) (Abramowitz and Stegun 26.7.3 and 26.7.4);
    theta is found by bisection.
    """
    if df < 1 or not 0.5 < p < 1:
        raise ValueError("t_quantile wants df >= 1 and 1/2 < p < 1")
    if df > 2000:
        return NormalDist().inv_cdf(p)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _t_inside(middle, df) < 2 * p - 1:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(df)


def _t_inside(theta: float, df: int) -> float:
    cosine = math.cos(theta)
    odd = df % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total
