"""Prompts' states -> rows that are continued token by token, several over one copy of what they share.

Rows are grouped into packs. A pack has one cache, and a mask says which of its tokens belong to each row. Runs the
forward pass of a step; draws no token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from rlaif.models.local.kv_cache import GrowingLayer, PromptStates, take_tokens
from rlaif.models.local.prefix_tree import pack_rows
from rlaif.models.local.tree_pass import TreeStates, additive_mask

_DENSE = 0.75
"""Share of a batch's places that must still be in use; below it the batch is packed again."""


class Branches:
    """The rows that are still continued, in the order in which the caller keeps them."""

    def __init__(
        self, layers: Sequence[GrowingLayer], visible: Tensor, *,
        places: Tensor, lengths: Tensor, steps: int, is_packed: bool,
    ) -> None:  # fmt: skip
        """visible: (packs, width, filled), True where a cached token belongs to a row.

        places, lengths: (rows,), each row's place among all packs' rows, and its next token's position.
        steps: tokens that a row may still get. is_packed: several rows may share a pack, under any mask; otherwise
        each row is a pack, and the model makes its mask from where the rows begin.
        """
        self._cache = DynamicCache()
        self._cache.layers.extend(layers)
        self._visible, self._filled = visible, visible.shape[2]
        self._places, self._lengths, self._steps, self._is_packed = places, lengths, steps, is_packed
        self._own = torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
        self._make_room()

    def step(self, model: PreTrainedModel, tokens: Tensor) -> Tensor:
        """Append a token to each row, (rows,); returns the logits after it, (rows, vocab)."""
        packs, width = self._visible.shape[:2]
        ids, positions = (tokens.new_zeros(packs * width) for _ in range(2))
        ids[self._places], positions[self._places] = tokens, self._lengths
        self._visible[:, :, self._filled : self._filled + width] = self._own
        self._filled += width
        self._lengths = self._lengths + 1
        self._steps -= 1
        logits: Tensor = model(
            input_ids=ids.view(packs, width),
            attention_mask=self._mask(model.dtype),
            position_ids=positions.view(packs, width),
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        return logits.flatten(0, 1)[self._places]

    def keep(self, alive: NDArray[np.bool_]) -> None:
        """Keep some of the rows and drop the others; a batch that has become sparse is packed again."""
        kept = torch.from_numpy(alive).to(self._places.device)
        self._places, self._lengths = self._places[kept], self._lengths[kept]
        packs, width = self._visible.shape[:2]
        if len(self._places) > _DENSE * packs * width:
            return
        pack_of = self._places // width
        rows, of_row, counts = torch.unique(pack_of, return_inverse=True, return_counts=True)
        rank = _rank_within(of_row)
        new_width = int(counts.max())
        # A place without a row sees what its pack's first row sees.
        source = torch.zeros((len(rows), new_width), dtype=torch.long, device=rows.device)
        source[of_row, rank] = self._places % width
        source = torch.where(torch.arange(new_width, device=rows.device) < counts[:, None], source, source[:, :1])
        if len(rows) * new_width > _DENSE * packs * width:
            return
        visible = self._visible[rows[:, None], source, : self._filled]
        columns = torch.arange(self._filled, device=rows.device).expand(len(rows), -1)
        if self._is_packed:  # drop tokens that no row sees any more
            used = visible.any(dim=1)
            columns = (~used).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(used.sum(dim=1).max())]
            visible = visible.gather(2, columns[:, None].expand(-1, new_width, -1))
        room = self._steps * new_width
        for number, layer in enumerate(self._layers):  # one by one, so that only one layer exists twice
            self._cache.layers[number] = layer.taken(rows, columns, room=room)
        self._visible, self._filled = visible, visible.shape[2]
        self._places = of_row * new_width + rank
        self._own = self._own[:new_width, :new_width]
        self._make_room()

    @property
    def _layers(self) -> Iterator[GrowingLayer]:
        return (layer for layer in self._cache.layers if isinstance(layer, GrowingLayer))

    def _make_room(self) -> None:
        self._visible = torch.nn.functional.pad(self._visible, (0, self._steps * self._visible.shape[1]))

    def _mask(self, dtype: torch.dtype) -> Tensor:
        visible = self._visible[:, :, : self._filled]
        return additive_mask(visible[:, None], dtype) if self._is_packed else visible[:, 0].long()


def branch_tree(states: TreeStates, *, steps: int, more: int = 0) -> Branches:
    """Rows for all prompts of a tree; prompts with much in common share a pack.

    more: tokens that a row may get beyond `steps`; they do not count when the packs are chosen.
    """
    tree = states.tree
    packs = pack_rows(tree, new_tokens=steps)
    width = max(len(rows) for rows in packs)
    unions = [_union([states.paths[tree.leaves[row]] for row in rows]) for rows in packs]
    filled = max(len(union) for union in unions)
    index = np.zeros((len(packs), filled), dtype=np.int64)
    visible = np.zeros((len(packs), width, filled), dtype=bool)
    places = np.zeros(len(tree.leaves), dtype=np.int64)
    for number, (rows, union) in enumerate(zip(packs, unions, strict=True)):
        index[number, : len(union)] = union
        for column, row in enumerate(rows):
            path = states.paths[tree.leaves[row]]
            visible[number, column, np.searchsorted(union, path)] = True
            places[row] = number * width + column
        visible[number, len(rows) :] = visible[number, 0]
    device = states.logits.device
    lengths = np.array([tree.stretches[leaf].end for leaf in tree.leaves])
    read = torch.from_numpy(index).to(device)
    return Branches(
        [
            GrowingLayer(take_tokens(keys, read), take_tokens(values, read), room=(steps + more) * width)
            for keys, values in states.layers
        ],
        torch.from_numpy(visible).to(device),
        places=torch.from_numpy(places).to(device),
        lengths=torch.from_numpy(lengths).to(device),
        steps=steps + more,
        is_packed=True,
    )  # fmt: skip


def branch_prompts(states: PromptStates, *, steps: int) -> Branches:
    """A row per prompt, each with a separate copy of its prompt's states."""
    rows = states.places
    return Branches(
        [
            GrowingLayer(keys.index_select(0, rows), values.index_select(0, rows), room=steps)
            for keys, values in states.layers
        ],
        states.mask_for(rows, room=0).bool()[:, None],
        places=torch.arange(len(rows), device=rows.device),
        lengths=states.lengths[rows],
        steps=steps,
        is_packed=False,
    )


def _union(paths: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Tokens of all paths, sorted: a tree lists parents before children, so a path is sorted too."""
    return paths[0] if len(paths) == 1 else np.unique(np.concatenate(paths))


def _rank_within(groups: Tensor) -> Tensor:
    """(rows,) -> how many rows of the same group stand before each."""
    order = groups.argsort(stable=True)
    ordered = groups[order]
    first = torch.searchsorted(ordered, ordered)
    rank = torch.empty_like(groups)
    rank[order] = torch.arange(len(groups), device=groups.device) - first
    return rank
