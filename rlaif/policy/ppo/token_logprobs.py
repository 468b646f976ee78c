"""Hidden states and a head -> log-probability and entropy of given tokens, without (tokens, vocabulary) logits.

Logits are made for a few tokens at a time, in float32, and again in the backward pass: memory does not grow with
tokens x vocabulary. Knows no model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CHUNK_LOGITS = 1 << 20
"""[M] Logits held at once: 4 MiB stay in the cache of a CPU; an accelerator gets more."""
_ACCELERATED = 64


class TokenLogprobs(NamedTuple):
    """Both (num_tokens,), float32."""

    logprobs: Tensor
    entropy: Tensor
    """Entropy of the whole distribution, in nats; carries no gradient."""


def compute_token_logprobs(hidden: Tensor, tokens: Tensor, *, head: nn.Linear, temperature: float) -> TokenLogprobs:
    """Log-probability of each token, and entropy, under softmax((hidden @ weight.T + bias) / temperature).

    hidden: (num_tokens, hidden_size), tokens: (num_tokens,). Gradients reach hidden, weight and bias.
    """
    logprobs, entropy = _TokenLogprobs.apply(hidden, head.weight, head.bias, tokens, temperature)  # type: ignore[no-untyped-call]
    return TokenLogprobs(logprobs, entropy)


class _TokenLogprobs(torch.autograd.Function):
    """d logprob / d logits = (one-hot - softmax) / temperature; the softmax is made again from its normaliser."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        logprobs, normalisers, entropy = (hidden.new_empty(len(hidden), dtype=torch.float32) for _ in range(3))
        for part in _parts(hidden, weight):
            logits = _logits(hidden[part], weight, bias, temperature)
            normalisers[part] = torch.logsumexp(logits, dim=-1)
            logprobs[part] = logits.gather(1, tokens[part, None]).squeeze(1) - normalisers[part]
            logits -= normalisers[part, None]
            entropy[part] = -(logits.exp() * logits.clamp_(min=torch.finfo(logits.dtype).min)).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, bias, tokens, normalisers)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normalisers = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        for part in _parts(hidden, weight):
            scale = grads[0][part, None].float() / ctx.temperature
            logits = _logits(hidden[part], weight, bias, ctx.temperature)
            pushed = logits.sub_(normalisers[part, None]).exp_().mul_(-scale)
            pushed.scatter_add_(1, tokens[part, None], scale)
            if grad_hidden is not None:
                grad_hidden[part] = pushed.to(weight.dtype) @ weight
            if grad_weight is not None:
                grad_weight.addmm_(pushed.T, hidden[part].float())
            if grad_bias is not None:
                grad_bias += pushed.sum(dim=0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
        )


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias).float()
    return logits if temperature == 1.0 else logits / temperature


def _parts(hidden: Tensor, weight: Tensor) -> list[slice]:
    most = CHUNK_LOGITS * (1 if hidden.device.type == "cpu" else _ACCELERATED)
    size = max(1, most // len(weight))
    return [slice(at, at + size) for at in range(0, len(hidden), size)]
