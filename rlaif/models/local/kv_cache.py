"""Prompts -> their keys and values, computed once per different prompt, for any number of continuations.

Serves decoding, and training on several responses to one prompt: gradients flow through it. Draws no token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from rlaif.errors import ModelError

PREFILL_TOKENS = 2048
"""Prompt tokens in one forward pass on a CPU: [M] at 8192 a prompt takes 1.25 times as long."""
_ACCELERATED = 8
"""How many times more on an accelerator, which small passes leave idle."""


@dataclass(frozen=True)
class PromptStates:
    """A model's states after different prompts. All tensors are (num_different, ...)."""

    logits: Tensor
    """(num_different, vocab), after each prompt's last token."""
    hidden: Tensor | None
    """(num_different, hidden_size), the trunk's output after each prompt's last token; None unless asked for."""
    lengths: Tensor
    """(num_different,), in tokens."""
    layers: list[tuple[Tensor, Tensor]]
    """Keys and values per layer, (num_different, heads, longest, head_dim). All prompts end in the last
    column; columns before a shorter one must be masked."""
    places: Tensor
    """(num_prompts,): the place of each given prompt among the different ones."""

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    def cache_for(self, places: Tensor) -> DynamicCache:
        """A cache with a row per place, through which gradients flow."""
        cache = DynamicCache()
        for keys, values in self.layers:
            cache.layers.append(_filled_layer(keys.index_select(0, places), values.index_select(0, places)))
        return cache

    def mask_for(self, places: Tensor, *, room: int) -> Tensor:
        """(len(places), longest + room) attention mask: 1 on the prompts' tokens and all that follow, else 0."""
        columns = torch.arange(self.longest + room, device=places.device)
        return (columns >= self.longest - self.lengths[places][:, None]).long()


def run_prompts(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    pad_id: int,
    with_hidden: bool = False,
    enter: Callable[[Sequence[tuple[int, ...]]], AbstractContextManager[None]] = lambda chunk: nullcontext(),
) -> PromptStates:
    """One pass over the different prompts, in chunks of like length.

    Within a chunk prompts are padded on the right: a causal model needs no mask there, because no real
    token sees a pad that comes after it.
    enter: gives for a chunk's prompts the context in which the model is run, such as `layers.entered_at`.
    """
    if getattr(model, "_is_stateful", False):
        name = type(model).__name__
        raise ModelError(f"{name} keeps a recurrent state", fix="use a model with attention in all layers")
    device = next(model.parameters()).device
    different = sorted({tuple(prompt) for prompt in prompts}, key=lambda prompt: (len(prompt), prompt))
    longest = len(different[-1])
    logits, hidden = [], []
    layers: list[list[tuple[Tensor, Tensor]]] = []
    for chunk in _chunks_of_like_length(different, most=prefill_tokens(device)):
        lengths = [len(prompt) for prompt in chunk]
        kept = sorted(set(lengths))
        ids = [list(prompt) + [pad_id] * (kept[-1] - len(prompt)) for prompt in chunk]
        with enter(chunk):
            out = model(
                input_ids=torch.tensor(ids, device=device),
                past_key_values=DynamicCache(),
                use_cache=True,
                output_hidden_states=with_hidden,
                logits_to_keep=torch.tensor(kept, device=device) - 1,
            )
        rows = torch.arange(len(chunk), device=device)
        logits.append(out.logits[rows, torch.tensor([kept.index(n) for n in lengths], device=device)])
        if with_hidden:
            hidden.append(out.hidden_states[-1][rows, torch.tensor(lengths, device=device) - 1])
        layers.append(
            [
                (_align_right(x.keys, lengths, longest), _align_right(x.values, lengths, longest))
                for x in out.past_key_values.layers
            ]
        )
    place_of = {prompt: place for place, prompt in enumerate(different)}
    return PromptStates(
        logits=torch.cat(logits),
        hidden=torch.cat(hidden) if with_hidden else None,
        lengths=torch.tensor([len(prompt) for prompt in different], device=device),
        layers=[
            (torch.cat([keys for keys, _ in parts]), torch.cat([values for _, values in parts]))
            for parts in zip(*layers, strict=True)
        ],
        places=torch.tensor([place_of[tuple(prompt)] for prompt in prompts], device=device),
    )


def _align_right(states: Tensor, lengths: Sequence[int], longest: int) -> Tensor:
    """states: (chunk, heads, width, head_dim), rows of ascending `lengths` -> (chunk, heads, longest, head_dim)."""
    parts = []
    for length in sorted(set(lengths)):
        first = lengths.index(length)
        same = states[first : first + lengths.count(length), :, :length]
        # subtle: zeros, because attention multiplies what the mask hides by 0, and 0 * NaN is NaN
        parts.append(pad(same, (0, 0, longest - length, 0)))
    return torch.cat(parts)


def prefill_tokens(device: torch.device) -> int:
    return PREFILL_TOKENS if device.type == "cpu" else _ACCELERATED * PREFILL_TOKENS


def _chunks_of_like_length(prompts: list[tuple[int, ...]], *, most: int) -> list[list[tuple[int, ...]]]:
    """Split prompts, sorted by length, so that a chunk padded to its longest holds about `most` tokens."""
    chunks: list[list[tuple[int, ...]]] = []
    for prompt in prompts:
        if not chunks or (len(chunks[-1]) + 1) * len(prompt) > most:
            chunks.append([])
        chunks[-1].append(prompt)
    return chunks


def _filled_layer(keys: Tensor, values: Tensor) -> DynamicLayer:
    layer = DynamicLayer()  # type: ignore[no-untyped-call]
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values in a buffer with room for all tokens to come: no copy per token."""

    def __init__(self, keys: Tensor, values: Tensor, *, room: int) -> None:
        """keys, values: (batch, heads, filled, head_dim)."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        # All heads of a token lie together in memory, so that a token is copied in one piece.
        # `pad` would work, but would also write the room
        self._buffers = [
            states.new_empty((states.shape[0], states.shape[2] + room, states.shape[1], states.shape[3]))
            for states in (keys, values)
        ]
        self._filled = 0
        self.update(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        end = self._filled + key_states.shape[2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, self._filled : end] = states.transpose(1, 2)
        self._filled = end
        return self._show()

    @classmethod
    def gathered(cls, keys: Tensor, values: Tensor, index: Tensor, *, filled: int) -> GrowingLayer:
        """A layer with the tokens that a (batch, filled + room) index names; columns beyond `filled` are room.

        keys, values: (num_tokens, heads, head_dim).
        """
        layer = cls.__new__(cls)
        DynamicLayer.__init__(layer)  # type: ignore[no-untyped-call]
        buffers = []
        for states in (keys, values):
            # the room is not written, so that memory is used only for tokens that do come
            buffer = states.new_empty((*index.shape, *states.shape[1:]))
            buffer[:, :filled] = take_tokens(states, index[:, :filled]).transpose(1, 2)
            buffers.append(buffer)
        layer.lazy_initialization(*buffers)
        layer._buffers, layer._filled = buffers, filled
        layer._show()
        return layer

    def taken(self, rows: Tensor, columns: Tensor, *, room: int) -> GrowingLayer:
        """A new layer with some tokens of some rows; rows: (kept,), columns: (kept, filled)."""
        index = rows[:, None] * self._buffers[0].shape[1] + columns
        return GrowingLayer(*(take_tokens(buffer.flatten(0, 1), index) for buffer in self._buffers), room=room)

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, : self._filled].transpose(1, 2) for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def take_tokens(states: Tensor, index: Tensor) -> Tensor:
    """states: (num_tokens, heads, head_dim), index: (rows, columns) -> (rows, heads, columns, head_dim)."""
    return states.index_select(0, index.flatten()).view(*index.shape, *states.shape[1:]).transpose(1, 2)
