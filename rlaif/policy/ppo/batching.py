"""Which prompts a step has, in which order, and which sequences are computed together.

Every choice is a function of (seed, step, ...): no global random state. Makes right-padded micro-batches within a
budget of tokens. Knows no model.
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
    """Prompts as lists, and responses as one tensor, padded on the right."""

    prompts: list[list[int]]
    response_ids: Tensor
    """(batch, longest response)"""
    response_mask: Tensor
    """(batch, longest response): True on real response tokens, the stop token among them."""
    pad_id: int
    frozen: list[Tensor] | None = None
    """For each row (len(prompt) + len(response), hidden_size), the output of the untrained layers; None: they are run
    again in each pass."""
    ends_unread: bool = False
    """True where each row's last token only marks that the state before it is wanted. No model reads that token, so it
    needs no room in the context."""


def permutation(size: int, *, key: tuple[int | str, ...]) -> list[int]:
    """A permutation of range(size) that the key alone fixes."""
    digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return [int(index) for index in generator.permutation(size)]


def prompts_of_step(num_prompts: int, *, seed: int, step: int, num_prompts_per_step: int) -> list[int]:
    """Indices of a step's prompts. Each prompt comes once before any comes again, in a new order each time."""
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
    """A permutation of the episodes, cut into parts of like size; fewer parts than episodes where few are left."""
    order = permutation(num_episodes, key=key)
    parts = np.array_split(np.array(order), min(num_mini_batches, num_episodes))
    return [[int(index) for index in part] for part in parts]


def micro_batches(sequences: Sequence[TokenSequence], *, max_tokens: int) -> list[list[int]]:
    """Groups of about `max_tokens` tokens. Responses to one prompt stay together, and the prompt is computed once.

    Where no prompt has two responses, sequences of like length stay together.
    """
    prompts = {tuple(sequence.prompt_ids) for sequence in sequences}
    if len(prompts) == len(sequences):
        order = sorted(range(len(sequences)), key=lambda i: (sum(map(len, sequences[i])), i))
    else:
        order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i].prompt_ids), sequences[i].prompt_ids, i))
    groups: list[list[int]] = []
    prompt: list[int] | None = None
    room = 0
    for index in order:
        prompt_ids, response_ids = sequences[index]
        cost = len(response_ids) + (0 if prompt_ids == prompt else len(prompt_ids))
        if not groups or cost > room:
            groups.append([])
            cost, room = len(prompt_ids) + len(response_ids), max_tokens
        groups[-1].append(index)
        prompt, room = prompt_ids, room - cost
    return groups


def groups_of_like_length(lengths: Sequence[int], *, max_tokens: int | None = None) -> list[list[int]]:
    """Rows to pad together: a group's longest has at most 1.5 times the tokens of its shortest, plus four.

    `max_tokens`: about the most tokens in a group, padding included.
    """
    groups: list[list[int]] = []
    shortest = 0
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        is_full = max_tokens is not None and bool(groups) and (len(groups[-1]) + 1) * lengths[row] > max_tokens
        if not groups or is_full or lengths[row] > 1.5 * shortest + 4:
            groups.append([])
            shortest = lengths[row]
        groups[-1].append(row)
    return groups


def pad_batch(
    sequences: Sequence[TokenSequence], *, pad_id: int, device: torch.device, frozen: list[Tensor] | None = None
) -> PaddedBatch:
    """A batch padded on the right. The mask comes from lengths, never from comparing ids with the pad id."""
    responses = [sequence.response_ids for sequence in sequences]
    longest = max(map(len, responses))
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids in responses], device=device)
    lengths = torch.tensor([len(ids) for ids in responses], device=device)
    mask = torch.arange(longest, device=device) < lengths[:, None]
    return PaddedBatch([sequence.prompt_ids for sequence in sequences], ids, mask, pad_id, frozen)
