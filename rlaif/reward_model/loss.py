"""Rewards of pairs, choices or single responses -> the weighted loss: Bradley-Terry, K-way, logistic or squared.

Pure functions of tensors, usable in float64 and without a model. Does not run models.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_pair_losses(chosen_rewards: Tensor, rejected_rewards: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under Bradley-Terry: -q log sigmoid(d) - (1-q) log sigmoid(-d), d = r_c - r_r.

    Bradley & Terry 1952; with hard labels (q = 1) the loss of Ouyang et al. 2022 (arXiv:2203.02155), eq. 1;
    soft labels from a judge as in Lee et al. 2023 (arXiv:2309.00267). A tie is q = 1/2: its loss is least
    where the rewards are equal.
    chosen_rewards, rejected_rewards, labels: (num_pairs,), q is the probability that chosen is preferred.
    Returns (num_pairs,).
    """
    return torch.nn.functional.binary_cross_entropy_with_logits(
        chosen_rewards - rejected_rewards, labels, reduction="none"
    )


def compute_centering_losses(chosen_rewards: Tensor, rejected_rewards: Tensor) -> Tensor:
    """(r_c + r_r)^2: pins the constant that Bradley-Terry leaves free.

    Eisenstein et al. 2023 (arXiv:2312.09244); TRL's `center_rewards_coefficient`.
    chosen_rewards, rejected_rewards: (num_pairs,). Returns (num_pairs,).
    """
    return (chosen_rewards + rejected_rewards) ** 2


def compute_loss_sum(
    chosen_rewards: Tensor,
    rejected_rewards: Tensor,
    *,
    labels: Tensor,
    weights: Tensor,
    center_rewards_coefficient: float,
    leaning: Tensor | None = None,
) -> Tensor:
    """The weighted sum of the pairs' losses, to be divided by the weight of the whole batch.

    It is a sum so that a batch cut into micro-batches has the gradient of the batch.
    leaning: log-odds for chosen that the labels hold beside the rewards; they are no part of the centred rewards.
    All tensors: (num_pairs,). Returns a scalar.
    """
    leaning_rewards = chosen_rewards if leaning is None else chosen_rewards + leaning
    losses = compute_pair_losses(leaning_rewards, rejected_rewards, labels)
    if center_rewards_coefficient:
        losses = losses + center_rewards_coefficient * compute_centering_losses(chosen_rewards, rejected_rewards)
    return (weights * losses).sum()


def compute_choice_losses(rewards: Tensor, shares: Tensor, mask: Tensor) -> Tensor:
    """K-way cross-entropy: -sum_i q_i log softmax(r)_i, over the responses that are there.

    Luce 1959; with a hard choice the loss of Ziegler et al. 2019 (arXiv:1909.08593), eq. 1. With K = 2 it is
    `compute_pair_losses`: softmax of two rewards is sigmoid of their difference.
    rewards, shares, mask: (num_choices, most responses); the mask is True on responses. Returns (num_choices,).
    """
    logits = rewards.masked_fill(~mask, -torch.inf)
    logprobs = torch.log_softmax(logits, dim=-1)
    return -(shares * logprobs.masked_fill(~mask, 0.0)).sum(dim=-1)


def compute_choice_loss_sum(
    rewards: Tensor,
    *,
    shares: Tensor,
    mask: Tensor,
    weights: Tensor,
    center_rewards_coefficient: float,
    leaning: Tensor | None = None,
) -> Tensor:
    """`compute_loss_sum` for choices; their rewards are centred by (2 mean r)^2, which for two is (r_1 + r_2)^2.

    rewards, shares, mask, leaning: (num_choices, most responses); weights: (num_choices,). Returns a scalar.
    """
    losses = compute_choice_losses(rewards if leaning is None else rewards + leaning, shares, mask)
    if center_rewards_coefficient:
        means = rewards.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
        losses = losses + center_rewards_coefficient * (2 * means) ** 2
    return (weights * losses).sum()


def compute_rated_loss_sum(rewards: Tensor, *, targets: Tensor, is_thumb: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the losses of single responses, to be added to those of pairs and choices.

    A thumb q has the logistic loss -q log sigmoid(r) - (1-q) log sigmoid(-r): it is a pair with a response of reward
    zero, and fixes the constant that Bradley-Terry leaves free. A standardised rating z has (r - z)^2 / 2.
    All tensors: (num_rated,); is_thumb is True on thumbs. Returns a scalar.
    """
    logistic = torch.nn.functional.binary_cross_entropy_with_logits(
        rewards, torch.where(is_thumb, targets, torch.zeros_like(targets)), reduction="none"
    )
    squared = (rewards - targets) ** 2 / 2
    return (weights * torch.where(is_thumb, logistic, squared)).sum()
