"""A model's upper layers: which weights are in them and after them, and how many layers below are frozen.

A model in, names and numbers out. Changes no weight and no flag.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from rlaif.errors import ConfigError
from rlaif.models.local.layers import find_layers, parameters_below


def parameters_above(model: PreTrainedModel, num_layers: int, *, options: str, other: str) -> set[str]:
    """Names in the uppermost layers and after them. Weights tied to the embeddings count as below, and are left out.

    options: where the user's options stand, such as `ppo.model`, for messages. other: values of `train` that need no
    list of layers.
    """
    layers = find_layers(model)
    if layers is None:
        raise ConfigError(
            f"{type(model).__name__} has no list of layers to count from the top",
            where=f"{options}.train",
            fix=f"use {other}",
        )
    if num_layers > len(layers):
        raise ConfigError(
            f"the policy has {len(layers)} layers and the last {num_layers} are to be trained",
            where=f"{options}.num_layers",
            fix=f"say {len(layers)} or fewer, or `train: all`",
        )
    frozen = {id(parameter) for layer in layers[: len(layers) - num_layers] for parameter in layer.parameters()}
    below = parameters_below(model)
    return {name for name, parameter in model.named_parameters() if id(parameter) not in frozen and name not in below}


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
