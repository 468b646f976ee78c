"""Rewards on held-out pairs -> how often and how surely the reward model agrees with the labels.

Ties (label one half) have no truth to agree with and are left out. Does not run models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlaif.intervals import share_interval
from rlaif.records import Estimate, Value
from rlaif.reward_model.data import Pair


class HeldOut(Value):
    accuracy: Estimate | None
    """Share of pairs whose more probable side has the higher reward, each pair once; None without any."""
    num_pairs: int
    """Pairs that the accuracy counts."""
    num_ties: int
    log_loss: float | None
    """Mean cross-entropy of the labels in nats, by the rows' weights as in training; a coin has ln 2 = .693."""
    log_loss_floor: float | None
    """The mean entropy of the labels, by the same weights."""


def measure_held_out(pairs: Sequence[Pair], rewards: Sequence[float]) -> HeldOut:
    """rewards: of the sequences that the pairs point at."""
    if not pairs:
        return HeldOut(accuracy=None, num_pairs=0, num_ties=0, log_loss=None, log_loss_floor=None)
    margins = [rewards[pair.chosen] - rewards[pair.rejected] for pair in pairs]
    weight = math.fsum(pair.weight for pair in pairs)
    decided = [(pair, margin) for pair, margin in zip(pairs, margins, strict=True) if pair.label != 0.5]
    return HeldOut(
        accuracy=share_interval(
            [_is_right(margin, pair.label) for pair, margin in decided],
            clusters=[pair.prompt_id for pair, _ in decided],
        ),
        num_pairs=len(decided),
        num_ties=len(pairs) - len(decided),
        log_loss=math.fsum(
            pair.weight * _cross_entropy(pair.label, margin) for pair, margin in zip(pairs, margins, strict=True)
        )
        / weight,
        log_loss_floor=math.fsum(pair.weight * _entropy(pair.label) for pair in pairs) / weight,
    )


def _is_right(margin: float, label: float) -> float:
    """1, 0, or one half where both rewards are equal."""
    return 0.5 if margin == 0 else float((margin > 0) == (label > 0.5))


def _cross_entropy(label: float, margin: float) -> float:
    """-q log sigmoid(margin) - (1-q) log sigmoid(-margin), finite for every margin."""
    softplus = max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))
    return softplus - label * margin


def _entropy(label: float) -> float:
    return -math.fsum(p * math.log(p) for p in (label, 1 - label) if p > 0)
