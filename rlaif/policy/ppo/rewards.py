"""Episodes -> scores -> per-token rewards: the score at the last token minus the KL penalty at each.

Scores come from a function of texts that the caller hands in; a failed one is a type of its own and
never a number. Does not sample and does not train.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlaif.errors import TrainingError
from rlaif.records import Prompt


class Episode(NamedTuple):
    """What a reward source sees: the conversation and the response's text without special tokens."""

    prompt: Prompt
    response: str


class RewardFailure(NamedTuple):
    """Why an episode has no score."""

    cause: str


RewardSource = Callable[[Sequence[Episode]], Sequence[float | RewardFailure]]
"""A score, or why there is none, for each episode, in order."""


class Scored(NamedTuple):
    kept: list[int]
    """Indices of the episodes that have a score."""
    scores: list[float]
    """Theirs, as the source gave them."""
    failures: Counter[str]


class ScoreScale(NamedTuple):
    """Mean and standard deviation of the scores of the reference policy's responses."""

    mean: float = 0.0
    sd: float = 1.0

    def apply(self, scores: Sequence[float]) -> list[float]:
        return [(score - self.mean) / self.sd for score in scores]


def score_episodes(reward: RewardSource, episodes: Sequence[Episode], *, max_failed: float, where: str) -> Scored:
    """Ask the source; drop and count failed episodes, and stop when more than `max_failed` of them failed."""
    answers = reward(episodes)
    if len(answers) != len(episodes):
        raise TrainingError(
            f"the reward source gave {len(answers)} rewards for {len(episodes)} episodes",
            where=where,
            fix="return one number or RewardFailure per episode, in order",
        )
    kept, scores, failures = [], [], Counter[str]()
    for index, answer in enumerate(answers):
        if isinstance(answer, RewardFailure):
            failures[answer.cause] += 1
        elif not math.isfinite(answer):
            failures["non_finite"] += 1
        else:
            kept.append(index)
            scores.append(float(answer))
    if failures.total() > max_failed * len(episodes) or not kept:
        causes = ", ".join(f"{cause} {count}" for cause, count in failures.most_common())
        raise TrainingError(
            f"{failures.total()} of {len(episodes)} rewards failed ({causes})",
            where=where,
            fix="mend the reward source and resume, or raise ppo.max_failed_rewards",
        )
    return Scored(kept, scores, failures)


def measure_scale(scores: Sequence[float]) -> ScoreScale:
    """What brings these scores to mean 0 and population standard deviation 1; equal ones are only shifted."""
    mean = math.fsum(scores) / len(scores)
    sd = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    return ScoreScale(mean, sd if sd > 1e-8 else 1.0)


KlEstimator = Literal["k1", "k2", "k3"]


def estimate_kl(logprobs: Tensor, ref_logprobs: Tensor, *, estimator: KlEstimator) -> Tensor:
    """Per-token estimates of KL(policy || reference) from the policy's own tokens.

    k1 = log p/q, k2 = (log p/q)^2 / 2, k3 = q/p - 1 - log q/p (Schulman 2020, "Approximating KL divergence"). k1
    and k3 have the KL as their mean, k2 nearly so. Inside the reward only k1 gives the gradient of the
    KL-regularised objective.
    """
    log_ratio = logprobs - ref_logprobs
    match estimator:
        case "k1":
            return log_ratio
        case "k2":
            return log_ratio.square() / 2
        case "k3":
            return torch.expm1(-log_ratio) + log_ratio


def compute_rewards(scores: Tensor, kl: Tensor, response_mask: Tensor, *, kl_coef: float) -> Tensor:
    """(batch, response_len) rewards: -kl_coef * kl at every token, and the score at the last real one.

    scores: (batch,); kl: (batch, response_len); response_mask: True on response tokens, flush left. The
    last real token is the stop token where there is one: choosing to stop is an action and gets the score.
    """
    rewards = -kl_coef * kl * response_mask
    last = response_mask.sum(dim=1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def next_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: float, num_episodes: int) -> float:
    """The controller of Ziegler et al. 2019 (arXiv:1909.08593), section 2.2; it never reaches zero."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * max(1 + error * num_episodes / horizon, 0.1)
