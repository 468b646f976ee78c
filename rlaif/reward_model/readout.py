"""A reward model that is fitted rather than trained: a linear read-out of the mean of all tokens' states.

The states are those that the last layer's attention reads. One pass through the model gives them; the fit is convex.
The last layer is then rewritten: its attention averages over the tokens, and one coordinate carries the result to the
head. The model keeps its architecture. Trains nothing by steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.errors import ModelError, StageError
from rlaif.models.local.layers import find_layers
from rlaif.reward_model.data import Pairs
from rlaif.reward_model.length_bias import Lengths
from rlaif.reward_model.model import (
    CPU_TOKENS,
    DEVICE_TOKENS,
    batches_of_like_length,
    compute_rewards,
    find_head,
    pad_tokens,
)
from rlaif.reward_model.pair_fit import Fitted, fit_direction

SHARE = 0.1
"""Largest value of the read-out, as a share of the state that it is added to: the final norm hardly feels it."""
NUM_CHECKED = 64
MIN_CORRELATION = 0.9
_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj")


class Pooled(NamedTuple):
    """What one pass finds for each sequence, in float64: (num_sequences, hidden_size)."""

    means: Tensor
    """Mean over the tokens of what the last layer's attention reads."""
    ends: Tensor
    """The state at the last token that the last layer adds to."""


def fit_readout(
    model: PreTrainedModel, train: Pairs, *, center_rewards_coefficient: float, lengths: Lengths | None = None
) -> Fitted:
    """Fit the read-out to the pairs and write it into the model. lengths: as for `fit_direction`."""
    layer = find_last_layer(model)
    pooled = pool_states(model, train.sequences, layer=layer)
    if not bool(torch.isfinite(pooled.means).all()):
        raise StageError(
            "the model's states are not finite", where="reward model", fix="look for broken weights in its base model"
        )
    fitted = fit_direction(
        pooled.means, train.pairs, center_rewards_coefficient=center_rewards_coefficient, lengths=lengths
    )
    write_readout(model, fitted.direction, pooled, layer=layer, sequences=train.sequences)
    return fitted


def find_last_layer(model: PreTrainedModel) -> nn.Module:
    """The last layer; an error where it has not the parts of Llama's, which many models share."""
    layers = find_layers(model)
    parts = {} if layers is None else dict(layers[-1].named_modules())
    if layers is None or not all(isinstance(parts.get(name), nn.Linear) for name in _PARTS):
        raise ModelError(
            f"the last layer of {type(model).__name__} cannot be made to average over tokens: it has other parts than "
            "Llama's",
            where="reward_model.train",
            fix="say `train: last_layers` or `train: all`",
        )
    return layers[-1]


@torch.no_grad()
def pool_states(model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, layer: nn.Module) -> Pooled:
    """One pass over the sequences, those of like length together."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[name] = args[0] if args else kwargs["hidden_states"]

        return hook

    attention: Any = layer.self_attn
    hooks = [
        part.register_forward_pre_hook(keep(name), with_kwargs=True)
        for name, part in (("ends", layer), ("means", attention))
    ]
    device = next(model.parameters()).device
    max_tokens = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    means: dict[int, Tensor] = {}
    ends: dict[int, Tensor] = {}
    try:
        for batch in batches_of_like_length(order, sequences, max_tokens=max_tokens):
            token_ids, lengths = pad_tokens([sequences[place] for place in batch])
            model.base_model(input_ids=token_ids.to(device), use_cache=False)
            for row, (place, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
                means[place] = seen["means"][row, :length].double().mean(dim=0).cpu()
                ends[place] = seen["ends"][row, length - 1].double().cpu()
    finally:
        for handle in hooks:
            handle.remove()
    places = range(len(sequences))
    return Pooled(torch.stack([means[place] for place in places]), torch.stack([ends[place] for place in places]))


@torch.no_grad()
def write_readout(
    model: PreTrainedModel, direction: Tensor, pooled: Pooled, *, layer: nn.Module, sequences: Sequence[Sequence[int]]
) -> None:
    """Rewrite the last layer and the head so that a sequence's reward is its mean state times `direction`.

    Queries of zero make attention a mean. Its first value is the read-out. It is added to the coordinate of the state
    that varies least at the last token, and the head reads this coordinate after the final norm. That norm divides by
    the state's size, which differs little between sequences; how well the rewards follow is measured on a few.
    """
    wanted = pooled.means @ direction
    carrier = int(pooled.ends.std(dim=0, correction=0).argmin())
    size = float(pooled.ends.norm(dim=1).mean())
    factor = SHARE * size / max(float(wanted.abs().max()), 1e-12)
    parts: dict[str, Any] = dict(layer.named_modules())
    for name in _PARTS:
        if not name.endswith("k_proj"):
            for parameter in parts[name].parameters():
                parameter.zero_()
    parts["self_attn.v_proj"].weight[0] = (direction * factor).float()
    parts["self_attn.o_proj"].weight[carrier, 0] = 1.0
    head = find_head(model, where=type(model).__name__).weight
    head.zero_()
    head[0, carrier] = 1.0
    checked = list(range(len(sequences)))[:NUM_CHECKED]
    found = compute_rewards(model, [sequences[place] for place in checked]).double().cpu()
    head[0, carrier] = 1.0 / _slope(found, wanted[checked], model=model)


def _slope(found: Tensor, wanted: Tensor, *, model: PreTrainedModel) -> float:
    """By how much the model's output rises where the read-out rises by one."""
    by, of = wanted - wanted.mean(), found - found.mean()
    scale = float(by.norm() * of.norm())
    if not scale or float(by @ of) / scale < MIN_CORRELATION:
        raise ModelError(
            f"the last layer of {type(model).__name__} was made to average over tokens, and its output does not follow",
            where="reward_model.train",
            fix="say `train: last_layers` or `train: all`",
        )
    return float(by @ of) / float(by @ by)
