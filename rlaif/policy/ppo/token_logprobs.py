"""Hidden states and a head -> log-probability and entropy of given tokens, without (tokens, vocabulary) logits.

Logits are made in float32 for a few tokens at a time or, where the vocabulary is so large that these would be too few,
for a part of the vocabulary at a time. Memory does not grow with tokens x vocabulary. Knows no model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CHUNK_LOGITS = 1 << 20
"""[M] Logits held at once: 4 MiB stay in the cache of a CPU; an accelerator gets more."""
_ACCELERATED = 64
FEW_TOKENS, BLOCK_TOKENS = 64, 512
"""[M] Where fewer than FEW_TOKENS tokens' logits fit into a chunk, BLOCK_TOKENS tokens are computed over one part of
the vocabulary after another: products of 21 rows with 49,152 columns take 2.8 times as long as those of 512 rows."""


class TokenLogprobs(NamedTuple):
    """Both (num_tokens,), float32."""

    logprobs: Tensor
    entropy: Tensor
    """Entropy of the whole distribution, in nats; carries no gradient."""


def compute_token_logprobs(
    hidden: Tensor, tokens: Tensor, *, head: nn.Linear, temperature: float, with_entropy: bool = True
) -> TokenLogprobs:
    """Log-probability of each token, and entropy, under softmax((hidden @ weight.T + bias) / temperature).

    hidden: (num_tokens, hidden_size), tokens: (num_tokens,). Gradients reach hidden, weight and bias.
    with_entropy: False leaves the entropy at zero, which takes less time.
    """
    few = _most_logits(hidden) < FEW_TOKENS * len(head.weight)
    function = _InBlocks if few else _TokenLogprobs
    logprobs, entropy = function.apply(hidden, head.weight, head.bias, tokens, _Options(temperature, with_entropy))  # type: ignore[no-untyped-call]
    return TokenLogprobs(logprobs, entropy)


class _Options(NamedTuple):
    temperature: float
    with_entropy: bool


class _TokenLogprobs(torch.autograd.Function):
    """d logprob / d logits = (one-hot - softmax) / temperature; the softmax is made again from its normaliser."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        options: _Options,
    ) -> tuple[Tensor, Tensor]:
        logprobs, normalisers, entropy = (hidden.new_zeros(len(hidden), dtype=torch.float32) for _ in range(3))
        for part in _parts(len(hidden), size=max(1, _most_logits(hidden) // len(weight))):
            logits = _logits(hidden[part], weight, bias, options.temperature)
            normalisers[part] = torch.logsumexp(logits, dim=-1)
            logprobs[part] = logits.gather(1, tokens[part, None]).squeeze(1) - normalisers[part]
            if options.with_entropy:
                logits -= normalisers[part, None]
                entropy[part] = -(logits.exp() * logits.clamp_(min=torch.finfo(logits.dtype).min)).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, bias, tokens, normalisers)
        ctx.temperature = options.temperature
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normalisers = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        for part in _parts(len(hidden), size=max(1, _most_logits(hidden) // len(weight))):
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


class _InBlocks(torch.autograd.Function):
    """The same, over one part of the vocabulary after another, with sums relative to the largest logit so far.

    The gradient that a token sends to its hidden state is that token's gradient times a vector which the forward pass
    makes along the way: the token's weights less the softmax's mean of all weights. So the backward pass makes logits
    only for gradients of the head. (The running sums: Milakov and Gimelshein 2018, arXiv:1805.02867.)
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        options: _Options,
    ) -> tuple[Tensor, Tensor]:
        logprobs, normalisers, entropy = (hidden.new_zeros(len(hidden), dtype=torch.float32) for _ in range(3))
        needs_hidden = ctx.needs_input_grad[0]
        push = torch.empty_like(hidden, dtype=torch.float32) if needs_hidden else None
        for part in _parts(len(hidden), size=BLOCK_TOKENS):
            sums = _Sums(hidden[part], weight, bias, tokens[part], options.temperature)
            sums.add_all(with_entropy=options.with_entropy, with_mean=needs_hidden)
            normalisers[part] = sums.normaliser()
            logprobs[part] = sums.of_token - normalisers[part]
            if options.with_entropy:
                entropy[part] = sums.total.log() - sums.of_distances / sums.total
            if push is not None:
                push[part] = (
                    weight[tokens[part]].float() - sums.of_weights / sums.total[:, None]
                ) / options.temperature
        ctx.save_for_backward(hidden, weight, bias, tokens, normalisers, push)
        ctx.temperature = options.temperature
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normalisers, push = ctx.saved_tensors
        _, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = None if push is None else (push * grads[0][:, None].float()).to(hidden.dtype)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        for part in _parts(len(hidden) if needs_weight or grad_bias is not None else 0, size=BLOCK_TOKENS):
            scale = grads[0][part, None].float() / ctx.temperature
            for block in _parts(len(weight), size=max(1, _most_logits(hidden) // BLOCK_TOKENS)):
                logits = _logits(hidden[part], weight[block], None if bias is None else bias[block], ctx.temperature)
                pushed = logits.sub_(normalisers[part, None]).exp_().mul_(-scale)
                here, place = _places_in(block, tokens[part], width=pushed.shape[1])
                pushed.scatter_add_(1, place, scale * here)
                if grad_weight is not None:
                    grad_weight[block].addmm_(pushed.T, hidden[part].float())
                if grad_bias is not None:
                    grad_bias[block] += pushed.sum(dim=0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
        )


class _Sums:
    """Sums over the vocabulary for some tokens, each term weighted by exp(logit - largest logit so far)."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, temperature: float) -> None:
        self._hidden, self._weight, self._bias = hidden, weight, bias
        self._tokens, self._temperature = tokens, temperature
        self._largest = hidden.new_full((len(hidden),), torch.finfo(torch.float32).min, dtype=torch.float32)
        self.total, self.of_distances, self.of_token = (torch.zeros_like(self._largest) for _ in range(3))
        """Sum of the terms' weights; of the logits less the largest one; and the given token's logit. All
        (num_tokens,)."""
        self.of_weights = torch.zeros_like(hidden, dtype=torch.float32)
        """(num_tokens, hidden_size): the sum of the head's rows."""

    def normaliser(self) -> Tensor:
        return self._largest + self.total.log()

    def add_all(self, *, with_entropy: bool, with_mean: bool) -> None:
        for block in _parts(len(self._weight), size=max(1, _most_logits(self._hidden) // BLOCK_TOKENS)):
            self._add(block, with_entropy=with_entropy, with_mean=with_mean)

    def _add(self, block: slice, *, with_entropy: bool, with_mean: bool) -> None:
        weight, bias = self._weight[block], None if self._bias is None else self._bias[block]
        logits = _logits(self._hidden, weight, bias, self._temperature)
        here, place = _places_in(block, self._tokens, width=logits.shape[1])
        self.of_token = torch.where(here.squeeze(1), logits.gather(1, place).squeeze(1), self.of_token)
        largest = torch.maximum(self._largest, logits.amax(dim=1))
        fallen = self._largest - largest
        kept = fallen.exp()
        self._largest = largest
        logits -= largest[:, None]
        if with_entropy:
            shares = logits.exp()
            distances = logits.clamp_(min=torch.finfo(logits.dtype).min).mul_(shares).sum(dim=1)
            # subtle: at first nothing is summed yet, and the first largest logit is no logit
            self.of_distances = torch.where(self.total > 0, (self.of_distances + fallen * self.total) * kept, 0.0)
            self.of_distances += distances
        else:
            shares = logits.exp_()
        self.total = self.total * kept + shares.sum(dim=1)
        if with_mean:
            self.of_weights *= kept[:, None]
            self.of_weights += shares.to(weight.dtype) @ weight


def _places_in(block: slice, tokens: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
    """Which tokens are in this part of the vocabulary, and the place of each there (any place for the others), both
    (num_tokens, 1)."""
    place = tokens[:, None] - block.start
    return (place >= 0) & (place < width), place.clamp(0, width - 1)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias).float()
    return logits if temperature == 1.0 else logits / temperature


def _most_logits(hidden: Tensor) -> int:
    return CHUNK_LOGITS * (1 if hidden.device.type == "cpu" else _ACCELERATED)


def _parts(length: int, *, size: int) -> list[slice]:
    return [slice(at, at + size) for at in range(0, length, size)]
