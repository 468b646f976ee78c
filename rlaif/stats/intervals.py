"""Numbers -> an estimate with its 95 % interval, clustered where several numbers come from one prompt, weighted
where they were drawn with unequal probabilities.

Standard library only: Student's t is computed here. Draws nothing and knows no records but `Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from rlaif.records import Estimate

LEVEL = 0.95
ROUNDING = 1e-9
MIN_IN_STRATUM = 5
"""Values of a stratum below which its spread is not estimated from it alone."""


def mean_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate | None:
    """Mean and t-interval of numbers without known bounds; n counts the clusters (by default every value).

    The variance is the cluster-robust one of a ratio: values of one prompt may depend on each other in any
    way (Cochran 1977, Sampling Techniques, chapter 9A). None with fewer than two clusters.
    """
    spread = _spread(values, clusters, weights)
    if spread.num_clusters < 2:
        return None
    error = spread.standard_error
    if clusters is not None and error <= 1e-12 * max(map(abs, values)) and max(values) > min(values):
        # The values of each cluster balance out by chance: that is no certainty, so their own spread counts.
        error = _spread(values, None, weights).standard_error
    half = t_quantile((1 + LEVEL) / 2, df=spread.df) * error
    return Estimate(mean=spread.mean, low=spread.mean - half, high=spread.mean + half, n=spread.num_clusters)


def share_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate | None:
    """Mean of numbers in [0, 1] (shares, probabilities, 0/1) with an interval inside [0, 1].

    Wilson's interval at the effective sample size mean (1 - mean) / se^2, with t for z. Where all values are
    0 or all are 1 nothing was seen to vary, and the effective size is the number of clusters (with weights,
    Kish's size). weights: how much each value counts, for example 1 / the probability with which it was drawn.
    None without values.
    """
    if not values:
        return None
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError("a share lies in [0, 1]")
    spread = _spread(values, clusters, weights)
    n = spread.num_clusters
    variance = spread.mean * (1 - spread.mean)
    varies = n > 1 and spread.standard_error > 1e-12
    effective = variance / spread.standard_error**2 if varies else spread.effective_clusters
    z = t_quantile((1 + LEVEL) / 2, df=spread.df) if n > 1 else NormalDist().inv_cdf((1 + LEVEL) / 2)
    low, high = _wilson_bounds(spread.mean, effective, z=z)
    return Estimate(mean=spread.mean, low=low, high=high, n=n)


def stratified_share(
    values: Sequence[float],
    *,
    strata: Sequence[Hashable],
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate | None:
    """Mean of numbers in [0, 1] that were drawn stratum by stratum, so many from each.

    A stratum h counts W_h, its share of the weights. With its own Wilson interval [l_h, u_h] about its mean q_h, the
    lower bound is mean - sqrt(sum (W_h (q_h - l_h))^2), and the upper bound likewise (Zou and Donner 2008). Where a
    cluster lies in several strata these depend on each other, and each bound is the farther of this one and that of
    `share_interval`. None without values.
    """
    whole = share_interval(values, clusters=clusters, weights=weights)
    if whole is None:
        return None
    keys = list(range(len(values)) if clusters is None else clusters)
    counts = [1.0] * len(values) if weights is None else weights
    below = above = 0.0
    for stratum in dict.fromkeys(strata):
        at = [place for place, name in enumerate(strata) if name == stratum]
        part = share_interval([values[i] for i in at], clusters=[keys[i] for i in at], weights=[counts[i] for i in at])
        if part is not None:
            share = math.fsum(counts[i] for i in at) / math.fsum(counts)
            below += (share * (part.mean - part.low)) ** 2
            above += (share * (part.high - part.mean)) ** 2
    low, high = max(0.0, whole.mean - math.sqrt(below)), min(1.0, whole.mean + math.sqrt(above))
    if len(set(zip(keys, strata, strict=True))) > len(set(keys)):
        low, high = min(low, whole.low), max(high, whole.high)
    return Estimate(mean=whole.mean, low=low, high=high, n=whole.n)


def drawn_share(
    values: Sequence[float], *, strata: Sequence[Hashable], probabilities: Sequence[float]
) -> Estimate | None:
    """Mean over a finite list of numbers in [0, 1], of which so many of each stratum were drawn without replacement.

    probabilities: those with which the values were drawn. The interval is that of this list, whatever its prompts have
    in common, and shrinks to nothing where the whole list was drawn. Each value adds to its stratum's error in
    proportion to 1 - its probability (Hajek 1964, for draws of high entropy). The bounds are Wilson's at the size that
    the error amounts to, with Satterthwaite's t. None without values.
    """
    if not values:
        return None
    weights = [1 / probability for probability in probabilities]
    total = math.fsum(weights)
    mean = math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / total
    mean = min(max(mean, min(values)), max(values))  # rounding may pass them
    if min(probabilities) >= 1:
        return Estimate(mean=mean, low=mean, high=mean, n=len(values))
    groups = _join_small(strata)
    squares = [
        _squared_error([values[i] for i in at], [weights[i] for i in at], [probabilities[i] for i in at])
        for at in groups
    ]
    variance, most = math.fsum(squares) / total**2, max(1, len(values) - len(groups))
    if variance <= 1e-24 or not 0 < mean < 1:
        left = 1 - len(values) / total  # nothing was seen to vary: the share of the list that was not drawn may
        low, high = _wilson_bounds(mean, effective_size(weights) / left, z=t_quantile((1 + LEVEL) / 2, df=most))
        return Estimate(mean=mean, low=low, high=high, n=len(values))
    spread = math.fsum(one**2 / (len(at) - 1) for one, at in zip(squares, groups, strict=True) if len(at) > 1)
    df = max(1, min(most, int(math.fsum(squares) ** 2 / spread)))
    return share_of_error(mean, standard_error=math.sqrt(variance), df=df, n=len(values))


def _join_small(strata: Sequence[Hashable]) -> list[list[int]]:
    """The places of each stratum in the order of their names; one of under MIN_IN_STRATUM joins a neighbour."""
    by_name: dict[str, list[int]] = {}
    for place, name in enumerate(strata):
        by_name.setdefault(str(name), []).append(place)
    groups: list[list[int]] = []
    for name in sorted(by_name):
        if groups and min(len(groups[-1]), len(by_name[name])) < MIN_IN_STRATUM:
            groups[-1] += by_name[name]
        else:
            groups.append(by_name[name])
    return groups


def _squared_error(values: Sequence[float], weights: Sequence[float], probabilities: Sequence[float]) -> float:
    """What one stratum adds to the variance of a weighted sum; 0 where a single value shows no spread."""
    if len(values) < 2:
        return 0.0
    rows = list(zip(values, weights, probabilities, strict=True))
    mean = math.fsum(weight * value for value, weight, _ in rows) / math.fsum(weights)
    parts = [(1 - probability) * (weight * (value - mean)) ** 2 for value, weight, probability in rows]
    return len(parts) / (len(parts) - 1) * math.fsum(parts)


def effective_size(weights: Sequence[float]) -> float:
    """Kish's size: the number of equally weighted values that tell as much (Kish 1965, Survey Sampling, 11.7)."""
    return math.fsum(weights) ** 2 / math.fsum(weight * weight for weight in weights)


def degrees_of_freedom(
    values: Sequence[float], *, clusters: Sequence[Hashable] | None, weights: Sequence[float] | None
) -> int:
    """Degrees of freedom of the mean's standard error; the number of clusters less one without weights."""
    return _spread(values, clusters, weights).df


def wilson(k: int, n: int) -> Estimate:
    """k successes in n independent trials, with Wilson's interval (Wilson 1927)."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is not a share")
    low, high = _wilson_bounds(k / n, n, z=NormalDist().inv_cdf((1 + LEVEL) / 2))
    return Estimate(mean=k / n, low=low, high=high, n=n)


@lru_cache(maxsize=4096)
def mid_p(k: int, n: int) -> Estimate:
    """k successes in n independent trials, with the mid-p interval: the shares p under which k is in neither tail.

    In a tail that may hold 2.5 % the outcome k itself counts half (Lancaster 1961, Biometrika 52), which takes away
    most of what the exact interval covers too often. The spread is the binomial's, so no t stands for an unknown one.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is not a share")
    tail = (1 - LEVEL) / 2
    low = 0.0 if k == 0 else _solve(lambda p: _upper_tail(k, n, p=p) < tail)
    high = 1.0 if k == n else _solve(lambda p: _upper_tail(k, n, p=p) < 1 - tail)
    return Estimate(mean=k / n, low=low, high=high, n=n)


def _solve(is_below: Callable[[float], bool]) -> float:
    """The share up to which a condition holds."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def _upper_tail(k: int, n: int, *, p: float) -> float:
    """P(X > k) + P(X = k) / 2 of a binomial X; the sum runs away from its mean, so no term overflows."""
    log_here = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    here = math.exp(log_here + k * math.log(p) + (n - k) * math.log1p(-p))
    odds, total, term, j = p / (1 - p), here / 2, here, k
    if p * n < k:
        while j < n and term > 1e-18 * total:
            term *= (n - j) / (j + 1) * odds
            total, j = total + term, j + 1
        return total
    while j > 0 and term > 1e-18 * total:
        term *= j / (n - j + 1) / odds
        total, j = total + term, j - 1
    return 1 - total


def share_of_error(mean: float, *, standard_error: float, df: int, n: int) -> Estimate:
    """An estimated share strictly between 0 and 1, with Wilson's interval at the size that its error amounts to.

    The effective size is mean (1 - mean) / standard_error^2, with Student's t of df degrees of freedom for z.
    """
    t = t_quantile((1 + LEVEL) / 2, df=df)
    low, high = _wilson_bounds(mean, mean * (1 - mean) / standard_error**2, z=t)
    return Estimate(mean=mean, low=low, high=high, n=n)


def _wilson_bounds(p: float, n: float, *, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At p = 0 and p = 1 a bound equals p, up to rounding.
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


class _Spread(NamedTuple):
    mean: float
    standard_error: float
    num_clusters: int
    df: int
    effective_clusters: float
    """Kish's size of the clusters' weights."""


def _spread(values: Sequence[float], clusters: Sequence[Hashable] | None, weights: Sequence[float] | None) -> _Spread:
    if not values:
        return _Spread(mean=math.nan, standard_error=math.nan, num_clusters=0, df=0, effective_clusters=0.0)
    keys = range(len(values)) if clusters is None else clusters
    if weights is not None and not (all(weight >= 0 for weight in weights) and 0 < math.fsum(weights) < math.inf):
        raise ValueError("weights are finite and not negative, and some weight is above zero")
    is_even = weights is None or all(weight == weights[0] for weight in weights)
    if weights is None or is_even:
        weights = [1.0] * len(values)
    total = math.fsum(weights)
    mean = math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / total
    if all(value == values[0] for value in values):
        mean = values[0]
    residuals: dict[Hashable, float] = {}
    sizes: dict[Hashable, float] = {}
    for value, weight, key in zip(values, weights, keys, strict=True):
        residuals[key] = residuals.get(key, 0.0) + weight * (value - mean)
        sizes[key] = sizes.get(key, 0.0) + weight
    g = len(residuals)
    squares = [residual**2 for residual in residuals.values()]
    error = math.sqrt(g / (g - 1) * math.fsum(squares)) / total if g > 1 else math.nan
    if is_even:
        df, effective = g - 1, float(g)
    else:
        df, effective = _weigh_degrees(list(sizes.values())), effective_size(list(sizes.values()))
    return _Spread(mean=mean, standard_error=error, num_clusters=g, df=df, effective_clusters=effective)


def _weigh_degrees(weights: Sequence[float]) -> int:
    """Degrees of freedom of a variance that is a sum of squares, each times its squared weight (Satterthwaite 1946).

    A few heavy clusters may make most of the variance, which is then known only as well as from those few alone.
    subtle: by the weights and not by the squares that were seen. Where one answer is rare a few squares are nearly all,
    whatever the weights, and Wilson's bounds allow for that already; even weights have G - 1 degrees.
    """
    return max(1, min(len(weights) - 1, int(effective_size([weight**2 for weight in weights]) - 1 + ROUNDING)))


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
