"""Rewards on held-out pairs -> how often and how surely the reward model agrees with the labels.

Ties (label one half) have no truth to agree with and are left out. Does not run models.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from rlaif.records import Estimate, Value
from rlaif.reward_model.data import Pair

Z_95 = 1.959963984540054


class HeldOut(Value):
    accuracy: Estimate | None
    """Share of pairs whose more probable side has the higher reward; None without such pairs."""
    num_pairs: int
    """Pairs that the accuracy counts."""
    num_ties: int
    log_loss: float | None
    """Mean cross-entropy of the labels in nats; a coin has ln 2 = .693, the labels' entropy is the floor."""
    log_loss_floor: float | None


def measure_held_out(pairs: Sequence[Pair], rewards: Sequence[float]) -> HeldOut:
    """rewards: of the sequences that the pairs point at."""
    if not pairs:
        return HeldOut(accuracy=None, num_pairs=0, num_ties=0, log_loss=None, log_loss_floor=None)
    margins = [rewards[pair.chosen] - rewards[pair.rejected] for pair in pairs]
    correct_by_prompt: dict[str, list[bool]] = defaultdict(list)
    for pair, margin in zip(pairs, margins, strict=True):
        if pair.label != 0.5:
            correct_by_prompt[pair.prompt_id].append(margin > 0 if pair.label > 0.5 else margin < 0)
    num_pairs = sum(len(found) for found in correct_by_prompt.values())
    return HeldOut(
        accuracy=compute_clustered_wilson(list(correct_by_prompt.values())) if num_pairs else None,
        num_pairs=num_pairs,
        num_ties=len(pairs) - num_pairs,
        log_loss=math.fsum(
            _cross_entropy(pair.label, margin) for pair, margin in zip(pairs, margins, strict=True)
        )
        / len(pairs),
        log_loss_floor=math.fsum(_entropy(pair.label) for pair in pairs) / len(pairs),
    )


def compute_clustered_wilson(clusters: Sequence[Sequence[bool]]) -> Estimate:
    """A share with its 95 % Wilson interval (Wilson 1927), widened because pairs of a prompt go together.

    The number of pairs is divided by the design effect of sampling prompts instead of pairs (Kish 1965;
    Dean & Pagano 2015, doi:10.1177/0193841X15603543). With one pair per prompt this is Wilson's interval.
    clusters: per prompt, whether each of its pairs is right. The estimate's n counts prompts.
    """
    num_pairs = sum(len(cluster) for cluster in clusters)
    share = sum(sum(cluster) for cluster in clusters) / num_pairs
    low, high = compute_wilson(share, _effective_size(clusters, share=share, num_pairs=num_pairs))
    return Estimate(mean=share, low=low, high=high, n=len(clusters))


def compute_wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share of n independent trials; n may be a fraction (an effective size)."""
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _effective_size(clusters: Sequence[Sequence[bool]], *, share: float, num_pairs: int) -> float:
    num_clusters = len(clusters)
    if num_clusters < 2 or share in (0.0, 1.0):
        # No spread to estimate the design effect from: count prompts, which is the cautious end.
        return num_clusters
    between = math.fsum((sum(cluster) - share * len(cluster)) ** 2 for cluster in clusters)
    variance = num_clusters / (num_clusters - 1) * between / num_pairs**2
    if variance == 0.0:
        return num_pairs
    return min(float(num_pairs), share * (1 - share) / (num_pairs - 1) / variance * num_pairs)


def _cross_entropy(label: float, margin: float) -> float:
    """-q log sigmoid(margin) - (1-q) log sigmoid(-margin), finite for every margin."""
    softplus = max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))
    return softplus - label * margin


def _entropy(label: float) -> float:
    return -math.fsum(p * math.log(p) for p in (label, 1 - label) if p > 0)
