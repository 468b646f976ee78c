"""Values in the order in which they were labelled -> certificates and intervals that hold whenever somebody stops.

Betting (Waudby-Smith and Ramdas 2024, arXiv:2010.09686; for weights and strata Stark, arXiv:2201.02707).
Against the null "mean <= m", capital begins at 1 and is multiplied by 1 - c + c z_t / m_t for each value: z_t is the
value, m_t the mean that the null still allows it, c the share of the capital that is staked. The capital is the mean of
20 such processes, c = 1/21, ..., 20/21. Under the null it reaches 1 / alpha with probability alpha at most, at any time
(Ville's inequality). An interval of a size that was fixed beforehand is narrower: `intervals` has those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif.records import Estimate

Array = NDArray[np.float64]
Side = Literal["above", "below"]
"""What is to be certified: that the mean lies above the null, or below it."""

ALPHA = 0.05
NUM_SHARES = 20
SHARES = tuple(j / (NUM_SHARES + 1) for j in range(1, NUM_SHARES + 1))
ROUNDING = 1e-9
"""By so much per item of a list, sums of values may differ through rounding alone."""
GRID = 1000
"""Means at which a stratum's capital is computed; they make the bounds of strata wider by 1 / GRID at most."""


class Stream(NamedTuple):
    """Labelled values, as columns of shape (..., n): one stream, or a batch of streams of equal length."""

    values: Array
    """x_t, each in [0, 1], in the order labelled."""
    factors: Array
    """How many times rarer than in an even draw the t-th item was drawn; 1 where all items were equally likely."""
    ratios: Array
    """What the t-th unit counts in the mean, over the most that a unit may count; 1 for single items."""
    list_size: int | None
    """Units in the list that is drawn without replacement; None for an endless stream and for replaced draws."""


class Stratum(NamedTuple):
    """A part of the items with its own stream. Which stratum is labelled next may depend on anything seen before."""

    share: float
    """Share of all items that this stratum holds; the shares sum to 1."""
    stream: Stream


def even_stream(values: ArrayLike, *, list_size: int | None = None) -> Stream:
    """Values whose items were equally likely; list_size: items in the list they were drawn from, none twice."""
    x = np.asarray(values, dtype=np.float64)
    return _checked(Stream(x, np.ones_like(x), np.ones_like(x), list_size))


def weighted_stream(values: ArrayLike, *, probabilities: ArrayLike, list_size: int) -> Stream:
    """Values drawn without replacement, each with the probability that its item had at that draw among those left."""
    x = np.asarray(values, dtype=np.float64)
    q = _as_probabilities(probabilities, like=x)
    left = list_size - np.arange(x.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = 1 / (left * q)
    return _checked(Stream(x, factors, np.ones_like(x), list_size))


def replaced_stream(values: ArrayLike, *, probabilities: ArrayLike, list_size: int) -> Stream:
    """Values drawn with replacement from a list, each with the probability that its item had at every draw."""
    x = np.asarray(values, dtype=np.float64)
    p = _as_probabilities(probabilities, like=x)
    return _checked(Stream(x, 1 / (list_size * p), np.ones_like(x), None))


def prompt_stream(means: ArrayLike, *, sizes: ArrayLike, largest: int, num_prompts: int | None = None) -> Stream:
    """Whole prompts as units: the mean of a prompt's pairs and their number; the mean over all pairs is estimated.

    largest: the most pairs that any prompt has, labelled or not. num_prompts: prompts in the list that the labelled
    ones were drawn from, none twice; None where the claim is about new prompts of the same kind. For the mean over
    prompts, each counting the same, give the means to `even_stream`.
    """
    x, m = np.asarray(means, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if not bool(np.all((m >= 1) & (m <= largest))):
        raise ValueError("a prompt has at least one pair, and at most as many as the largest one")
    return _checked(Stream(x, np.ones_like(x), m / largest, num_prompts))


def log_capitals(stream: Stream, *, null: ArrayLike, side: Side) -> Array:
    """The logarithm of the capital after each label, of shape (..., n); infinite once the null is impossible.

    null: the mean that is tested, or an array of shape (..., 1) of several. The capital for "above" falls in the null.
    """
    m = np.asarray(null if side == "above" else 1 - np.asarray(null), dtype=np.float64)
    x = stream.values if side == "above" else 1 - stream.values
    units = m * (1 - stream.ratios) + stream.ratios * x
    if stream.list_size is None:
        is_open, is_impossible, allowed = m > 0, (m <= 0) & (units > 0), m
    else:
        seen = np.cumsum(units, axis=-1) - units
        room, slack = stream.list_size * m - seen, ROUNDING * stream.list_size
        is_open, is_impossible = room > slack, units > room + slack
        allowed = room / (stream.list_size - np.arange(x.shape[-1]))
    # subtle: where the null allows nothing more, a value of nothing changes nothing.
    gains = np.where(is_open, units * stream.factors / np.where(is_open, allowed, 1.0), 1.0) - 1
    total = np.full(gains.shape, -np.inf)
    for share in SHARES:
        total = np.logaddexp(total, np.cumsum(np.log1p(share * gains), axis=-1))
    impossible = np.logical_or.accumulate(np.broadcast_to(is_impossible, gains.shape), axis=-1)
    return np.where(impossible, np.inf, total - math.log(NUM_SHARES))


def is_certified(stream: Stream, *, null: float, side: Side, alpha: float = ALPHA) -> bool:
    """Whether the mean was certified to lie on that side of the null after any label; one-sided, at level alpha."""
    return stream.values.size > 0 and bool(log_capitals(stream, null=null, side=side).max() >= math.log(1 / alpha))


def certified_bound(stream: Stream, *, side: Side, alpha: float = ALPHA) -> float:
    """The largest lower bound ("above") or the smallest upper bound ("below") certified so far, at level alpha."""
    if stream.list_size == stream.values.shape[-1]:
        return mean_of(stream)
    if side == "below":
        return 1 - certified_bound(_mirrored(stream), side="above", alpha=alpha)
    if not is_certified(stream, null=0.0, side="above", alpha=alpha):
        return 0.0
    low, high = 0.0, 1.0
    if is_certified(stream, null=1.0, side="above", alpha=alpha):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if is_certified(stream, null=middle, side="above", alpha=alpha):
            low = middle
        else:
            high = middle
    return low


def confidence_sequence(stream: Stream, *, alpha: float = ALPHA) -> Estimate:
    """The mean with bounds that, at all times together, miss it with probability alpha at most.

    The bounds are the best ones so far; a list that is wholly labelled has its mean as both. Without labels 0 to 1.
    """
    low = certified_bound(stream, side="above", alpha=alpha / 2)
    high = certified_bound(stream, side="below", alpha=alpha / 2)
    return _estimate(mean_of(stream), low, high, n=stream.values.shape[-1])


def confidence_sequence_of_strata(strata: Sequence[Stratum], *, alpha: float = ALPHA) -> Estimate:
    """The mean over all items of several strata, with bounds as those of `confidence_sequence`.

    The capital against a mean is the smallest product of the strata's capitals over all means of the strata that
    average to it (Spertus and Stark, arXiv:2207.03379). The mean is that of the strata with labels.
    """
    if not math.isclose(math.fsum(stratum.share for stratum in strata), 1.0, rel_tol=1e-9):
        raise ValueError("the strata's shares must sum to 1")
    labelled = [stratum for stratum in strata if stratum.stream.values.size]
    weight = math.fsum(stratum.share for stratum in labelled)
    mean = math.fsum(stratum.share * mean_of(stratum.stream) for stratum in labelled) / weight if labelled else 0.5
    low = _bound_of_strata(strata, alpha=alpha / 2)
    mirrored = [Stratum(stratum.share, _mirrored(stratum.stream)) for stratum in strata]
    high = 1 - _bound_of_strata(mirrored, alpha=alpha / 2)
    return _estimate(mean, low, high, n=sum(stratum.stream.values.shape[-1] for stratum in strata))


def mean_of(stream: Stream) -> float:
    """The labelled values' mean, each counted by how rarely it was drawn; one half without labels."""
    if not stream.values.size:
        return 0.5
    is_census = stream.list_size == stream.values.shape[-1]
    weights = stream.ratios if is_census else stream.ratios * stream.factors
    return math.fsum(weights * stream.values) / math.fsum(weights)


def expect_labels(*, truth: float, null: float, alpha: float = ALPHA) -> float:
    """About how many labels of 0 or 1 a certificate "above" takes on a long list; fewer on a short one.

    ln(1 / alpha) / KL(truth || null), and never fewer than labels of 1 alone would take. Infinite where the truth does
    not lie above the null.
    """
    if not 0 < null < 1 or not 0 <= truth <= 1:
        raise ValueError("the null lies between 0 and 1, and so does the truth or it is one of them")
    if truth <= null:
        return math.inf
    divergence = truth * math.log(truth / null)
    divergence += (1 - truth) * math.log((1 - truth) / (1 - null)) if truth < 1 else 0.0
    return max(math.log(1 / alpha) / divergence, _fewest_labels(null, alpha))


def _fewest_labels(null: float, alpha: float) -> int:
    """Labels that a certificate takes when each of them is 1."""
    most = 16
    while True:
        reached = log_capitals(even_stream(np.ones(most)), null=null, side="above") >= math.log(1 / alpha)
        if reached.any():
            return int(reached.argmax()) + 1
        most *= 4


def _checked(stream: Stream) -> Stream:
    values, list_size = stream.values, stream.list_size
    if values.shape != stream.ratios.shape:
        raise ValueError("each prompt needs its number of pairs")
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError("a value lies in [0, 1]")
    if list_size is not None and values.shape[-1] > list_size:
        raise ValueError(f"{values.shape[-1]} values cannot be drawn from {list_size} without replacement")
    return stream


def _as_probabilities(probabilities: ArrayLike, *, like: Array) -> Array:
    found = np.asarray(probabilities, dtype=np.float64)
    if found.shape != like.shape:
        raise ValueError("each value needs its probability")
    if not bool(np.all((found > 0) & (found <= 1))):
        raise ValueError("a probability lies in (0, 1]")
    return found


def _mirrored(stream: Stream) -> Stream:
    return stream._replace(values=1 - stream.values)


def _estimate(mean: float, low: float, high: float, *, n: int) -> Estimate:
    """Bounds of two times may contradict each other; both are then kept, in their order."""
    low, high = min(low, high), max(low, high)
    return Estimate(mean=min(max(mean, low), high), low=low, high=high, n=n)


def _bound_of_strata(strata: Sequence[Stratum], *, alpha: float) -> float:
    """The smallest overall mean whose capital stays under 1 / alpha, rounded down.

    It minimises sum W_h m_h where the sum of the strata's log capitals is at most ln(1 / alpha). Log capitals are
    convex in m_h, and for every multiplier the Lagrangian's minimum lies at or under the bound: so the best of many
    multipliers is a valid bound. In a cell of the grid the mean is that of its left end, the capital that of its right.
    """
    limit = math.log(1 / alpha)
    tables = [(stratum.share, *_capital_table(stratum.stream)) for stratum in strata]

    def dual(log_multiplier: float) -> float:
        multiplier = math.exp(log_multiplier)
        least = [float((share * means + multiplier * logs).min()) for share, means, logs in tables]
        return math.fsum(least) - multiplier * limit

    low, high = -20.0, 5.0
    for _ in range(60):  # concave in the multiplier, so with one peak in its logarithm
        third = (high - low) / 3
        if dual(low + third) < dual(high - third):
            low += third
        else:
            high -= third
    return min(1.0, max(0.0, dual((low + high) / 2)))


def _capital_table(stream: Stream) -> tuple[Array, Array]:
    """Left ends of the grid's cells and the log capital at their right ends; only cells that are still possible."""
    ends = np.linspace(0, 1, GRID + 1)
    if not stream.values.size:
        return ends[:-1], np.zeros(GRID)
    logs = log_capitals(stream, null=ends[1:, None], side="above")[:, -1]
    possible = np.isfinite(logs)
    left = np.maximum(ends[:-1], _least_mean(stream))
    return left[possible], logs[possible]


def _least_mean(stream: Stream) -> float:
    """The mean of a list whose values that are still unlabelled are all 0; 0 for an endless stream."""
    if stream.list_size is None or stream.ratios.min() < 1:
        return 0.0
    return float(stream.values.sum()) / stream.list_size
