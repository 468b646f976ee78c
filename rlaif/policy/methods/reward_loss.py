"""The arithmetic of reward learning from demonstrations, with an implicit and with an explicit reward.

Li et al. 2024 (arXiv:2405.17888). Pure functions of tensors, usable in float64 and without a model.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

RewardLoss = Literal["likelihood", "pairwise"]


def compute_implicit_losses(demo_ratios: Tensor, sample_ratios: Tensor, *, beta: float) -> Tensor:
    """-log sigmoid(beta * (rho(y) - rho(y~))), y a demonstration and y~ a response of the policy at the loop's start.

    rho is the log-ratio of the policy to the policy at the loop's start. Where the loop runs until nothing changes, the
    policy is proportional to p (p_data / p)^(1 / beta), with p its start. One loop for all demonstrations is SPIN (Chen
    et al. 2024, arXiv:2401.01335).
    demo_ratios, sample_ratios: (num_pairs,). Returns (num_pairs,).
    """
    return -torch.nn.functional.logsigmoid(beta * (demo_ratios - sample_ratios))


def compute_reward_losses(demo_rewards: Tensor, sample_rewards: Tensor, *, kind: RewardLoss) -> Tensor:
    """Losses of a reward whose demonstrations shall be above the policy's own responses.

    likelihood: r(y~) - r(y). Its mean's gradient is -beta times that of the demonstrations' log-likelihood under
    pi_ref exp(r / beta) / Z, if the y~ are drawn from there; the fixed point is the demonstrations' distribution.
    pairwise: -log sigmoid(r(y) - r(y~)). With a policy at its optimum it rests at pi_ref^(beta / (1 + beta)) *
    p_data^(1 / (1 + beta)) instead.
    demo_rewards, sample_rewards: (num_pairs,). Returns (num_pairs,).
    """
    if kind == "likelihood":
        return sample_rewards - demo_rewards
    return -torch.nn.functional.logsigmoid(demo_rewards - sample_rewards)


def bound_rewards(raw: Tensor, *, reward_range: float) -> Tensor:
    """Rewards between -reward_range / 2 and reward_range / 2, near `raw` where that is small.

    Without a bound the likelihood's loss falls for ever wherever a response is never drawn.
    """
    half = reward_range / 2
    return half * torch.tanh(raw / half)
