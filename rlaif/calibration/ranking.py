"""Verdicts on pairs -> Bradley-Terry scores of the systems that wrote them, and how two rankings agree.

A tie counts as half a win for each side, and there is no prior: where no finite scores exist, the reason is given
instead. Does not read files.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.records import Estimate, Verdict
from rlaif.stats.bradley_terry import Array, compute_information, find_reachable, maximise
from rlaif.stats.intervals import LEVEL, t_quantile
from rlaif.stats.logits import P_FIRST, sigmoids
from rlaif.stats.ranks import mean_ranks, order_descending

Indices = NDArray[np.intp]


class Ranking(NamedTuple):
    scores: dict[str, Estimate] | None
    """System -> log strength, zero on average: a beats b with probability sigmoid(score a - score b). The best comes
    first, equal ones in the order of their names. The estimate's n counts the clusters with a comparison of the system.
    None where no finite scores exist."""
    why_not: str
    """Why there are no scores; empty where there are."""


class _Vote(NamedTuple):
    pair: tuple[str, str]
    won: float
    cluster: Hashable
    weight: float


def bradley_terry(
    pairs: Sequence[tuple[str, str]],
    verdicts: Sequence[Verdict],
    *,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
) -> Ranking:
    """Maximum likelihood scores (Bradley and Terry 1952) with intervals robust to votes that depend on each other.

    pairs: the systems as first and second, as the verdicts name them; pairs of a system with itself are left out.
    weights: how much each verdict counts.
    """
    rows = [
        _Vote(pair, P_FIRST[verdict], key, weight)
        for pair, verdict, key, weight in zip(pairs, verdicts, clusters, weights or [1.0] * len(pairs), strict=True)
        if pair[0] != pair[1]
    ]
    names = sorted({name for row in rows for name in row.pair})
    codes = {key: i for i, key in enumerate(dict.fromkeys(row.cluster for row in rows))}
    if len(names) < 2:
        return Ranking(None, "fewer than two systems were compared")
    if len(codes) < 2:
        return Ranking(None, "all comparisons are of one prompt")
    place = {name: i for i, name in enumerate(names)}
    first = np.array([place[row.pair[0]] for row in rows])
    second = np.array([place[row.pair[1]] for row in rows])
    won, weight = np.array([row.won for row in rows]), np.array([row.weight for row in rows])
    wins = np.zeros((len(names), len(names)))
    np.add.at(wins, (first, second), weight * won)
    np.add.at(wins, (second, first), weight * (1 - won))
    if why_not := _why_no_scores(wins, names):
        return Ranking(None, why_not)
    scores = maximise(wins)
    cluster = np.array([codes[row.cluster] for row in rows])
    errors = _standard_errors(wins, scores, first=first, second=second, won=won, weight=weight, cluster=cluster)
    reach = t_quantile((1 + LEVEL) / 2, df=len(codes) - 1)
    estimates = {
        name: Estimate(
            mean=float(scores[i]),
            low=float(scores[i] - reach * errors[i]),
            high=float(scores[i] + reach * errors[i]),
            n=len(np.unique(cluster[(first == i) | (second == i)])),
        )
        for i, name in enumerate(names)
    }
    best_first = order_descending([estimates[name].mean for name in names])
    return Ranking({names[place]: estimates[names[place]] for place in best_first}, "")


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Correlation of the ranks; None where one series does not vary.

    Values that are equal but for rounding share their mean rank, so that the figure is the same on every machine.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values beside {len(b)}")
    if not len(a):
        return None
    x, y = _centred_ranks(a), _centred_ranks(b)
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread > 0 else None


def rank_correlation(a: Mapping[str, Estimate], b: Mapping[str, Estimate]) -> Estimate | None:
    """Spearman's correlation over the systems that both rank; n counts them.

    The interval is Bonett and Wright's (2000): normal in atanh r with standard error sqrt((1 + r^2/2) / (n - 3)).
    It assumes that the systems were drawn from many. None with fewer than four systems, or where a ranking does not
    vary.
    """
    common = [name for name in a if name in b]
    value = spearman([a[name].mean for name in common], [b[name].mean for name in common]) if common else None
    if value is None or len(common) < 4:
        return None
    n = len(common)
    # At -1 and 1 the formula has no width, so it is taken at the nearest value that n ranks can have: that of two
    # rankings which differ by one tie.
    most = math.sqrt(1 - 6 / (n**3 - n))
    inside = max(-most, min(most, value)) if abs(value) > 1 - 1e-9 else value
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    if inside != value:
        low, high = (low, 1.0) if value > 0 else (-1.0, high)
    return Estimate(mean=value, low=min(low, value), high=max(high, value), n=n)


def _why_no_scores(wins: Array, names: Sequence[str]) -> str:
    """Why no finite scores exist, or nothing: each must have won against each, maybe through others (Ford 1957)."""
    for beats, fate, others_fate in ((wins > 0, "lost", "won"), (wins.T > 0, "won", "lost")):
        inside = find_reachable(beats)
        if inside.all():
            continue
        few, fate = (inside, fate) if inside.sum() <= len(names) / 2 else (~inside, others_fate)
        listed = _listed([name for name, is_in in zip(names, few, strict=True) if is_in])
        if not (wins + wins.T)[np.ix_(few, ~few)].any():
            return f"no comparison joins {listed} to the others"
        return f"{listed} {fate} every comparison with the others"
    return ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _standard_errors(
    wins: Array, scores: Array, *, first: Indices, second: Indices, won: Array, weight: Array, cluster: Indices
) -> Array:
    """Cluster-robust (sandwich) standard errors of scores that are zero on average."""
    p = sigmoids(scores[:, None] - scores[None, :])
    num_clusters = len(np.unique(cluster))
    residual = weight * (won - p[first, second])
    slopes = np.zeros((num_clusters, len(scores)))
    np.add.at(slopes, (cluster, first), residual)
    np.add.at(slopes, (cluster, second), -residual)
    spread = slopes @ np.linalg.inv(compute_information(wins + wins.T, p))
    spread = spread - spread.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt(num_clusters / (num_clusters - 1) * (spread**2).sum(axis=0)))


def _centred_ranks(values: Sequence[float]) -> Array:
    ranks = np.asarray(mean_ranks(values))
    return np.asarray(ranks - ranks.mean())
