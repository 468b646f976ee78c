"""Choices about the same items -> how two series, or many people, agree, with 95 % intervals.

Cohen's kappa, Gwet's AC1, Krippendorff's alpha, and a judge's accuracy, precision, recall and F1 against people.
Every interval resamples clusters (prompts), not single items. Items drawn with unequal probabilities are weighted by
the inverse, in every figure and its interval. Does not read files and does not know who chose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from rlaif.calibration import matrices
from rlaif.calibration.matrices import Array
from rlaif.records import TIE_BAND, Agreement, Estimate, Verdict
from rlaif.stats.intervals import LEVEL, degrees_of_freedom, share_interval, stratified_share, t_quantile
from rlaif.stats.ranks import is_above

NUM_RESAMPLES = 2000
_CELLS_AT_ONCE = 4_000_000
"""Bounds the memory of a bootstrap: resamples x clusters drawn at a time."""


class Quality(NamedTuple):
    """A judge's choices against those taken as right; macro means over all choices that either side made."""

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    by_choice: dict[str, tuple[float, float]]
    """Choice -> its precision and recall."""


class Alpha(NamedTuple):
    alpha: Estimate
    num_items: int
    """Items that at least two people chose on; no other item shows agreement."""
    num_choices: int


def choice_of(p_first: float, *, band: float = TIE_BAND) -> Verdict:
    """The choice that a label makes: a tie within `band` of one half, which is 0 where nobody else ties."""
    if not is_above(abs(p_first - 0.5), band):
        return "tie"
    return "first" if p_first > 0.5 else "second"


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> float | None:
    """(observed - expected) / (1 - expected) agreement, Cohen 1960; None where all choices are one and the same."""
    return _defined(matrices.kappa(matrices.count_matrix(a, b)))


def gwet_ac1(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Agreement over chance that an uncertain chooser would reach, Gwet 2008; None with fewer than two choices."""
    return _defined(matrices.ac1(matrices.count_matrix(a, b)))


def measure_agreement(
    a: Sequence[str],
    b: Sequence[str],
    *,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    strata: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Agreement:
    """Two series of choices about the same items; `clusters` names each item's prompt.

    The share has a cluster-robust Wilson interval, kappa and AC1 the percentiles of a cluster bootstrap.
    Base rates are those of the first series. weights: how much each item counts, one over the probability with which
    it was drawn. strata: the parts of the items from which so many each were drawn; the share's interval adds theirs.
    Without items there is nothing to measure: a ValueError.
    """
    choices = matrices.find_choices(a, b)
    per_cluster = matrices.count_matrices(a, b, choices, clusters, weights)
    share = _share(a, b, clusters, weights, strata)
    total = per_cluster.sum(axis=0)
    draws = _bootstrap(per_cluster, {"kappa": matrices.kappa, "ac1": matrices.ac1}, seed=seed)
    df = _df(a, b, clusters, weights)
    return Agreement(
        n=len(a),
        share=share,
        kappa=_over_chance(matrices.kappa_chance(total), draws["kappa"], share, df=df),
        ac1=_over_chance(matrices.ac1_chance(total), draws["ac1"], share, df=df),
        base_rates={choice: float(total[i].sum() / total.sum()) for i, choice in enumerate(choices)},
    )


def measure_quality(
    judged: Sequence[str],
    right: Sequence[str],
    *,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Quality:
    """Accuracy and macro precision, recall and F1 of `judged`, with `right` as the truth.

    A choice that was never judged has precision 0, one that was never right recall 0 (scikit-learn's
    zero_division=0, which published figures use).
    """
    choices = matrices.find_choices(judged, right)
    per_cluster = matrices.count_matrices(judged, right, choices, clusters, weights)
    total = per_cluster.sum(axis=0)
    statistics = {"precision": matrices.macro_precision, "recall": matrices.macro_recall, "f1": matrices.macro_f1}
    draws = _bootstrap(per_cluster, statistics, seed=seed)
    precision, recall = matrices.precisions(total), matrices.recalls(total)
    df = _df(judged, right, clusters, weights)
    estimates = {
        name: _estimate(float(statistic(total)), draws[name], n=len(per_cluster), df=df)
        for name, statistic in statistics.items()
    }
    return Quality(
        accuracy=_share(judged, right, clusters, weights),
        **estimates,
        by_choice={choice: (float(precision[i]), float(recall[i])) for i, choice in enumerate(choices)},
    )


def krippendorff_alpha(
    items: Iterable[Sequence[str]],
    *,
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Alpha | None:
    """Nominal alpha (Krippendorff 2004, chapter 11): each item's choices, by however many people.

    Who chose does not matter, and nobody need choose on every item. None where the items that two people share have
    fewer than two different choices. clusters: by default every item is a cluster. weights: the items' weights.
    """
    listed = [list(item) for item in items]
    keys = range(len(listed)) if clusters is None else clusters
    counts_as = [1.0] * len(listed) if weights is None else weights
    shared = [rest for rest in zip(listed, keys, counts_as, strict=True) if len(rest[0]) > 1]
    choices = sorted({choice for item, *_ in shared for choice in item})
    if len(choices) < 2:
        return None
    column = {choice: i for i, choice in enumerate(choices)}
    row = {key: i for i, key in enumerate(dict.fromkeys(key for _, key, _ in shared))}
    scales = matrices.scaled([weight for *_, weight in shared])
    # One row per cluster: how often each choice was made, and last the disagreement seen within its items.
    sums = np.zeros((len(row), len(choices) + 1))
    for (item, key, _), scale in zip(shared, scales, strict=True):
        counts = np.bincount([column[choice] for choice in item], minlength=len(choices))
        sums[row[key], :-1] += scale * counts
        sums[row[key], -1] += scale * (counts * (len(item) - counts)).sum() / (len(item) - 1)
    value = float(matrices.alpha(sums.sum(axis=0)))
    draws = _bootstrap(sums, {"alpha": matrices.alpha}, seed=seed)["alpha"]
    return Alpha(_estimate(value, draws, n=len(row)), len(shared), sum(len(item) for item, *_ in shared))


def measure_correlation(
    a: Sequence[float], b: Sequence[float], *, clusters: Sequence[Hashable], seed: int = 0
) -> Estimate | None:
    """Pearson's correlation about zero of two series of log-odds about the same items.

    About zero, because which of two responses is called the first is arbitrary: exchanging them changes nothing. None
    where a series is all zero, and with fewer than two clusters.
    """
    place = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(place), 3))
    for x, y, key in zip(a, b, clusters, strict=True):
        sums[place[key]] += (x * y, x * x, y * y)
    value = float(matrices.correlation(sums.sum(axis=0)))
    if len(place) < 2 or math.isnan(value):
        return None
    return _estimate(value, _bootstrap(sums, {"r": matrices.correlation}, seed=seed)["r"], n=len(place))


def measure_ratio(
    above: Sequence[float],
    below: Sequence[float],
    *,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Estimate | None:
    """The mean of `above` over the mean of `below`, of the same items, with the interval of a cluster bootstrap.

    None where the mean below is zero, and with fewer than two clusters.
    """
    place = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(place), 2))
    scales = [1.0] * len(above) if not weights else matrices.scaled(weights)
    for x, y, key, scale in zip(above, below, clusters, scales, strict=True):
        sums[place[key]] += (scale * x, scale * y)

    def ratio(sums: Array) -> Array:
        return matrices.ratio(sums[..., 0], sums[..., 1])

    value = float(ratio(sums.sum(axis=0)))
    if len(place) < 2 or math.isnan(value):
        return None
    return _estimate(value, _bootstrap(sums, {"ratio": ratio}, seed=seed)["ratio"], n=len(place))


def _same(a: Sequence[str], b: Sequence[str]) -> list[float]:
    return [float(x == y) for x, y in zip(a, b, strict=True)]


def _df(
    a: Sequence[str], b: Sequence[str], clusters: Sequence[Hashable], weights: Sequence[float] | None
) -> int | None:
    """Degrees of freedom of the share; None without weights, where they are the clusters less one."""
    if weights is None or len(set(weights)) < 2:
        return None
    return degrees_of_freedom(_same(a, b), clusters=clusters, weights=weights)


def _share(
    a: Sequence[str],
    b: Sequence[str],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None,
    strata: Sequence[Hashable] | None = None,
) -> Estimate:
    if strata is None:
        share = share_interval(_same(a, b), clusters=clusters, weights=weights)
    else:
        share = stratified_share(_same(a, b), strata=strata, clusters=clusters, weights=weights)
    if share is None:
        raise ValueError("there are no items to measure agreement on")
    return share


def _bootstrap(
    per_cluster: Array, statistics: Mapping[str, Callable[[Array], Array]], *, seed: int
) -> dict[str, Array]:
    """Statistics of sums over clusters drawn with replacement: (NUM_RESAMPLES,) numbers each."""
    generator = np.random.default_rng(seed)
    num_clusters, shape = len(per_cluster), per_cluster.shape[1:]
    flat = per_cluster.reshape(num_clusters, -1)
    at_once = max(1, _CELLS_AT_ONCE // max(num_clusters, 1))
    drawn: dict[str, list[Array]] = {name: [] for name in statistics}
    for start in range(0, NUM_RESAMPLES if num_clusters else 0, at_once):
        size = min(at_once, NUM_RESAMPLES - start)
        times = generator.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=size)
        sums = (times @ flat).reshape(size, *shape)
        for name, statistic in statistics.items():
            drawn[name].append(np.asarray(statistic(sums)))
    return {name: np.concatenate([*parts, np.empty(0)]) for name, parts in drawn.items()}


def _estimate(value: float, draws: Array, *, n: int, df: int | None = None) -> Estimate:
    """The percentile interval, widened as Student's t widens a normal one: plain percentiles of a bootstrap of
    few clusters are too narrow (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.1)."""
    reach = t_quantile((1 + LEVEL) / 2, df=df or n - 1) * math.sqrt(n / (n - 1)) if n > 1 else math.inf
    tail = 100 * NormalDist().cdf(-reach)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    # Percentiles of a skewed statistic may leave out the value itself.
    return Estimate(mean=value, low=min(float(low), value), high=max(float(high), value), n=n)


def _over_chance(chance: Array, draws: Array, share: Estimate, *, df: int | None = None) -> Estimate | None:
    """A share of agreement beyond chance with its interval; None where it is not defined.

    df: given where items have unequal weights. A bootstrap then draws the few heavy items too evenly, so the interval
    is at least as wide as the share's own at the same chance.
    """
    mean, low, high = (
        float(matrices.beyond_chance(chance, np.asarray(value))) for value in (share.mean, share.low, share.high)
    )
    if math.isnan(mean):
        return None
    if 0 < share.mean < 1 and share.n > 1:
        found = _estimate(mean, draws, n=share.n, df=df)
        if df is None:
            return found
        return found.model_copy(update={"low": min(found.low, low), "high": max(found.high, high)})
    # Where nothing was seen to vary a bootstrap shows no spread: the share's own interval, at the same chance.
    return Estimate(mean=mean, low=low, high=high, n=share.n)


def _defined(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
