"""The arithmetic of labels: sigmoid, log-odds, cross-entropy, what a verdict is worth, a pair's canonical order.

A label is the probability that the first of two responses is better. Exchanging the responses exchanges p and 1 - p
to the last bit, in one label and in a mean of several. Which numbers can be log-probabilities is decided here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rlaif.records import Verdict

P_FIRST: Mapping[Verdict, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
"""The label that a verdict alone makes."""
MAX_LOGPROB, MAX_MASS = 1e-3, 1.01
"""How far rounding may raise a log-probability of 0, and probabilities that sum to 1; higher numbers are neither."""
ROUNDING = 2.0**-24
"""By so much the sum of float32 probabilities may miss 1 through rounding alone."""


def canonical_pair(one: str, other: str) -> tuple[str, str]:
    """Two ids in the order in which records name a pair: sorted."""
    return (one, other) if one <= other else (other, one)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), rounded so that sigmoid(x) + sigmoid(-x) is exactly 1."""
    likelier = 1 / (1 + math.exp(-abs(x)))
    return likelier if x >= 0 else 1 - likelier


def sigmoids(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sigmoid` of each number of an array."""
    likelier = 1 / (1 + np.exp(-np.abs(x)))
    return np.where(x >= 0, likelier, 1 - likelier)


def log_odds(p: float, *, least: float) -> float:
    """log(p / (1 - p)), p kept between `least` and 1 - `least`; exactly antisymmetric in p and 1 - p."""
    if p < 0.5:
        return 0.0 - log_odds(1 - p, least=least)
    rest = max(1 - p, least)
    return math.log1p(-rest) - math.log(rest)


def cross_entropy(label: float, logit: float) -> float:
    """-label log sigmoid(logit) - (1 - label) log sigmoid(-logit), in nats and without overflow."""
    return max(logit, 0.0) + math.log1p(math.exp(-abs(logit))) - label * logit


def entropy(shares: Sequence[float]) -> float:
    """-sum p log p of probabilities that sum to 1, in nats."""
    return -math.fsum(p * math.log(p) for p in shares if p > 0)


def mean_label(labels: Sequence[tuple[float, float | None]], *, weights: Sequence[float]) -> tuple[float, float | None]:
    """The weighted mean of labels (p, log-odds or None), as p and log-odds.

    The log-odds are averaged: sigmoid(sum w s / sum w). Where a label has none, because verdicts alone made it, the
    probabilities of all labels are averaged: soft labels stay soft, and the mean has no log-odds. Either mean rises
    with each of its labels, and exchanging the two responses in every label exchanges them in the mean exactly.
    """
    total = math.fsum(weights)
    logits = [logit for _, logit in labels if logit is not None]
    if len(logits) < len(labels):
        lead = math.fsum(w * _lead(p) for w, (p, _) in zip(weights, labels, strict=True)) / total
        return share_of_lead(lead), None
    s = math.fsum(w * logit for w, logit in zip(weights, logits, strict=True)) / total
    return sigmoid(s), s


def share_of_lead(lead: float) -> float:
    """1/2 + lead, rounded so that the shares of a lead and of its negative sum to exactly 1."""
    return 0.5 + lead if lead >= 0 else 1 - (0.5 - lead)


def _lead(p: float) -> float:
    """p - 1/2, exactly the negative of the lead of 1 - p."""
    return p - 0.5 if p >= 0.5 else 0.5 - (1 - p)


def describe_impossible(logprobs: Sequence[float]) -> str:
    """Why different outcomes cannot have these log-probabilities; empty where they can, or where one is not finite."""
    if any(math.isnan(x) or x == math.inf for x in logprobs):
        return ""
    highest = max(logprobs, default=-math.inf)
    if highest > MAX_LOGPROB:
        return f"the judge gave {highest:g} as a log-probability, and none is above 0"
    mass = math.fsum(map(math.exp, logprobs))
    return f"the probabilities that the judge gave sum to {mass:.4g}, more than 1" if mass > MAX_MASS else ""
