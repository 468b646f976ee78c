"""A model's upper layers: which weights and linear layers are in them, and how many layers below are frozen.

A model in, names and numbers out. Changes no weight and no flag.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rlaif.errors import ConfigError
from rlaif.models.local.layers import find_layers, parameters_below


def parameters_above(model: PreTrainedModel, num_layers: int, *, options: str, other: str) -> set[str]:
    """Names in the uppermost layers and after them. Weights tied to the embeddings count as below, and are left out.

    options: where the user's options stand, such as `ppo.model`, for messages. other: values of `train` that need no
    list of layers.
    """
    frozen_layers, _ = _divide(model, num_layers, options=options, other=f"use {other}", whole="`train: all`")
    frozen = {id(parameter) for layer in frozen_layers for parameter in layer.parameters()}
    below = parameters_below(model)
    return {name for name, parameter in model.named_parameters() if id(parameter) not in frozen and name not in below}


def linear_layers_above(
    model: PreTrainedModel, num_layers: int, *, named: str | Sequence[str], options: str
) -> list[str]:
    """Names of the linear layers within the uppermost layers: all, or those whose last part is `named`."""
    _, upper = _divide(model, num_layers, options=options, other="say null: all layers", whole="null")
    within = {id(module) for layer in upper for module in layer.modules() if isinstance(module, (nn.Linear, Conv1D))}
    names = [name for name, module in model.named_modules() if id(module) in within]
    return names if isinstance(named, str) else [name for name in names if name.rpartition(".")[2] in named]


def _divide(
    model: PreTrainedModel, num_layers: int, *, options: str, other: str, whole: str
) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
    """The model's lower layers, and its `num_layers` uppermost ones."""
    layers = find_layers(model)
    if layers is None:
        raise ConfigError(
            f"{type(model).__name__} has no list of layers to count from the top",
            where=f"{options}.num_layers",
            fix=other,
        )
    if num_layers > len(layers):
        raise ConfigError(
            f"the policy has {len(layers)} layers and the last {num_layers} are to be trained",
            where=f"{options}.num_layers",
            fix=f"say {len(layers)} or fewer, or {whole}",
        )
    at = len(layers) - num_layers
    return list(layers[:at]), list(layers[at:])


def trunk_depth(model: PreTrainedModel) -> int:
    """Number of lowest layers that are not trained; 0 where the embeddings or anything below the layers is."""
    layers = find_layers(model)
    if layers is None or all(parameter.requires_grad for parameter in model.parameters()):
        return 0
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if trained & parameters_below(model):
        return 0
    of_layers = [_is_trained(layer) for layer in layers]
    return of_layers.index(True) if True in of_layers else len(layers) - 1


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
