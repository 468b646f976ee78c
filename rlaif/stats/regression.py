"""Rows of features and a target, clustered -> coefficients with 95 % intervals: least squares, and logistic.

Variances are cluster-robust (Liang and Zeger 1986) with G / (G - 1) and Student's t of G - 1 degrees of freedom,
G clusters: rows of one prompt may depend on each other in any way. Chooses no features and reads no records.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlaif.records import Estimate
from rlaif.stats.intervals import LEVEL, t_quantile
from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]

RIDGE = 1e-3
"""Prior precision of logistic coefficients: where features predict every winner, no finite slope would fit best."""


def fit_linear(
    features: Sequence[Sequence[float]],
    target: Sequence[float],
    *,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
) -> list[Estimate] | None:
    """Least squares, a coefficient per feature; an intercept is a feature that the caller gives.

    weights: how much each row counts, one over the probability with which it was drawn. None where the features are
    linearly dependent, or with no more clusters than features.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(target, dtype=np.float64)
    num_clusters = len(set(clusters))
    if num_clusters <= x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]:
        return None
    weighted = x if weights is None else x * np.asarray(weights, dtype=np.float64)[:, None]
    bread: Array = np.linalg.inv(weighted.T @ x).astype(np.float64)
    coefficients = bread @ weighted.T @ y
    scores = weighted * (y - x @ coefficients)[:, None]
    return _estimates(coefficients, _sandwich(bread, scores, clusters), num_clusters)


def fit_logistic(
    features: Sequence[Sequence[float]], target: Sequence[float], *, clusters: Sequence[Hashable]
) -> list[Estimate] | None:
    """Logistic regression of probabilities in [0, 1] (quasi-likelihood: cross entropy to a soft label).

    An intercept comes first; all coefficients have the prior N(0, 1 / RIDGE). None in the cases of `fit_linear`.
    """
    slopes = np.asarray(features, dtype=np.float64)
    x = np.column_stack([np.ones(len(slopes)), slopes])
    y = np.asarray(target, dtype=np.float64)
    num_clusters = len(set(clusters))
    if num_clusters <= x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]:
        return None
    prior = RIDGE * np.eye(x.shape[1])
    coefficients = np.zeros(x.shape[1])
    for _ in range(200):
        p = sigmoids(x @ coefficients)
        gradient = x.T @ (p - y) + prior @ coefficients
        curvature = (x * (p * (1 - p))[:, None]).T @ x + prior
        # At most two in one step: a full step from a flat place would overshoot.
        step = np.clip(np.linalg.solve(curvature, gradient), -2, 2)
        coefficients = coefficients - step
        if np.abs(step).max() < 1e-10:
            break
    p = sigmoids(x @ coefficients)
    bread: Array = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x + prior).astype(np.float64)
    return _estimates(coefficients, _sandwich(bread, x * (y - p)[:, None], clusters), num_clusters)


def correlate(a: Sequence[float], b: Sequence[float], *, weights: Sequence[float] | None = None) -> float | None:
    """Pearson's correlation about zero, for differences whose sign is arbitrary; None where a series is all zero."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if weights is not None:
        root = np.sqrt(np.asarray(weights, dtype=np.float64))
        x, y = root * x, root * y
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 0 else None


def _sandwich(bread: Array, scores: Array, clusters: Sequence[Hashable]) -> Array:
    """bread (sum of outer products of the clusters' summed scores) bread, times G / (G - 1)."""
    place = {cluster: k for k, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(place), scores.shape[1]))
    np.add.at(sums, [place[cluster] for cluster in clusters], scores)
    g = len(place)
    variance: Array = g / (g - 1) * bread @ (sums.T @ sums) @ bread
    return variance


def _estimates(coefficients: Array, variance: Array, num_clusters: int) -> list[Estimate]:
    t = t_quantile((1 + LEVEL) / 2, df=num_clusters - 1)
    halves = t * np.sqrt(np.maximum(np.diag(variance), 0.0))
    return [
        Estimate(mean=float(mean), low=float(mean - half), high=float(mean + half), n=num_clusters)
        for mean, half in zip(coefficients, halves, strict=True)
    ]
