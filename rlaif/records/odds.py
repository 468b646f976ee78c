"""Labels and their log-odds: the sigmoid that makes a label, and the one rule by which several labels become one.

Swapping the two responses swaps p and 1 - p to the last bit. Also checks whether numbers can be log-probabilities at
all. Standard library only; reads no records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_LOGPROB, MAX_MASS = 1e-3, 1.01
"""Largest log-probability, and largest sum of probabilities, that rounding can explain; larger ones are refused."""
ROUNDING = 2.0**-24
"""How far below 1 float32 probabilities may sum by rounding alone."""


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), rounded so that sigmoid(x) + sigmoid(-x) is exactly 1."""
    likelier = 1 / (1 + math.exp(-abs(x)))
    return likelier if x >= 0 else 1 - likelier


def log_odds(p: float, *, least: float) -> float:
    """log(p / (1 - p)), p kept between `least` and 1 - `least`; exactly antisymmetric in p and 1 - p."""
    if p < 0.5:
        return 0.0 - log_odds(1 - p, least=least)
    rest = max(1 - p, least)
    return math.log1p(-rest) - math.log(rest)


def mean_label(labels: Sequence[tuple[float, float | None]], *, weights: Sequence[float]) -> tuple[float, float | None]:
    """The weighted mean of labels (p, log-odds or None), as p and log-odds.

    The log-odds are averaged: sigmoid(sum w s / sum w). Where a label has no log-odds, because a verdict alone made it,
    the probabilities of all labels are averaged instead, and the mean has no log-odds. Either mean rises with each of
    its labels, and swapping the two responses in every label swaps them in the mean exactly.
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
    """p - 1/2, computed so that the lead of 1 - p is exactly its negative."""
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
