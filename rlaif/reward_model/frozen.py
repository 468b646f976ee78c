"""Which weights of a reward model are trained, and the output of the frozen layers, computed once and kept.

Sequences in, the states in which the trained layers begin out. Changes no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.local.layers import enters_exactly, left_at
from rlaif.models.local.upper_layers import parameters_above, trunk_depth
from rlaif.reward_model.model import CPU_TOKENS, DEVICE_TOKENS, Entry, batches_of_like_length, pad_tokens

GB = 1e9


class TrunkStates(NamedTuple):
    """The output of the lowest `depth` layers for the sequences of a training, each at its place."""

    depth: int
    states: Sequence[Tensor]

    def entry_of(self, places: Sequence[int]) -> Entry:
        return Entry(self.depth, [self.states[place] for place in places])


def freeze_lower_layers(model: PreTrainedModel, config: RewardModelConfig) -> None:
    """Leave gradients to the weights that `train` names."""
    if config.train == "all":
        return
    names = parameters_above(model, config.num_layers, options="reward_model", other="`train: all`")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def compute_trunk_states(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, max_gb: float, note: Callable[[str], None]
) -> TrunkStates | None:
    """The frozen layers' output for each sequence; None where no layer is frozen or the output takes over `max_gb`.

    None too for a model whose layers give another result when a pass begins among them. note: called with a sentence
    where layers are frozen and their output is not kept.
    """
    depth = trunk_depth(model)
    if depth == 0:
        return None
    size = size_of_states(model, sequences) / GB
    if size > max_gb:
        note(
            f"the frozen layers' output takes {size:.2g} GB, more than reward_model.max_cache_gb {max_gb:g}: "
            "they are computed in each step"
        )
        return None
    trunk: PreTrainedModel = model.base_model  # type: ignore[assignment]
    if not enters_exactly(trunk, depth=depth):
        note("this model's layers cannot be entered half-way: the frozen ones are computed in each step")
        return None
    return TrunkStates(depth, _run_trunk(model, sequences, depth=depth))


def size_of_states(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> int:
    """Bytes that a layer's output for all sequences takes."""
    width = int(model.config.get_text_config().hidden_size)
    return sum(map(len, sequences)) * width * torch.finfo(model.dtype).bits // 8


@torch.no_grad()
def _run_trunk(model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, depth: int) -> list[Tensor]:
    device = next(model.parameters()).device
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    found: dict[int, Tensor] = {}
    max_tokens = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    for batch in batches_of_like_length(order, sequences, max_tokens=max_tokens):
        token_ids, lengths = pad_tokens([sequences[place] for place in batch])
        with left_at(model, depth=depth) as reached:
            model.base_model(input_ids=token_ids.to(device), use_cache=False)
        # a copy of each: a view would keep the padding
        states = zip(batch, reached(), lengths.tolist(), strict=True)
        found |= {place: of_batch[:length].clone() for place, of_batch, length in states}
    return [found[place] for place in range(len(sequences))]
