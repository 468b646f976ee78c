"""Probabilities that the trained response wins, and both lengths -> the win rate at equal length.

The judge's preference for length is removed from the win rate; the policy stays as it is. Asks no judge.
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
    """b: log-odds that the trained response gains by being much longer; None where no lengths differ."""
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

    Lee et al. 2023 (arXiv:2309.00267, appendix) fit the same logistic on the ratio of lengths, at ratio 1. AlpacaEval's
    model also has a difficulty for each prompt, which is left out here: AlpacaEval compares many policies, this
    function two. The interval is that of a, cluster-robust by prompt, carried through the sigmoid. None with fewer than
    three prompts, or where equal lengths cannot be predicted from the lengths that there are.
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
            return None  # one difference everywhere: equal lengths cannot be predicted
        plain = share_interval([row.p for row in rows], clusters=prompts)
        return None if plain is None else LengthControlled(win_rate=plain, slope=None, length_sd=sd)
    intercept, slope = fitted
    win_rate = Estimate(
        mean=sigmoid(intercept.mean), low=sigmoid(intercept.low), high=sigmoid(intercept.high), n=intercept.n
    )
    return LengthControlled(win_rate=win_rate, slope=slope, length_sd=sd)
