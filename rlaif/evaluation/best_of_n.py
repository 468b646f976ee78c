"""Best of n, what a reward model does without training: of n responses of one policy, take the most rewarded one.

Samples and their rewards in, picks out, and how far from the policy choosing can go. Draws no samples,
scores nothing and does not judge the picks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.errors import StageError
from rlaif.evaluation.policy import PolicyPair
from rlaif.records import Sample
from rlaif.stats.ranks import FLOAT32_TOLERANCE, find_highest


class Picks(NamedTuple):
    pairs: list[PolicyPair]
    """Each prompt's single response as `start` and its pick as `trained`, so that they are compared as policies are."""
    candidates: list[Sample]
    """Every response that could have been picked."""
    num_unscored: int
    """Candidates without a reward; none of them can be picked."""


NO_PICKS = Picks([], [], 0)


def pick_best(rewards: Sequence[float | None]) -> int | None:
    """The place of the highest reward, the first of those equal but for rounding; None where no candidate has one."""
    scored = [(place, reward) for place, reward in enumerate(rewards) if reward is not None]
    if any(not math.isfinite(reward) for _, reward in scored):
        raise ValueError("a reward that is not finite is a failure and no reward")
    if not scored:
        return None
    return scored[find_highest([reward for _, reward in scored], tolerance=FLOAT32_TOLERANCE)][0]


def pick_samples(
    singles: Sequence[Sample], *, candidates: Sequence[Sample], rewards: Mapping[str, float], n: int
) -> Picks:
    """The best of each prompt's `n` candidates, beside the prompt's first single response.

    No response may be in both `candidates` and `singles`: a pick that is compared with itself would make the two look
    alike. rewards: by sample id; a sample whose reward failed is absent. A prompt has no pick where none of its
    candidates has a reward.
    """
    by_prompt: dict[str, list[Sample]] = {}
    for sample in candidates:
        by_prompt.setdefault(sample.prompt_id, []).append(sample)
    firsts: dict[str, Sample] = {}
    for sample in sorted(singles, key=lambda sample: sample.index):
        firsts.setdefault(sample.prompt_id, sample)
    if firsts.keys() != by_prompt.keys() or any(len(group) != n for group in by_prompt.values()):
        raise StageError(
            f"not every prompt has a single response and {n} to pick from",
            where=f"{len(singles)} and {len(candidates)} samples",
            fix="sample both from the same prompts, each index once",
        )
    pairs = []
    for prompt_id, first in firsts.items():
        place = pick_best([rewards.get(sample.id) for sample in by_prompt[prompt_id]])
        if place is not None:
            pairs.append(PolicyPair(first, by_prompt[prompt_id][place]))
    return Picks(pairs, list(candidates), sum(sample.id not in rewards for sample in candidates))


def bound_kl(n: int) -> float:
    """log n - (n - 1) / n: the most that best-of-n can move from the policy it picks from, as KL in nats per response.

    Exact where no response is ever drawn twice, an upper bound otherwise (Beirami et al. 2024, arXiv:2401.01879).
    """
    if n < 1:
        raise ValueError("n is at least 1")
    return math.log(n) - (n - 1) / n
