"""Weighted scores -> what training maximises: truncated responses shaped, the KL penalty subtracted.

The reward of a token is minus the KL penalty, and the last token's is the score besides. Asks for no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from rlaif.config.ppo import PpoConfig


def is_trained_on(*, finished: bool, config: PpoConfig) -> bool:
    """Whether a response counts at all; one that ran out of tokens does not with `truncated: mask`."""
    return finished or config.truncated != "mask"


def counts_its_score(*, finished: bool, config: PpoConfig) -> bool:
    """Whether anything depends on a response's own score: not where it is masked, nor where another replaces it."""
    return is_trained_on(finished=finished, config=config) and (finished or config.truncated != "replace")


def shape_scores(scores: Sequence[float], *, finished: Sequence[bool], config: PpoConfig) -> list[float]:
    """The scores, penalised or replaced where a response ran out of tokens and the configuration says so."""
    shaped = list(scores)
    for place, is_finished in enumerate(finished):
        if is_finished:
            continue
        if config.truncated == "penalise":
            shaped[place] -= config.missing_eos_penalty
        elif config.truncated == "replace":
            shaped[place] = -config.missing_eos_penalty
    return shaped


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
