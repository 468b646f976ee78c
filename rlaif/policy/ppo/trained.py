"""Which of a policy's weights are trained, and the model that trains them.

A policy and the options come in; a copy goes out that shares the memory of every weight that is not trained.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from rlaif.config.weights import LoraConfig, WeightsConfig
from rlaif.errors import ConfigError
from rlaif.models.local.layers import find_layers, parameters_below
from rlaif.models.local.upper_layers import linear_layers_above, parameters_above
from rlaif.models.weights.adapters import add_adapter, has_adapter, is_of_adapter
from rlaif.records import digest_text


def make_trained(
    policy: PreTrainedModel, config: WeightsConfig, *, seed: int, options: str = "ppo.model"
) -> PreTrainedModel:
    """A copy of the policy with memory of its own for the trained weights alone; `seed` fixes new adapters' start.

    options: where the user's options stand, for messages.
    """
    names = find_trained(policy, config, options=options)
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
        add_adapter(
            model,
            rank=lora.rank,
            alpha=lora.alpha,
            target_modules=_find_targets(model, lora, options=options),
            seed=drawn,
            options=f"{options}.lora",
        )
        model.eval()  # type: ignore[no-untyped-call]
    return model


def _find_targets(model: PreTrainedModel, lora: LoraConfig, *, options: str) -> str | Sequence[str]:
    """What gets an adapter: `all-linear`, the ends of names, or whole names where only the upper layers get one."""
    if lora.num_layers is None:
        return lora.target_modules
    found = linear_layers_above(model, lora.num_layers, named=lora.target_modules, options=f"{options}.lora")
    return found or lora.target_modules


def find_trained(policy: PreTrainedModel, config: WeightsConfig, *, options: str = "ppo.model") -> set[str]:
    """Names of the policy's parameters that are trained. Adapters that it does not have yet are not among them."""
    names = [name for name, _ in policy.named_parameters()]
    match config.train:
        case "all":
            return set(names)
        case "lora":
            return {name for name in names if is_of_adapter(name)}
        case "last_layers":
            other = "`train: names` or `train: lora`"
            return parameters_above(policy, config.num_layers, options=options, other=other)
        case "names":
            return _matching(names, config.names, where=f"{options}.names")


class TrainedWeights(NamedTuple):
    """How many of a model's weights a training changes."""

    trained: int
    frozen: int


def count_trained(model: PreTrainedModel) -> TrainedWeights:
    """The numbers of a model in training, adapters included; weights that are tied count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    return TrainedWeights(trained, sum(size for size, _ in sizes) - trained)


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


def _matching(names: Sequence[str], patterns: Sequence[str], *, where: str) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not matched:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
            raise ConfigError(
                f'no weight of the policy is called "{pattern}"',
                where=where,
                fix=f"use a pattern over names such as {', '.join(near)}",
            )
        found |= matched
    return found
