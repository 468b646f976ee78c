"""The frozen policy that the KL is taken to, in its cheapest exact form: it shares weights with the learner.

Computes no KL.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

from transformers import PreTrainedModel

from rlaif.config.ppo_model import PpoModelConfig, ReferenceMode
from rlaif.errors import ConfigError
from rlaif.models.local.upper_layers import trunk_depth
from rlaif.models.weights.adapters import has_adapter
from rlaif.policy.ppo.trained import shares_trunk


class Reference(NamedTuple):
    """A separate model in every mode, whose frozen weights share the learner's memory wherever they are equal."""

    model: PreTrainedModel
    mode: ReferenceMode

    @property
    def shares_trunk(self) -> bool:
        """Whether it is the learner below the trained layers."""
        return self.mode != "copy"


def choose_reference(
    trained: PreTrainedModel, policy: PreTrainedModel, reference: PreTrainedModel, config: PpoModelConfig
) -> Reference:
    """trained: the model that will change, made from `policy`, whose weights stay as they came; `reference`: the
    policy itself, or another model of the same tokens."""
    mode = _find_mode(trained, policy, reference, config)
    if config.reference == "auto":
        return Reference(reference, mode)
    if config.reference == "copy":
        # The user wants a copy, and the policy that came in shares memory with the trained model.
        return Reference(copy.deepcopy(reference) if mode != "copy" and reference is policy else reference, "copy")
    if mode != config.reference:
        raise ConfigError(
            f"the reference cannot be {config.reference}: {_why_not(config.reference, policy, reference)}",
            where="ppo.model.reference",
            fix=f"say {mode}, or auto",
        )
    return Reference(reference, mode)


def _find_mode(
    trained: PreTrainedModel, policy: PreTrainedModel, reference: PreTrainedModel, config: PpoModelConfig
) -> ReferenceMode:
    if config.train == "lora" and reference is policy:
        return "start_adapter" if has_adapter(policy) else "adapter_off"
    if config.train in ("last_layers", "names"):
        depth = trunk_depth(trained)
        if depth and shares_trunk(trained, reference, depth=depth):
            return "hydra"
    return "copy"


def _why_not(wanted: ReferenceMode, policy: PreTrainedModel, reference: PreTrainedModel) -> str:
    match wanted:
        case "hydra":
            return "part of what lies below the trained layers is trained or differs from the reference's"
        case _ if reference is not policy:
            return "training starts from another policy than the one that the KL is taken to"
        case "start_adapter":
            return "the policy does not start with an adapter"
        case _:
            return "the policy starts with an adapter, and the KL is taken to the policy as it started"
