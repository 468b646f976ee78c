"""PPO's losses, token by token. The caller takes the mean over a whole mini-batch's tokens.

Every function is elementwise over tensors of one shape; none knows a mask or a model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TokenLoss(NamedTuple):
    """Loss and clipping of each token, in the shape of the arguments."""

    loss: Tensor
    clipped: Tensor
    """True where the clipped branch was taken, so that the gradient is cut."""


def compute_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, cliprange: float, dual_clip: float | None = None
) -> TokenLoss:
    """Clipped surrogate, Schulman et al. 2017 (arXiv:1707.06347), eq. 7, as a loss.

    dual_clip: with a negative advantage the loss is `dual_clip` times it at most, so that a token which has become
    far likelier does not dominate the gradient, Ye et al. 2020 (arXiv:1912.09729), eq. 5.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    plain = -advantages * ratio
    clipped = -advantages * torch.clamp(ratio, 1 - cliprange, 1 + cliprange)
    loss, is_clipped = torch.maximum(plain, clipped), clipped > plain
    if dual_clip is not None:
        most = -advantages * dual_clip
        is_over = (advantages < 0) & (loss > most)
        loss, is_clipped = torch.where(is_over, most, loss), is_clipped | is_over
    return TokenLoss(loss, is_clipped)


def compute_importance_weights(logprobs: Tensor, engine_logprobs: Tensor, *, most: float) -> Tensor:
    """Factor on a token's policy loss where something else than the policy in training drew the token.

    The token's probability under that policy before the update, divided by its probability under what drew it: the
    factor by which decoupled PPO differs, Hilton et al. 2021 (arXiv:2110.00641), section 3. It is cut at `most` as in
    V-trace, Espeholt et al. 2018 (arXiv:1802.01561), section 4.1, so that no token outweighs all others. Carries no
    gradient.
    """
    return torch.exp(logprobs - engine_logprobs).clamp(max=most).detach()


def compute_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, cliprange_value: float) -> TokenLoss:
    """Half the squared error; a value is clipped around its old value (lm-human-preferences)."""
    near = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    plain = (values - returns).square()
    clipped = (near - returns).square()
    return TokenLoss(0.5 * torch.maximum(plain, clipped), clipped > plain)
