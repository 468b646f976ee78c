"""Held-out preferences with their rewards -> does a margin of rewards mean the probability that it claims?

The reward model claims sigmoid(difference of rewards) for the response that it rewards more; the soft label is the
judge's probability. Fits nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from rlaif.evaluation.reward_model import ScoredPair
from rlaif.records.base import Value
from rlaif.stats.logits import sigmoid

NUM_BINS = 5


class ReliabilityBin(Value):
    """Pairs for which the reward model claims about the same."""

    claimed: float = Field(ge=0.5, le=1)
    """Mean probability that the reward model gives the response that it rewards more."""
    labelled: float = Field(ge=0, le=1)
    """Mean label of that response."""
    num_pairs: int


class RewardCalibration(Value):
    bins: tuple[ReliabilityBin, ...]
    """Bins of equal width over the claimed probability, from .5 to 1; empty ones are left out."""
    gap: float = Field(ge=0, le=1)
    """Mean distance of claim and label over the bins, weighted as their pairs are."""
    floor: float | None = None
    """The gap to expect by chance where every claim is right, from as many pairs of as many prompts; None where no
    scatter can be seen, because each bin's pairs are of one prompt."""
    overconfidence: float
    """Mean claim minus mean label."""
    num_pairs: int
    num_prompts: int


def compute_reward_calibration(pairs: Sequence[ScoredPair]) -> RewardCalibration | None:
    """The calibration over all pairs; None without pairs. Two equal rewards claim one half for the first response."""
    if not pairs:
        return None
    inside: dict[int, list[_Claim]] = {}
    for pair in pairs:
        difference = pair.score_first - pair.score_second
        claimed = sigmoid(abs(difference))
        label = pair.label if difference >= 0 else 1 - pair.label
        place = min(NUM_BINS - 1, int((claimed - 0.5) * 2 * NUM_BINS))
        inside.setdefault(place, []).append(_Claim(pair.prompt_id, claimed, label, pair.weight))
    groups = [rows for _, rows in sorted(inside.items())]
    bins = tuple(
        ReliabilityBin(claimed=_claimed(rows), labelled=_labelled(rows), num_pairs=len(rows)) for rows in groups
    )
    sizes = [math.fsum(row.weight for row in rows) for rows in groups]
    rows = [row for group in groups for row in group]
    return RewardCalibration(
        bins=bins,
        gap=math.fsum(size * abs(b.claimed - b.labelled) for size, b in zip(sizes, bins, strict=True))
        / math.fsum(sizes),
        floor=_floor(groups),
        overconfidence=_claimed(rows) - _labelled(rows),
        num_pairs=len(pairs),
        num_prompts=len({pair.prompt_id for pair in pairs}),
    )


class _Claim(NamedTuple):
    prompt_id: str
    claimed: float
    label: float
    weight: float


def _floor(groups: Sequence[Sequence[_Claim]]) -> float | None:
    """The mean over the bins of the mean distance from zero that their mean residual has by chance.

    A mean of many independent residuals is about normal, and a normal number of deviation s lies sqrt(2 / pi) s from
    zero on average. The deviation is taken from the scatter of the labels about the claims, prompt by prompt, so soft
    labels have a lower floor than hard ones. A bin of one prompt gets the deviation of all pairs.
    """
    rows = [row for group in groups for row in group]
    of_all = _deviation_of_mean(rows)
    if of_all is None:
        return None
    size_of_all = math.fsum(row.weight for row in rows)
    total = 0.0
    for group in groups:
        size = math.fsum(row.weight for row in group)
        own = _deviation_of_mean(group)
        total += size * (own if own is not None else of_all * math.sqrt(size_of_all / size))
    return min(1.0, math.sqrt(2 / math.pi) * total / size_of_all)


def _deviation_of_mean(rows: Sequence[_Claim]) -> float | None:
    """Standard deviation of the weighted mean of label minus claim, clustered by prompt; None with one prompt."""
    size = math.fsum(row.weight for row in rows)
    mean = _labelled(rows) - _claimed(rows)
    sums: dict[str, float] = {}
    for row in rows:
        sums[row.prompt_id] = sums.get(row.prompt_id, 0.0) + row.weight * (row.label - row.claimed - mean)
    num = len(sums)
    if num < 2:
        return None
    return math.sqrt(math.fsum(value**2 for value in sums.values()) * num / (num - 1)) / size


def _claimed(rows: Sequence[_Claim]) -> float:
    return _mean([row.weight * row.claimed for row in rows], rows)


def _labelled(rows: Sequence[_Claim]) -> float:
    return _mean([row.weight * row.label for row in rows], rows)


def _mean(products: Sequence[float], rows: Sequence[_Claim]) -> float:
    return min(1.0, math.fsum(products) / math.fsum(row.weight for row in rows))
