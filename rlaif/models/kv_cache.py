"""Prompts -> a filled KV cache with room for what will be decoded, and the logits after each prompt.

Equal prompts are computed once, prompts of like length together. Draws no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from rlaif.errors import ModelError

PREFILL_TOKENS = 4096
"""Prompt tokens in one forward pass: [M] at 16384 a prompt takes 1.5 times as long on a CPU."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values in a buffer with room for all tokens to come: no copy per token."""

    def __init__(self, keys: Tensor, values: Tensor, *, num_rows: int, filled: int, room: int) -> None:
        """keys, values: (any, heads, any, head_dim), for their shape and kind only."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        # subtle: zeros, because attention multiplies what the mask hides by 0, and 0 * NaN is NaN
        self._buffers = [
            states.new_zeros((num_rows, states.shape[1], filled + room, states.shape[3])) for states in (keys, values)
        ]
        self._show(filled)

    def _show(self, filled: int) -> None:
        self._filled = filled
        self.keys, self.values = (buffer[:, :, :filled] for buffer in self._buffers)

    def fill(self, rows: list[int], keys: Tensor, values: Tensor) -> None:
        """Put (len(rows), heads, length, head_dim) at the right end of what is filled."""
        for buffer, states in zip(self._buffers, (keys, values), strict=True):
            buffer[rows, :, self._filled - states.shape[2] : self._filled] = states

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        end = self._filled + key_states.shape[2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._filled : end] = states
        self._show(end)
        keys, values = (buffer[:, :, :end] for buffer in self._buffers)
        return keys, values

    def batch_select_indices(self, indices: Tensor) -> None:
        self._buffers = [buffer.index_select(0, indices) for buffer in self._buffers]
        self._show(self._filled)


class Prefilled(NamedTuple):
    logits: Tensor
    """(batch, vocab), after each prompt's last token."""
    cache: DynamicCache
    """All prompts end at one column; columns before a shorter prompt are to be masked."""


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, room: int, pad_id: int) -> Prefilled:
    """Run the prompts and keep `room` columns free behind them.

    Within a forward pass prompts are padded on the right: a causal model needs no mask there, because no
    real token sees a pad that comes after it. In the cache they are aligned to the right.
    """
    if getattr(model, "_is_stateful", False):
        name = type(model).__name__
        raise ModelError(f"{name} keeps a recurrent state", fix="use a model with attention in all layers")
    device = next(model.parameters()).device
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows_of.setdefault(tuple(prompt), []).append(row)
    longest = max(map(len, rows_of))
    logits = torch.empty(0)
    layers: list[GrowingLayer] = []
    for chunk in _chunks_of_like_length(sorted(rows_of, key=len)):
        lengths = sorted({len(prompt) for prompt in chunk})
        ids = [list(prompt) + [pad_id] * (lengths[-1] - len(prompt)) for prompt in chunk]
        out = model(
            input_ids=torch.tensor(ids, device=device),
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=torch.tensor(lengths, device=device) - 1,
        )
        states = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        if not layers:
            logits = out.logits.new_empty((len(prompts), out.logits.shape[-1]))
            layers = [
                GrowingLayer(keys, values, num_rows=len(prompts), filled=longest, room=room) for keys, values in states
            ]
        for at, length in enumerate(lengths):
            pairs = [(i, row) for i, prompt in enumerate(chunk) if len(prompt) == length for row in rows_of[prompt]]
            source, rows = [i for i, _ in pairs], [row for _, row in pairs]
            logits[rows] = out.logits[source, at]
            for layer, (keys, values) in zip(layers, states, strict=True):
                layer.fill(rows, keys[source, :, :length], values[source, :, :length])
    cache = DynamicCache()
    cache.layers = list(layers)
    return Prefilled(logits, cache)


def _chunks_of_like_length(prompts: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Split prompts, sorted by length, so that a chunk padded to its longest holds about PREFILL_TOKENS."""
    chunks: list[list[tuple[int, ...]]] = []
    for prompt in prompts:
        if not chunks or (len(chunks[-1]) + 1) * len(prompt) > PREFILL_TOKENS:
            chunks.append([])
        chunks[-1].append(prompt)
    return chunks
