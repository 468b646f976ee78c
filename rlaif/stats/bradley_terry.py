"""Wins between items -> Bradley-Terry scores: item a beats item b with probability sigmoid(score a - score b).

Maximum likelihood (Bradley and Terry 1952) by Newton's method, no prior: finite scores exist only where each item has,
through others, won against each. A tie is half a win for both. Reads no records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def maximise(wins: Array) -> Array:
    """(n, n) wins of the row over the column -> n scores, zero on average.

    Steps are halved until the likelihood does not fall; the problem is concave.
    """
    games, scores = wins + wins.T, np.zeros(len(wins))
    value = _log_likelihood(wins, scores)
    for _ in range(200):
        p = sigmoids(scores[:, None] - scores[None, :])
        step = np.linalg.solve(compute_information(games, p), wins.sum(axis=1) - (games * p).sum(axis=1))
        while (new := _log_likelihood(wins, scores + step)) < value - 1e-9 * abs(value):
            step = step / 2
        scores, value = scores + step, new
        if np.abs(step).max() < 1e-12:
            break
    return np.asarray(scores - scores.mean())


def compute_information(games: Array, p: Array) -> Array:
    """(n, n) Fisher information of the scores; the added constant pins the one that all scores may share."""
    weights = games * p * (1 - p)
    return np.asarray(np.diag(weights.sum(axis=1)) - weights + np.ones_like(weights) / len(weights))


def find_reachable(beats: Mask) -> Mask:
    """The items that the first one reaches through wins, itself included; beats: (n, n), the row beats the column."""
    inside = np.zeros(len(beats), dtype=bool)
    inside[0] = True
    while (more := inside | beats[inside].any(axis=0)).sum() > inside.sum():
        inside = more
    return inside


def _log_likelihood(wins: Array, scores: Array) -> float:
    return float(-(wins * np.logaddexp(0, scores[None, :] - scores[:, None])).sum())
