"""Token ids of prompts -> a tree of the stretches that they share, and which stretches are run side by side.

A stretch is computed once, however many prompts contain it. Knows no template: shared stretches are found in the ids.
Runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

MIN_SAVED = 16
"""Tokens that a shared stretch must save to be run separately: each level of the tree is one more forward pass."""
MAX_LEVELS = 8
WIDTHS = (1, 2, 4, 8, 16)
_ROW_COST, _COLUMN_COST, _CELL_COST = 20.0, 0.33, 0.05
"""[M] Microseconds of a decoding step on a CPU: a row's matrix products, a cached token read for a pack, and
that token met by one row of the pack."""


class Stretch(NamedTuple):
    """Tokens that all prompts below the stretch share, after those of its parent."""

    tokens: tuple[int, ...]
    start: int
    """Position of its first token."""
    parent: int
    """Place of the parent in the tree's list; -1 for a stretch that begins prompts."""
    level: int

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class PrefixTree(NamedTuple):
    stretches: list[Stretch]
    """Parents before their children. No stretch of a prompt is empty."""
    leaves: list[int]
    """The stretch that ends each prompt, in the order of the prompts; equal prompts share it."""


def build_tree(prompts: Sequence[Sequence[int]], *, min_saved: int = MIN_SAVED) -> PrefixTree:
    """A tree of the prompts' shared beginnings; no prompt may be empty."""
    different = sorted({tuple(prompt) for prompt in prompts})
    shared = _num_shared(different)
    stretches: list[Stretch] = []
    leaf_of: dict[tuple[int, ...], int] = {}
    waiting = [(0, len(different), 0, -1, 0)]
    while waiting:
        low, high, start, parent, level = waiting.pop()
        if high - low == 1:
            leaf_of[different[low]] = len(stretches)
            stretches.append(Stretch(different[low][start:], start, parent, level))
            continue
        end = min(shared[low + 1 : high])
        cuts = [at for at in range(low + 1, high) if shared[at] == end]
        if level < MAX_LEVELS - 1 and (end - start) * len(cuts) >= min_saved:
            stretches.append(Stretch(different[low][start:end], start, parent, level))
            start, parent, level = end, len(stretches) - 1, level + 1
        bounds = [(a, b, start, parent, level) for a, b in pairwise((low, *cuts, high))]
        waiting.extend(reversed(bounds))
    return PrefixTree(stretches, [leaf_of[tuple(prompt)] for prompt in prompts])


def _num_shared(prompts: Sequence[Sequence[int]]) -> list[int]:
    """How many first tokens each prompt has in common with the one before it.

    At most all tokens of the shorter one but the last, so that each prompt keeps a token that it does not share.
    """
    lengths = np.array([len(prompt) for prompt in prompts])
    ids = np.full((len(prompts), int(lengths.max()) + 1), -1)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.fromiter(chain.from_iterable(prompts), dtype=np.int64)
    ids[1::2, -1] = -2  # rows that are equal up to their padding differ in this last column
    shared = (ids[1:] != ids[:-1]).argmax(axis=1)
    found: list[int] = np.minimum(shared, np.minimum(lengths[1:], lengths[:-1]) - 1).tolist()
    return [0, *found]


def pack_stretches(tree: PrefixTree, level: int) -> list[list[int]]:
    """Groups of a level's stretches; a group has one parent and is run in one row, one stretch after the other.

    A row reads its parent's states once. Each token also meets those of the row's other stretches, which are masked;
    so the stretches together are no longer than the parent's path.
    """
    packs: list[list[int]] = []
    room, last = 0, -1
    for place, stretch in enumerate(tree.stretches):
        if stretch.level != level:
            continue
        if stretch.parent < 0 or stretch.parent != last or len(stretch.tokens) > room:
            packs.append([])
            room, last = stretch.start, stretch.parent
        packs[-1].append(place)
        room -= len(stretch.tokens)
    return packs


def pack_rows(tree: PrefixTree, *, new_tokens: int) -> list[list[int]]:
    """Packs of prompts; a pack is continued over one copy of what its prompts share.

    Narrow packs read shared states more often; in wide packs each row meets more tokens of the others. The width is
    the one with the cheapest step, at the middle of a reply of half the greatest length.
    """
    lineages = [_lineage(tree, leaf) for leaf in tree.leaves]
    order = sorted(range(len(tree.leaves)), key=lambda row: (tree.leaves[row], row))  # neighbours have most in common
    choices = [_cut(tree, lineages, order, width=width) for width in WIDTHS]
    return min(choices, key=lambda packs: _step_cost(tree, lineages, packs, own=new_tokens / 4))


def _lineage(tree: PrefixTree, leaf: int) -> list[int]:
    """The stretches of a prompt, from its first to its last."""
    found = []
    while leaf >= 0:
        found.append(leaf)
        leaf = tree.stretches[leaf].parent
    return found[::-1]


def _cut(tree: PrefixTree, lineages: Sequence[Sequence[int]], order: Sequence[int], *, width: int) -> list[list[int]]:
    """Rows in packs of at most `width`; no pack whose rows have less than half of a prompt in common."""
    packs: list[list[int]] = []
    for row in order:
        if packs and len(packs[-1]) < width:
            together = [a for a, b in zip(lineages[packs[-1][0]], lineages[row], strict=False) if a == b]
            shared = tree.stretches[together[-1]].end if together else 0
            if 2 * shared >= tree.stretches[tree.leaves[row]].end:
                packs[-1].append(row)
                continue
        packs.append([row])
    return packs


def _step_cost(
    tree: PrefixTree, lineages: Sequence[Sequence[int]], packs: Sequence[Sequence[int]], *, own: float
) -> float:
    width = max(len(rows) for rows in packs)
    columns = sum(
        sum(len(tree.stretches[place].tokens) for place in {place for row in rows for place in lineages[row]})
        + own * len(rows)
        for rows in packs
    )
    return len(packs) * width * _ROW_COST + columns * (_COLUMN_COST + _CELL_COST * width)
