"""Choices counted in a matrix, rows one series and columns the other -> kappa, AC1, precision, recall, F1 and alpha.

Every statistic takes any number of matrices at once, as a bootstrap makes them. Draws nothing and makes no intervals.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def find_choices(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """The different choices of both series, in the order of a matrix's rows and columns."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} choices beside {len(b)}: both series must be about the same items")
    return sorted({*a, *b})


def count_matrix(a: Sequence[str], b: Sequence[str]) -> Array:
    """(choices, choices): how often a chose the row's and b the column's."""
    return np.asarray(count_matrices(a, b, find_choices(a, b), [0] * len(a)).sum(axis=0))


def scaled(weights: Sequence[float]) -> list[float]:
    """The weights with a mean of one, so that weighted counts are still counts; even weights are all exactly one."""
    mean = math.fsum(weights) / len(weights)
    return [1.0 if weight == weights[0] == mean else weight / mean for weight in weights]


def count_matrices(
    a: Sequence[str],
    b: Sequence[str],
    choices: Sequence[str],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
) -> Array:
    """(clusters, choices, choices): how often a chose the row's and b the column's, in each cluster."""
    column = {choice: i for i, choice in enumerate(choices)}
    place = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    matrices = np.zeros((len(place), len(choices), len(choices)))
    scales = [1.0] * len(a) if weights is None or not len(weights) else scaled(weights)
    for left, right, key, scale in zip(a, b, clusters, scales, strict=True):
        matrices[place[key], column[left], column[right]] += scale
    return matrices


# Each of these takes (..., choices, choices) matrices of counts, rows the first series, and gives (...) numbers.


def agreed(matrices: Array) -> Array:
    return ratio(np.trace(matrices, axis1=-2, axis2=-1), matrices.sum(axis=(-2, -1)))


def kappa_chance(matrices: Array) -> Array:
    products = (matrices.sum(axis=-1) * matrices.sum(axis=-2)).sum(axis=-1)
    return ratio(products, matrices.sum(axis=(-2, -1)) ** 2)


def ac1_chance(matrices: Array) -> Array:
    num_choices = matrices.shape[-1]
    if num_choices < 2:
        return np.full(matrices.shape[:-2], np.nan)
    rates = (matrices.sum(axis=-1) + matrices.sum(axis=-2)) / (2 * matrices.sum(axis=(-2, -1)))[..., None]
    return np.asarray((rates * (1 - rates)).sum(axis=-1) / (num_choices - 1))


def kappa(matrices: Array) -> Array:
    return beyond_chance(kappa_chance(matrices), agreed(matrices))


def ac1(matrices: Array) -> Array:
    return beyond_chance(ac1_chance(matrices), agreed(matrices))


def beyond_chance(chance: Array, agreed: Array) -> Array:
    return ratio(agreed - chance, 1 - chance)


def precisions(matrices: Array) -> Array:
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1), otherwise=0.0)


def recalls(matrices: Array) -> Array:
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-2), otherwise=0.0)


def macro_precision(matrices: Array) -> Array:
    return np.asarray(precisions(matrices).mean(axis=-1))


def macro_recall(matrices: Array) -> Array:
    return np.asarray(recalls(matrices).mean(axis=-1))


def macro_f1(matrices: Array) -> Array:
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    either = matrices.sum(axis=-1) + matrices.sum(axis=-2)
    return np.asarray(ratio(2 * hits, either, otherwise=0.0).mean(axis=-1))


def alpha(sums: Array) -> Array:
    """Alpha of (..., choices + 1) sums: how often each choice was made, and the observed disagreement."""
    counts, observed = sums[..., :-1], sums[..., -1]
    n = counts.sum(axis=-1)
    expected = n**2 - (counts**2).sum(axis=-1)
    return 1 - ratio((n - 1) * observed, expected)


def ratio(above: Array, below: Array, *, otherwise: float = np.nan) -> Array:
    """above / below; `otherwise` where below is zero, up to rounding."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    return np.divide(above, below, out=np.full_like(above, otherwise), where=np.abs(below) > 1e-12)


def correlation(sums: Array) -> Array:
    """(..., 3): sums of xy, xx and yy."""
    return np.clip(ratio(sums[..., 0], np.sqrt(sums[..., 1]) * np.sqrt(sums[..., 2])), -1.0, 1.0)
