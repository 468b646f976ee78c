"""Claimed probabilities beside labels -> is a claim as often right as it says, and how far off by chance alone?

A reward model claims sigmoid(difference of rewards) for the response that it rewards more; a judge claims its label.
Fits nothing.
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
    """Pairs for which about the same is claimed."""

    claimed: float = Field(ge=0.5, le=1)
    """Mean probability that is claimed for the response that is claimed to be the better one."""
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


class Claim(NamedTuple):
    """What is claimed of the first of two responses, and its label."""

    prompt_id: str
    logit: float
    """Log-odds that are claimed for the first response."""
    label: float
    weight: float = 1.0


def compute_reward_calibration(pairs: Sequence[ScoredPair]) -> RewardCalibration | None:
    """The calibration of a reward model over all pairs; None without pairs.

    Two equal rewards claim one half for the first response.
    """
    return compute_reliability(
        [Claim(pair.prompt_id, pair.score_first - pair.score_second, pair.label, pair.weight) for pair in pairs]
    )


def compute_reliability(claims: Sequence[Claim]) -> RewardCalibration | None:
    """The calibration of any claims; None without claims."""
    if not claims:
        return None
    inside: dict[int, list[_Claim]] = {}
    for claim in claims:
        claimed = sigmoid(abs(claim.logit))
        label = claim.label if claim.logit >= 0 else 1 - claim.label
        place = min(NUM_BINS - 1, int((claimed - 0.5) * 2 * NUM_BINS))
        inside.setdefault(place, []).append(_Claim(claim.prompt_id, claimed, label, claim.weight))
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
        num_pairs=len(claims),
        num_prompts=len({claim.prompt_id for claim in claims}),
    )


class _Claim(NamedTuple):
    """A claim and the label, seen from the response that is claimed to be the better one."""

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
