"""Rewards -> how well the reward model orders held-out preferences, and how far it says the policy moved.

Loads no model: rewards come as numbers. Every figure about preferences uses the weights of their rows. A pair whose
label is exactly one half has no better response: it is left out of the accuracy and counted. Equal rewards are half
right.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from rlaif.evaluation.policy import Change, PolicyPair, compute_change
from rlaif.records import Estimate, Source
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval, share_interval
from rlaif.stats.logits import cross_entropy, entropy
from rlaif.stats.ranks import FLOAT32_TOLERANCE, is_same

NUM_BUCKETS = 3


class ScoredPair(NamedTuple):
    """A held-out preference with its two rewards. With chosen as first the label is one half or more."""

    prompt_id: str
    score_first: float
    score_second: float
    label: float
    """Probability that the first is preferred."""
    length_first: int
    """Length of the first response in characters."""
    length_second: int
    weight: float = 1.0
    """How much the row counts, as in training."""
    source: Source | None = None
    """Who preferred; None where the data do not say."""
    responses: tuple[str, str] | None = None
    """The two texts, by which rows about the same responses are recognised; None: no other row is about them."""


class LengthBucket(Value):
    """The pairs whose lengths differ by `low` to `high`, both included."""

    low: int
    high: int
    accuracy: Estimate | None
    num_pairs: int


class SourceQuality(Value):
    """How well the rewards predict the preferences of people, or those of the judge."""

    source: Source
    accuracy: Estimate | None
    log_loss: Estimate | None
    label_entropy: float
    num_pairs: int


class RewardModelQuality(Value):
    accuracy: Estimate | None = None
    """Share of pairs that the rewards order as the label says."""
    accuracy_at_most: float = 1.0
    """No rewards could reach more: some pairs are labelled both ways."""
    accuracy_of_length: Estimate | None = None
    """Accuracy of the rule "the longer one is better", which a reward model must beat."""
    log_loss: Estimate | None = None
    """Mean cross-entropy of sigmoid(difference of rewards) against the soft label, in nats."""
    label_entropy: float | None = None
    """Mean entropy of the labels in nats, below which no model's log loss can be."""
    is_weighted: bool = False
    """Some rows count more than others."""
    margin: Estimate | None = None
    """Mean difference of rewards in the direction of the label."""
    by_length_difference: tuple[LengthBucket, ...] = ()
    by_source: tuple[SourceQuality, ...] = ()
    """People and the judge apart, people first; empty where no pair is from people."""
    num_pairs: int
    num_undecided: int = 0
    """Pairs with a label of exactly one half; only the log loss counts them."""


def compute_reward_model_quality(pairs: Sequence[ScoredPair]) -> RewardModelQuality:
    """Accuracy, log loss and margin on held-out preferences, clustered by prompt."""
    if any(not (math.isfinite(pair.score_first) and math.isfinite(pair.score_second)) for pair in pairs):
        raise ValueError("a reward that is not finite is a failure and no score")
    decided = _decided(pairs)
    weights = [pair.weight for pair in pairs]
    return RewardModelQuality(
        accuracy=_accuracy(decided),
        accuracy_at_most=_at_most(decided),
        accuracy_of_length=share_interval(
            [_is_right(pair.length_first - pair.length_second, pair.label) for pair in decided],
            clusters=[pair.prompt_id for pair in decided],
            weights=[pair.weight for pair in decided],
        ),
        log_loss=_log_loss(pairs),
        label_entropy=_label_entropy(pairs) if pairs else None,
        is_weighted=len(set(weights)) > 1,
        margin=mean_interval(
            [math.copysign(1, pair.label - 0.5) * (pair.score_first - pair.score_second) for pair in decided],
            clusters=[pair.prompt_id for pair in decided],
            weights=[pair.weight for pair in decided],
        ),
        by_length_difference=_by_length_difference(decided),
        by_source=_by_source(pairs),
        num_pairs=len(pairs),
        num_undecided=len(pairs) - len(decided),
    )


def _decided(pairs: Sequence[ScoredPair]) -> list[ScoredPair]:
    return [pair for pair in pairs if not is_same(pair.label, 0.5)]


def _log_loss(pairs: Sequence[ScoredPair]) -> Estimate | None:
    return mean_interval(
        [cross_entropy(pair.label, pair.score_first - pair.score_second) for pair in pairs],
        clusters=[pair.prompt_id for pair in pairs],
        weights=[pair.weight for pair in pairs],
    )


def _label_entropy(pairs: Sequence[ScoredPair]) -> float:
    entropies = [pair.weight * entropy((pair.label, 1 - pair.label)) for pair in pairs]
    return math.fsum(entropies) / math.fsum(pair.weight for pair in pairs)


def _by_source(pairs: Sequence[ScoredPair]) -> tuple[SourceQuality, ...]:
    if not any(pair.source == "human" for pair in pairs):
        return ()
    sources: tuple[Source, ...] = ("human", "judge")
    found = [(source, [pair for pair in pairs if pair.source == source]) for source in sources]
    return tuple(
        SourceQuality(
            source=source,
            accuracy=_accuracy(_decided(own)),
            log_loss=_log_loss(own),
            label_entropy=_label_entropy(own),
            num_pairs=len(own),
        )
        for source, own in found
        if own
    )


def _accuracy(decided: Sequence[ScoredPair]) -> Estimate | None:
    return share_interval(
        [_is_right(pair.score_first - pair.score_second, pair.label) for pair in decided],
        clusters=[pair.prompt_id for pair in decided],
        weights=[pair.weight for pair in decided],
    )


def _at_most(decided: Sequence[ScoredPair]) -> float:
    """Highest accuracy that rewards can reach: where rows about the same two responses disagree, one side is wrong."""
    sides: dict[tuple[str, frozenset[str]], dict[str, float]] = {}
    for pair in decided:
        if pair.responses is not None:
            better = pair.responses[0] if pair.label > 0.5 else pair.responses[1]
            found = sides.setdefault((pair.prompt_id, frozenset(pair.responses)), {})
            found[better] = found.get(better, 0.0) + pair.weight
    lost = math.fsum(sum(found.values()) - max(found.values()) for found in sides.values() if len(found) > 1)
    return 1 - lost / math.fsum(pair.weight for pair in decided) if lost else 1.0


def _is_right(difference: float, label: float) -> float:
    return 0.5 if is_same(difference, 0.0, tolerance=FLOAT32_TOLERANCE) else float((difference > 0) == (label > 0.5))


def _by_length_difference(decided: Sequence[ScoredPair]) -> tuple[LengthBucket, ...]:
    """Thirds of the pairs by how much their lengths differ; equal differences share a bucket."""
    if not decided:
        return ()
    differences = sorted(abs(pair.length_first - pair.length_second) for pair in decided)
    edges = {differences[len(differences) * k // NUM_BUCKETS - 1] for k in range(1, NUM_BUCKETS + 1)}
    buckets = []
    below = -1
    for edge in sorted(edges):
        inside = [pair for pair in decided if below < abs(pair.length_first - pair.length_second) <= edge]
        low = min(difference for difference in differences if difference > below)
        buckets.append(LengthBucket(low=low, high=edge, accuracy=_accuracy(inside), num_pairs=len(inside)))
        below = edge
    return tuple(buckets)


class ProxyWin(Value):
    """How far the policy moved by the reward model that it was trained on: the aim of training, no proof of quality."""

    reward: Change
    higher: Estimate | None
    """Share of pairs in which the trained policy's response is rewarded more; equal rewards count half."""
    num_unscored: int
    """Pairs in which a reward failed."""


def compute_proxy_win(rewards: Mapping[str, float], *, pairs: Sequence[PolicyPair]) -> ProxyWin | None:
    """Rewards by sample id -> mean reward before and after; None where no pair has both rewards."""
    scored = [pair for pair in pairs if pair.start.id in rewards and pair.trained.id in rewards]
    if not scored:
        return None
    before = [rewards[pair.start.id] for pair in scored]
    after = [rewards[pair.trained.id] for pair in scored]
    prompt_ids: list[Hashable] = [pair.start.prompt_id for pair in scored]
    return ProxyWin(
        reward=compute_change(before, after, prompt_ids=prompt_ids),
        higher=share_interval(
            [0.5 if a == b else float(b > a) for a, b in zip(before, after, strict=True)], clusters=prompt_ids
        ),
        num_unscored=len(pairs) - len(scored),
    )
