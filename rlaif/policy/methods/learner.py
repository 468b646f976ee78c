"""The model that a method trains: a copy of the policy, frozen as the options say, and the plain policy it ends as.

What is not trained shares its memory with the policy, so that a reference that is the policy is the model without its
adapter. Takes no step.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from rlaif.config.weights import WeightsConfig
from rlaif.models.weights.adapters import has_adapter, merge_adapter
from rlaif.policy.ppo.trained import count_trained, make_trained
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Tally


def make_learner(policy: PreTrainedModel, config: WeightsConfig, *, seed: int, options: str) -> PreTrainedModel:
    """A copy of the policy in float32 whose chosen weights are trained; what is not trained is shared where it can be.

    The copy stays in eval mode: dropout is off, as while it samples. options: where the method's options stand.
    """
    learner = make_trained(in_float32(policy), config, seed=seed, options=options)
    return learner.eval()  # type: ignore[no-untyped-call, no-any-return]


def in_float32(policy: PreTrainedModel) -> PreTrainedModel:
    """The policy itself where it is in float32, else a copy."""
    if all(parameter.dtype == torch.float32 for parameter in policy.parameters()):
        return policy
    copied: Any = copy.deepcopy(policy)  # Any: transformers' own annotations hide to()
    return copied.to(torch.float32)  # type: ignore[no-any-return]


def finish(learner: PreTrainedModel, *, metrics: dict[str, float], steps: int, tally: Tally) -> TrainedPolicy:
    """What a method gives back: a plain model, and beside it the adapted one where an adapter was trained."""
    is_adapted = has_adapter(learner)
    plain = merge_adapter(learner) if is_adapted else learner
    return TrainedPolicy(
        model=plain,
        steps=steps,
        metrics=metrics,
        tally=tally,
        adapted=learner if is_adapted else None,
        weights=count_trained(learner),
    )
