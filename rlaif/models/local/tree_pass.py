"""A tree of shared prompt beginnings -> its keys and values, each token computed once, and the last logits.

Runs level by level: a stretch is run over the states of the stretches before it, with its siblings in one row and a
mask between them. Draws no token and takes no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from rlaif.models.local.kv_cache import GrowingLayer, prefill_tokens
from rlaif.models.local.prefix_tree import PrefixTree, pack_stretches

ALIGNED = 16
"""[M] Attention over a multiple of so many tokens takes a fifth less time on a CPU."""

UNEVEN = 1.3
"""Ratio of a pass's longest row to its shortest from which a new pass costs less than the padding."""


@dataclass(frozen=True)
class TreeStates:
    """A model's states after the stretches of a tree."""

    tree: PrefixTree
    logits: Tensor
    """(num_different_prompts, vocab), after the last token of each prompt."""
    row_of: dict[int, int]
    """From the stretch that ends a prompt to the row of its logits."""
    layers: list[tuple[Tensor, Tensor]]
    """Keys and values per layer, (num_kept, heads, head_dim), in the order of the stretches."""
    paths: list[NDArray[np.int64]]
    """For each stretch, the kept tokens from the prompt's first one to the stretch's last. The stretch's own tokens are
    missing where they are not kept."""
    outputs: Tensor | None = None
    """(num_kept, width), the model's output after each kept token; None unless asked for."""


class _Level(NamedTuple):
    """The input of one forward pass: (packs, width) arrays, and a mask over the path's columns and their own."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    mask: NDArray[np.float32]
    """(packs, width, path + width): 0 where a token sees another, the lowest number elsewhere."""
    paths: NDArray[np.int64]
    """(packs, path + width): the tokens that are read from the states; any number in the packs' own columns."""
    tokens: NDArray[np.int64]
    """(packs, width): which tokens of the tree these are; -1 for padding."""
    ends: int
    """How many of the last columns hold the stretches' last tokens."""


@torch.no_grad()
def run_tree(
    model: PreTrainedModel, tree: PrefixTree, *, pad_id: int, with_leaves: bool = True, with_outputs: bool = False
) -> TreeStates:
    """Keys, values and last logits of all stretches; `with_leaves` False leaves out the prompts' own states.

    with_outputs: keep the output after every token instead of the logits after the prompts; for a model whose head is
    replaced, or the memory would hold logits of all tokens.
    """
    sizes = [len(stretch.tokens) for stretch in tree.stretches]
    unread = frozenset() if with_leaves else frozenset(tree.leaves)
    paths: list[NDArray[np.int64]] = []
    num_kept = 0
    for place, stretch in enumerate(tree.stretches):
        own = np.arange(num_kept, num_kept + (0 if place in unread else sizes[place]))
        paths.append(own if stretch.parent < 0 else np.concatenate([paths[stretch.parent], own]))
        num_kept += len(own)
    most = prefill_tokens(next(model.parameters()).device)
    run = _Run(
        model, tree, paths, pad_id=pad_id, unread=unread, num_kept=num_kept, with_outputs=with_outputs
    )  # fmt: skip
    for level in range(1 + max(stretch.level for stretch in tree.stretches)):
        for chunk in _chunks_of_like_size(pack_stretches(tree, level), sizes, most=most):
            run.roots(chunk) if level == 0 else run.branches(chunk)
    assert run.logits is not None
    return TreeStates(tree, run.logits, run.row_of, run.layers, paths=paths, outputs=run.outputs)


class _Run:
    """Fills a tree's states, chunk by chunk."""

    def __init__(
        self, model: PreTrainedModel, tree: PrefixTree, paths: Sequence[NDArray[np.int64]], *, pad_id: int,
        unread: frozenset[int], num_kept: int, with_outputs: bool,
    ) -> None:  # fmt: skip
        """unread: stretches whose own states are not kept. num_kept: number of tokens in the other stretches."""
        self._model, self._stretches, self._paths, self._pad_id = model, tree.stretches, paths, pad_id
        self._unread, self._num_kept, self._with_outputs = unread, num_kept, with_outputs
        self._device = next(model.parameters()).device
        self._hidden = np.float32(torch.finfo(model.dtype).min)
        longest = max((len(stretch.tokens) for stretch in tree.stretches if stretch.parent >= 0), default=0)
        self._causal = np.where(np.tri(longest, dtype=bool), np.float32(0), self._hidden)
        self.row_of = {leaf: row for row, leaf in enumerate(dict.fromkeys(tree.leaves))}
        self.layers: list[tuple[Tensor, Tensor]] = []
        self.logits: Tensor | None = None
        self.outputs: Tensor | None = None

    def roots(self, chunk: Sequence[Sequence[int]]) -> None:
        """Run stretches that begin prompts, one per row, padded on the right, where a causal model needs no mask."""
        places = [pack[0] for pack in chunk]
        lengths = [len(self._stretches[place].tokens) for place in places]
        kept = sorted(set(lengths))
        ids = np.full((len(places), kept[-1]), self._pad_id)
        tokens = np.full_like(ids, -1)
        for row, (place, length) in enumerate(zip(places, lengths, strict=True)):
            ids[row, :length] = self._stretches[place].tokens
            if place not in self._unread:
                tokens[row, :length] = self._paths[place]
        out = self._model(
            input_ids=self._tensor(ids),
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=0 if self._with_outputs else self._tensor(np.array(kept)) - 1,
        )
        self._store(out.past_key_values, tokens, before=0)
        self._keep_outputs(out.logits, tokens)
        self._keep_logits(places, out.logits, list(enumerate(kept.index(length) for length in lengths)))

    def branches(self, chunk: Sequence[Sequence[int]]) -> None:
        """Run stretches over the states of their parents."""
        level, dtype = self._lay_out(chunk), self._model.dtype
        read = level.paths.shape[1] - level.ids.shape[1]
        cache = DynamicCache()
        index = self._tensor(level.paths)
        for keys, values in self.layers:
            cache.layers.append(GrowingLayer.gathered(keys, values, index, filled=read))
        out = self._model(
            input_ids=self._tensor(level.ids),
            attention_mask=self._tensor(level.mask)[:, None].to(dtype),
            position_ids=self._tensor(level.positions),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=0 if self._with_outputs else level.ends,
        )
        self._store(cache, level.tokens, before=read)
        self._keep_outputs(out.logits, level.tokens)
        places = [place for pack in chunk for place in pack]
        cells = [(row, column) for row, pack in enumerate(chunk) for column in range(len(pack))]
        self._keep_logits(places, out.logits, cells)

    def _lay_out(self, chunk: Sequence[Sequence[int]]) -> _Level:
        """Lay a pack's stretches out one after the other, with their last tokens in the last columns."""
        stretches = self._stretches
        ends = max(len(pack) for pack in chunk)
        body = max(sum(len(stretches[place].tokens) - 1 for place in pack) for pack in chunk)
        read = max(stretches[pack[0]].start for pack in chunk)
        read += -(read + body + ends) % ALIGNED
        shape = (len(chunk), body + ends)
        ids, positions, tokens = np.full(shape, self._pad_id), np.zeros(shape, dtype=np.int64), np.full(shape, -1)
        mask = np.full((*shape, read + body + ends), self._hidden, dtype=np.float32)
        paths = np.zeros(mask.shape[::2], dtype=np.int64)
        for row, pack in enumerate(chunk):
            start = stretches[pack[0]].start
            before = self._paths[stretches[pack[0]].parent]
            paths[row, :start], paths[row, start:] = before, before[0]
            mask[row, :, :start] = 0
            at = 0
            for number, place in enumerate(pack):
                *inner, last = stretches[place].tokens
                own = self._paths[place][start:]
                end, tail = at + len(inner), body + number
                ids[row, at:end], ids[row, tail] = inner, last
                positions[row, at:end], positions[row, tail] = range(start, start + len(inner)), start + len(inner)
                if place not in self._unread:
                    tokens[row, at:end], tokens[row, tail] = own[:-1], own[-1]
                mask[row, at:end, read + at : read + end] = self._causal[: len(inner), : len(inner)]
                mask[row, tail, read + at : read + end] = 0
                mask[row, tail, read + tail] = 0
                at = end
        return _Level(ids=ids, positions=positions, mask=mask, paths=paths, tokens=tokens, ends=ends)

    def _store(self, cache: DynamicCache, tokens: NDArray[np.int64], *, before: int) -> None:
        """Store the keys and values of a pass by token, leaving out the first `before` columns."""
        rows, columns = np.nonzero(tokens >= 0)
        if not len(rows):
            return
        target = self._tensor(tokens[rows, columns])
        cells = self._tensor(rows), self._tensor(columns)
        for number, layer in enumerate(cache.layers):
            assert isinstance(layer, DynamicLayer)
            assert layer.keys is not None
            assert layer.values is not None
            states = [s[:, :, before:].transpose(1, 2)[cells] for s in (layer.keys, layer.values)]
            if number == len(self.layers):
                keys, values = (s.new_empty((self._num_kept, *s.shape[1:])) for s in states)
                self.layers.append((keys, values))
            for stored, new in zip(self.layers[number], states, strict=True):
                stored[target] = new

    def _keep_outputs(self, outputs: Tensor, tokens: NDArray[np.int64]) -> None:
        """Keep the output after every token, (rows, columns, width), by token."""
        rows, columns = np.nonzero(tokens >= 0)
        if not self._with_outputs or not len(rows):
            return
        if self.outputs is None:
            self.outputs = outputs.new_empty((self._num_kept, outputs.shape[-1]))
        self.outputs[self._tensor(tokens[rows, columns])] = outputs[self._tensor(rows), self._tensor(columns)]

    def _keep_logits(self, places: Sequence[int], logits: Tensor, cells: Sequence[tuple[int, int]]) -> None:
        if self.logits is None:
            self.logits = logits.new_zeros((len(self.row_of), logits.shape[-1]))
        row_of = self.row_of
        kept = [(row_of[place], *cell) for place, cell in zip(places, cells, strict=True) if place in row_of]
        if kept:
            into, rows, columns = (self._tensor(np.array(part)) for part in zip(*kept, strict=True))
            self.logits[into] = logits[rows, columns]

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask that every attention implementation takes: 0 where a token is seen, the lowest number elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)


def _chunks_of_like_size(
    packs: Sequence[Sequence[int]], sizes: Sequence[int], *, most: int
) -> list[list[Sequence[int]]]:
    """Packs grouped into passes of about `most` tokens, short packs first; fewer tokens where lengths differ much."""
    size_of = {pack[0]: sum(sizes[place] for place in pack) for pack in packs}
    chunks: list[list[Sequence[int]]] = []
    shortest = 0
    for pack in sorted(packs, key=lambda pack: (size_of[pack[0]], pack[0])):
        size, held = size_of[pack[0]], len(chunks[-1]) if chunks else 0
        too_uneven = size > UNEVEN * shortest and held * shortest > most / 4
        if not held or (held + 1) * size > most or too_uneven:
            chunks.append([])
            shortest = size
        chunks[-1].append(pack)
    return chunks
