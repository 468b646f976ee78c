"""Probabilities that the trained response wins, and both lengths -> the win rate at equal length.

The judge's liking for length is taken out of the win rate, and not of the policy. Asks nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.records import Estimate, Value
from rlaif.stats.intervals import share_interval
from rlaif.stats.logits import sigmoid
from rlaif.stats.regression import fit_logistic


class LengthControlled(Value):
    """logit p(the trained response wins) = a + b tanh((its length - the other's) / sd); the win rate is sigmoid(a)."""

    win_rate: Estimate
    """Predicted for two responses of equal length."""
    slope: Estimate | None
    """b: log-odds that being longer by far goes with; None where no lengths differ."""
    length_sd: float
    """Characters: the standard deviation of the differences of length."""


class LengthRow(NamedTuple):
    prompt_id: str
    p: float
    """Probability that the trained response is better."""
    longer: int
    """Characters by which it is longer than the other."""


def control_length(rows: Sequence[LengthRow]) -> LengthControlled | None:
    """The length-controlled win rate, as AlpacaEval 2 predicts it (Dubois et al. 2024, arXiv:2404.04475).

    Lee et al. 2023 (arXiv:2309.00267, appendix) fit the same logistic on the ratio of lengths, at ratio 1. Of
    AlpacaEval's model the difficulty of each prompt is left out: it compares many policies and this two. The interval
    is that of a, cluster-robust by prompt, carried through the sigmoid. None with fewer than three prompts, or where
    the lengths do not tell.
    """
    prompts = [row.prompt_id for row in rows]
    if len(set(prompts)) < 3:
        return None
    sd = statistics.pstdev([float(row.longer) for row in rows])
    fitted = None
    if sd > 0:
        features = [[math.tanh(row.longer / sd)] for row in rows]
        fitted = fit_logistic(features, [row.p for row in rows], clusters=prompts)
    if fitted is None:
        if any(row.longer for row in rows):
            return None  # lengths that all differ alike do not tell what equal ones would be
        plain = share_interval([row.p for row in rows], clusters=prompts)
        return None if plain is None else LengthControlled(win_rate=plain, slope=None, length_sd=sd)
    intercept, slope = fitted
    win_rate = Estimate(
        mean=sigmoid(intercept.mean), low=sigmoid(intercept.low), high=sigmoid(intercept.high), n=intercept.n
    )
    return LengthControlled(win_rate=win_rate, slope=slope, length_sd=sd)
