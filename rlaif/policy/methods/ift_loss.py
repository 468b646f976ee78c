"""The arithmetic of intuitive fine-tuning: mixed embeddings, and the weights of a response's tokens.

Hua et al. 2024 (arXiv:2405.11870). Pure functions of tensors, usable in float64 and without a model.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Propagation = Literal["paper", "repository"]


def mix_embeddings(gold: Tensor, guessed: Tensor, mask: Tensor, *, lam: float) -> Tensor:
    """Temporal residual connection, eq. 17: (1 - lam) * gold + lam * guessed where the mask is True, else gold.

    gold, guessed: (batch, length, hidden_size); mask: (batch, length), True on response tokens.
    """
    return torch.where(mask[..., None], torch.lerp(gold, guessed, lam), gold)


def weigh_by_position(mask: Tensor, *, gamma: float) -> Tensor:
    """Weights of the paper's relation propagation, eq. 21 with a decay. They grow with the position.

    The sum over n of the losses from n on counts token i, from 0, once for each n up to it, and with the decay
    sum_{k<=i} gamma^k = (1 - gamma^(i+1)) / (1 - gamma) times. Scaled so that a response's weights add up to its
    length; gamma = 0 gives ones.
    mask: (batch, length), True on response tokens, of which each row has one at least. Returns the same shape, zero
    where the mask is False.
    """
    places = mask.cumsum(dim=-1).to(torch.get_default_dtype())
    raw = places if gamma == 1 else 1 - gamma**places
    return _scale_to_length(raw * mask, mask)


def weigh_by_later_losses(losses: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Weights of the authors' code: a token weighs as much as the decayed losses from it on.

    w_n is proportional to c_n = sum_{i>=n} gamma^(i-n) loss_i, scaled so that a response's weights add up to its
    length. The losses are not detached, so a gradient flows through the weights too. gamma = 0 gives ones, as that code
    turns the propagation off by it.
    losses, mask: (batch, length), with a response's tokens on the left; the mask is True on them. Returns the same
    shape, zero where the mask is False.
    """
    if gamma == 0:
        return mask.to(losses.dtype)
    kept = losses * mask
    carried = torch.zeros_like(kept[:, 0])
    sums = []
    for place in reversed(range(kept.shape[1])):
        carried = kept[:, place] + gamma * carried
        sums.append(carried)
    return _scale_to_length(torch.stack(sums[::-1], dim=1) * mask, mask)


def compute_ift_loss_sum(losses: Tensor, mask: Tensor, *, gamma: float, propagation: Propagation) -> Tensor:
    """The weighted sum of the tokens' losses, to be divided by the number of response tokens of the whole batch.

    losses: (batch, length), -log-probability of each gold token after the mixed embeddings; mask: True on response
    tokens. With gamma = 0 this is the sum of the losses. Returns a scalar.
    """
    if gamma == 0:
        return (losses * mask).sum()
    if propagation == "paper":
        weights = weigh_by_position(mask, gamma=gamma).to(losses.dtype)
    else:
        weights = weigh_by_later_losses(losses, mask, gamma=gamma)
    return (weights * losses * mask).sum()


def _scale_to_length(raw: Tensor, mask: Tensor) -> Tensor:
    """(batch, length) weights whose rows add up to the number of the row's tokens."""
    totals = raw.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(raw.dtype).tiny)
    return raw * mask.sum(dim=-1, keepdim=True) / totals
