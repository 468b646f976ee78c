"""Which of a policy's weights are trained, and the model that trains them.

A policy and the options come in; a copy goes out that shares the memory of every weight that is not trained.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from rlaif.config.ppo_model import PpoModelConfig
from rlaif.errors import ConfigError
from rlaif.models.local.layers import find_layers, parameters_below
from rlaif.models.weights.adapters import add_adapter, has_adapter, is_of_adapter
from rlaif.records import digest_text


def make_trained(policy: PreTrainedModel, config: PpoModelConfig, *, seed: int) -> PreTrainedModel:
    """A copy of the policy with memory of its own for the trained weights alone; `seed` fixes new adapters' start."""
    names = find_trained(policy, config)
    shared: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.data, requires_grad=False)
        for name, parameter in policy.named_parameters()
        if name not in names
    }
    model = copy.deepcopy(policy, shared)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    if config.train == "lora" and not has_adapter(policy):
        lora = config.lora
        drawn = int(digest_text(f"adapter\n{seed}")[:15], 16)
        add_adapter(model, rank=lora.rank, alpha=lora.alpha, target_modules=lora.target_modules, seed=drawn)
        model.eval()  # type: ignore[no-untyped-call]
    return model


def find_trained(policy: PreTrainedModel, config: PpoModelConfig) -> set[str]:
    """Names of the policy's parameters that are trained. Adapters that it does not have yet are not among them."""
    names = [name for name, _ in policy.named_parameters()]
    match config.train:
        case "all":
            return set(names)
        case "lora":
            return {name for name in names if is_of_adapter(name)}
        case "last_layers":
            return _above(policy, config.num_layers)
        case "names":
            return _matching(names, config.names)


def trunk_depth(model: PreTrainedModel) -> int:
    """Number of lowest layers that are not trained; 0 where the embeddings or anything below the layers is."""
    layers = find_layers(model)
    if layers is None or all(parameter.requires_grad for parameter in model.parameters()):
        return 0
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if trained & parameters_below(model):
        return 0
    of_layers = [any(parameter.requires_grad for parameter in layer.parameters()) for layer in layers]
    return of_layers.index(True) if True in of_layers else len(layers) - 1


def shares_trunk(model: PreTrainedModel, other: PreTrainedModel, *, depth: int) -> bool:
    """Whether another model has the same weights below layer `depth`, and so the same output there."""
    one, two = dict(model.named_parameters()), dict(other.named_parameters())
    layers = find_layers(model)
    if layers is None or type(model) is not type(other) or one.keys() != two.keys():
        return False
    lower = {id(parameter) for layer in layers[:depth] for parameter in layer.parameters()}
    below = parameters_below(model)
    return all(
        torch.equal(parameter, two[name]) for name, parameter in one.items() if name in below or id(parameter) in lower
    )


def _above(policy: PreTrainedModel, num_layers: int) -> set[str]:
    """Names in the uppermost layers and after them. Weights tied to the embeddings count as below, and are frozen."""
    layers = find_layers(policy)
    if layers is None:
        raise ConfigError(
            f"{type(policy).__name__} has no list of layers to count from the top",
            where="ppo.model.train",
            fix="use `train: names` or `train: lora`",
        )
    if num_layers > len(layers):
        raise ConfigError(
            f"the policy has {len(layers)} layers and the last {num_layers} are to be trained",
            where="ppo.model.num_layers",
            fix=f"say {len(layers)} or fewer, or `train: all`",
        )
    frozen = {id(parameter) for layer in layers[: len(layers) - num_layers] for parameter in layer.parameters()}
    below = parameters_below(policy)
    return {name for name, parameter in policy.named_parameters() if id(parameter) not in frozen and name not in below}


def _matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not matched:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
            raise ConfigError(
                f'no weight of the policy is called "{pattern}"',
                where="ppo.model.names",
                fix=f"use a pattern over names such as {', '.join(near)}",
            )
        found |= matched
    return found
