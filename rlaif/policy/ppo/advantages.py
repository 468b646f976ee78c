"""Rewards and values -> advantages and returns. Pure functions of masked (batch, response_len) tensors.

Knows no model and keeps no state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gae(NamedTuple):
    """Both (batch, response_len), zero where the mask is False."""

    advantages: Tensor
    returns: Tensor


def compute_gae(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float) -> Gae:
    """Generalised advantage estimation, Schulman et al. 2016 (arXiv:1506.02438), eq. 16.

    rewards, values, response_mask: (batch, response_len); the mask is True on response tokens, which
    are flush left. values[:, t] is V of the state before token t. A response is over after its last
    token, stop token or not: the value of what follows is 0.
    """
    mask = response_mask.to(rewards.dtype)
    rewards, values = rewards * mask, values * mask
    next_values = torch.nn.functional.pad(values[:, 1:], (0, 1))
    deltas = rewards + gamma * next_values - values
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        running = deltas[:, t] + gamma * lam * running
        advantages[:, t] = running
    return Gae(advantages * mask, (advantages + values) * mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the True places of the mask, a scalar."""
    return x[mask].mean()


def standardise(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and population standard deviation 1 over the mask, zero elsewhere; constant values become 0."""
    valid = x[mask]
    scaled = (x - valid.mean()) * torch.rsqrt(valid.var(correction=0) + 1e-8)
    return torch.where(mask, scaled, torch.zeros_like(x))


def scale_about_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation 1 over the mask about an unchanged mean, zero elsewhere.

    What lm-human-preferences calls `whiten(shift_mean=False)`; its mean is kept, not removed.
    """
    return torch.where(mask, standardise(x, mask) + x[mask].mean(), torch.zeros_like(x))


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the mask; 0 where the returns are constant."""
    variance = returns[mask].var(correction=0)
    if variance == 0:
        return 0.0
    return float(1 - (returns - values)[mask].var(correction=0) / variance)
