"""Token ids of conversations and given responses -> the log-likelihood of each response.

What conversations and responses share is run once, as a tree; logits are made for a few tokens at a time and in
float32. Draws no token and takes no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.models.local.halving import in_halves
from rlaif.models.local.linear_head import find_linear_head, replaced_head
from rlaif.models.local.prefix_tree import build_tree
from rlaif.models.local.share_check import can_share
from rlaif.models.local.tree_pass import run_tree
from rlaif.models.readings import Tokens

_CHUNK_LOGITS = 1 << 20
"""[M] Logits held at once on a CPU: 4 MiB stay in its cache."""
_ACCELERATED = 64


def compute_likelihoods(model: PreTrainedModel, rows: Sequence[Tokens], *, pad_id: int) -> list[float]:
    """sum_t log p(y_t | x, y_<t) of each row's response y after its prompt x, in float64 sums of float32 logs."""

    def run(places: Sequence[int]) -> list[float]:
        return _compute([rows[place] for place in places], model=model, pad_id=pad_id)

    return in_halves(run, range(len(rows)), join=lambda a, b: a + b) if rows else []


@torch.no_grad()
def _compute(rows: Sequence[Tokens], *, model: PreTrainedModel, pad_id: int) -> list[float]:
    head = find_linear_head(model)
    # The last token predicts nothing that is read.
    sequences = [[*row.prompt, *row.response[:-1]] for row in rows]
    shares = can_share(model, longest=max(map(len, sequences)), pad_id=pad_id)
    if head is None:
        return _sum_logprobs(rows, _run_padded(model, sequences, pad_id=pad_id), to_logits=nn.Identity())
    with replaced_head(model, nn.Identity()):
        run = _run_tree if shares else _run_padded
        outputs = run(model, sequences, pad_id=pad_id)
    return _sum_logprobs(rows, outputs, to_logits=head)


class _Outputs(NamedTuple):
    """A model's outputs: hidden states, or logits where its head is no linear layer."""

    table: Tensor
    """(num_outputs, width)"""
    places: list[NDArray[np.int64]]
    """For each row, the place in the table of the output after each of its tokens."""


def _run_tree(model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, pad_id: int) -> _Outputs:
    tree = build_tree(sequences)
    states = run_tree(model, tree, pad_id=pad_id, with_outputs=True)
    assert states.outputs is not None
    return _Outputs(states.outputs, [states.paths[leaf] for leaf in tree.leaves])


def _run_padded(model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, pad_id: int) -> _Outputs:
    """One plain pass, padded on the right, where a causal model needs no mask."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad_id)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    device = next(model.parameters()).device
    outputs = model(input_ids=torch.from_numpy(ids).to(device), use_cache=False).logits
    places = [np.arange(row * longest, row * longest + len(sequence)) for row, sequence in enumerate(sequences)]
    return _Outputs(outputs.flatten(0, 1), places)


def _sum_logprobs(rows: Sequence[Tokens], outputs: _Outputs, *, to_logits: nn.Module) -> list[float]:
    """Each response's log-probabilities, summed; the output before a token predicts it."""
    before = np.concatenate([at[len(row.prompt) - 1 :] for row, at in zip(rows, outputs.places, strict=True)])
    device = outputs.table.device
    index = torch.from_numpy(before).to(device)
    wanted = torch.tensor([token for row in rows for token in row.response], device=device)
    width = to_logits.out_features if isinstance(to_logits, nn.Linear) else outputs.table.shape[1]
    size = max(1, _CHUNK_LOGITS * (1 if device.type == "cpu" else _ACCELERATED) // width)
    found = []
    for start in range(0, len(before), size):
        logits = to_logits(outputs.table[index[start : start + size]]).float()
        picked = logits.gather(1, wanted[start : start + size, None]).squeeze(1)
        found.append((picked - torch.logsumexp(logits, dim=-1)).double())
    each = torch.split(torch.cat(found), [len(row.response) for row in rows])
    return [float(logprobs.sum()) for logprobs in each]
