"""Which prompts, which order, which sequences together: every choice a function of (seed, step, ...).

Makes right-padded token-budget micro-batches. Uses no global random state and knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class TokenSequence(NamedTuple):
    """A prompt and its response as token ids; neither is empty."""

    prompt_ids: list[int]
    response_ids: list[int]


class PaddedBatch(NamedTuple):
    """Sequences as tensors, prompts and responses flush left, padded on the right."""

    input_ids: Tensor
    """(batch, longest sequence)"""
    predicting: Tensor
    """(batch, longest response): column of `input_ids` whose logits predict that response token."""
    response_mask: Tensor
    """(batch, longest response): True on real response tokens, the stop token among them."""


def permutation(size: int, *, key: tuple[int | str, ...]) -> list[int]:
    """A permutation of range(size), a function of the key alone."""
    digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return [int(index) for index in generator.permutation(size)]


def prompts_of_step(num_prompts: int, *, seed: int, step: int, num_prompts_per_step: int) -> list[int]:
    """Indices of a step's prompts: all prompts come once, in a new order each time round."""
    start = step * num_prompts_per_step
    orders: dict[int, list[int]] = {}
    chosen = []
    for position in range(start, start + num_prompts_per_step):
        lap, place = divmod(position, num_prompts)
        if lap not in orders:
            orders[lap] = permutation(num_prompts, key=(seed, "prompts", lap))
        chosen.append(orders[lap][place])
    return chosen


def mini_batches(num_episodes: int, *, num_mini_batches: int, key: tuple[int | str, ...]) -> list[list[int]]:
    """A permutation of the episodes, cut into parts of like size; fewer parts if episodes were dropped."""
    order = permutation(num_episodes, key=key)
    parts = np.array_split(np.array(order), min(num_mini_batches, num_episodes))
    return [[int(index) for index in part] for part in parts]


def micro_batches(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Group sequences of like length so that each group, padded to its longest, holds about `max_tokens`."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if not groups or (len(groups[-1]) + 1) * lengths[index] > max_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups


def pad_batch(sequences: Sequence[TokenSequence], *, pad_id: int, device: torch.device) -> PaddedBatch:
    """Right-pad. The mask comes from lengths, never from comparing ids with the pad id."""
    rows = [prompt_ids + response_ids for prompt_ids, response_ids in sequences]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows])
    prompt_lengths = torch.tensor([len(sequence.prompt_ids) for sequence in sequences])
    response_lengths = torch.tensor([len(sequence.response_ids) for sequence in sequences])
    offsets = torch.arange(int(response_lengths.max()))
    mask = offsets < response_lengths[:, None]
    predicting = (prompt_lengths[:, None] - 1 + offsets).masked_fill(~mask, 0)
    return PaddedBatch(ids.to(device), predicting.to(device), mask.to(device))
