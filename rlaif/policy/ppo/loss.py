"""PPO's losses, token by token. The caller takes the mean over a whole mini-batch's tokens.

Every function is elementwise over tensors of one shape; none knows a mask or a model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TokenLoss(NamedTuple):
    """Both of the arguments' shape."""

    loss: Tensor
    clipped: Tensor
    """True where the clipped branch was taken, so that the gradient is cut."""


def compute_policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, cliprange: float) -> TokenLoss:
    """Clipped surrogate, Schulman et al. 2017 (arXiv:1707.06347), eq. 7, as a loss."""
    ratio = torch.exp(logprobs - old_logprobs)
    plain = -advantages * ratio
    clipped = -advantages * torch.clamp(ratio, 1 - cliprange, 1 + cliprange)
    return TokenLoss(torch.maximum(plain, clipped), clipped > plain)


def compute_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, cliprange_value: float) -> TokenLoss:
    """Half the squared error; a value is clipped around its old value (lm-human-preferences)."""
    near = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    plain = (values - returns).square()
    clipped = (near - returns).square()
    return TokenLoss(0.5 * torch.maximum(plain, clipped), clipped > plain)
