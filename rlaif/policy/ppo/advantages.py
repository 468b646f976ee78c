"""Rewards and values -> advantages and returns. Pure functions of masked (batch, response_len) tensors.

Knows no model and keeps no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Advantages(NamedTuple):
    """Advantages and returns, both (batch, response_len), zero where the mask is False."""

    advantages: Tensor
    returns: Tensor


def compute_gae(
    rewards: Tensor,
    values: Tensor,
    response_mask: Tensor,
    *,
    gamma: float,
    lam: float,
    value_lam: float | None = None,
    values_after: Tensor | None = None,
) -> Advantages:
    """Generalised advantage estimation, Schulman et al. 2016 (arXiv:1506.02438), eq. 16.

    rewards, values, response_mask: (batch, response_len); the mask is True on response tokens, which
    are flush left. values[:, t] is V of the state before token t.
    value_lam: lambda of the returns that values learn, where it differs from `lam` (Yuan et al. 2025,
    arXiv:2503.01491, section 4.2: decoupled). values_after: (batch,) V of what follows the last token; 0 where
    nothing does.
    """
    mask = response_mask.to(rewards.dtype)
    rewards, values = rewards * mask, values * mask
    next_values = torch.nn.functional.pad(values[:, 1:], (0, 1))
    if values_after is not None:
        last = response_mask.sum(dim=1, keepdim=True) - 1
        next_values = next_values.scatter_add(1, last, values_after[:, None].to(values.dtype))
    deltas = rewards + gamma * next_values - values
    advantages = _discounted_sums(deltas, gamma * lam) * mask
    if value_lam is None or value_lam == lam:
        return Advantages(advantages, (advantages + values) * mask)
    return Advantages(advantages, (_discounted_sums(deltas, gamma * value_lam) + values) * mask)


def _discounted_sums(deltas: Tensor, factor: float) -> Tensor:
    """sum over later columns l of factor^(l - t) deltas[:, l], for each column t."""
    sums = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[:, 0])
    for t in reversed(range(deltas.shape[1])):
        running = deltas[:, t] + factor * running
        sums[:, t] = running
    return sums


def compute_rloo(
    rewards: Tensor, response_mask: Tensor, *, prompts: Sequence[str], trained: Sequence[int] | None = None
) -> Advantages:
    """Reinforce with a leave-one-out baseline, Ahmadian et al. 2024 (arXiv:2402.14740), eq. 4.

    A response's return is the sum of its rewards; its advantage, the same for each of its tokens, is that less the
    mean return of the other responses to its prompt, and 0 where there is no other.
    rewards, response_mask: (batch, response_len); prompts: which prompt each row answers; trained: the rows that are
    trained on, None for all. A row that is not trained on is not compared with, and its advantage is 0.
    """
    totals = (rewards * response_mask).sum(dim=1)
    advantages = torch.zeros_like(totals)
    for rows in compared_rows(prompts, trained=trained):
        # r_i - mean of the others = (r_i - mean of all) * n / (n - 1)
        advantages[rows] = (totals[rows] - totals[rows].mean()) * (len(rows) / (len(rows) - 1))
    mask = response_mask.to(rewards.dtype)
    return Advantages(advantages[:, None] * mask, totals[:, None] * mask)


GROUP_EPSILON = 1e-4
"""Added to a group's standard deviation, as TRL does, so that equal returns give advantages of 0."""


def compute_grpo(
    rewards: Tensor, response_mask: Tensor, *, prompts: Sequence[str], trained: Sequence[int] | None = None
) -> Advantages:
    """Group-relative advantages, Shao et al. 2024 (arXiv:2402.03300), section 4.1.2.

    A response's advantage, the same for each of its tokens, is its return less the mean return of its prompt's
    responses, divided by their standard deviation (n - 1), and 0 where there is no other response. Arguments as
    `compute_rloo`.

    It departs from the paper in three places. The KL is in the rewards and not a k3 term of the loss, so that returns
    and their deviation include it: the optimum stays that of E[score] - kl_coef * KL. The loss is the mean over all
    tokens of a mini-batch and not first over each response, which Liu et al. 2025 (arXiv:2503.20783) call a length
    bias. Their other correction, no division by the deviation, is `rloo` up to n / (n - 1).
    """
    totals = (rewards * response_mask).sum(dim=1)
    advantages = torch.zeros_like(totals)
    for rows in compared_rows(prompts, trained=trained):
        group = totals[rows]
        advantages[rows] = (group - group.mean()) / (group.std() + GROUP_EPSILON)
    mask = response_mask.to(rewards.dtype)
    return Advantages(advantages[:, None] * mask, totals[:, None] * mask)


def compared_rows(prompts: Sequence[str], *, trained: Sequence[int] | None = None) -> list[list[int]]:
    """The trained rows of each prompt that has two of them or more: a single one has nothing to be compared with."""
    rows_of: dict[str, list[int]] = {}
    for row in range(len(prompts)) if trained is None else trained:
        rows_of.setdefault(prompts[row], []).append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the True places of the mask, a scalar."""
    return x[mask].mean()


def standardise(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and population standard deviation 1 over the mask, zero elsewhere; constant values become 0."""
    valid = x[mask]
    if not len(valid):
        return torch.zeros_like(x)
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
