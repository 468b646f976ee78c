"""One learner in several processes: whole in each (DDP), or a part of every weight in each (FSDP2).

The launcher's environment says which, in accelerate's variables. Plans which process trains on which rows. Takes no
optimizer step and samples nothing.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from rlaif.errors import ConfigError
from rlaif.models.local.linear_head import find_linear_head
from rlaif.policy.ppo.batching import TokenSequence, groups_of_like_length, micro_batches
from rlaif.policy.ppo.models import PolicyWithValue, device_of
from rlaif.training.team import Team


class Shared(NamedTuple):
    """A learner as one process of the team has it."""

    learner: PolicyWithValue
    """The module whose parameters the optimizer has; under FSDP2 each is this process's part."""
    called: nn.Module
    """The module that an update calls: the learner, or DDP's wrapper of it."""
    empty_copy: PolicyWithValue | None = None
    """Under FSDP2, a learner without weights that `whole` fills."""

    @contextmanager
    def whole(self) -> Iterator[PolicyWithValue]:
        """The learner with all its weights, for sampling and computing; changes to them are lost afterwards."""
        try:
            yield self.make_whole()
        finally:
            if self.empty_copy is not None:
                _empty(self.empty_copy)

    def make_whole(self) -> PolicyWithValue:
        """The learner with all its weights. Unlike those of `whole`, they stay."""
        if self.empty_copy is None:
            return self.learner
        parameters = list(self.empty_copy.parameters())
        for parameter, part in zip(parameters, self.learner.parameters(), strict=True):
            parameter.data = whole_tensor(part.detach())
        return self.empty_copy


def share_learner(learner: PolicyWithValue, team: Team) -> Shared:
    """Share the learner among the team. All processes begin with the first one's weights."""
    if team.size == 1:
        return Shared(learner, learner)
    sharding = find_sharding()
    if sharding is not None:
        return _shard(learner, team, sharding)
    return Shared(learner, team.wrap(learner))


class Sharding(NamedTuple):
    """FSDP2 as a launcher's configuration wants it."""

    layers: frozenset[str]
    """Class names of the modules that are sharded one by one; none: those that the model itself names."""
    reshard_after_forward: bool
    """Whether a layer's weights are dropped between its forward and its backward pass."""


def find_sharding(environment: Mapping[str, str] = os.environ) -> Sharding | None:
    """FSDP2 as accelerate's launcher configured it; None where it does not want FSDP.

    A configuration that is not supported here is refused.
    """

    def says(name: str, *values: str) -> bool:
        return environment.get(name, "").lower() in values

    wants_fsdp = says("ACCELERATE_USE_FSDP", "true")
    for is_asked, name, what, fix in (
        (
            says("ACCELERATE_USE_DEEPSPEED", "true"), "distributed_type",
            "weights are shared by DDP or FSDP2, not by DeepSpeed", "FSDP with fsdp_version: 2 shares the same parts",
        ),
        (
            says("ACCELERATE_MIXED_PRECISION", "bf16", "fp16", "fp8"), "mixed_precision",
            "the number format is an option of this program", 'say "no" there, and set ppo.model.compute_dtype',
        ),
        (
            wants_fsdp and not says("FSDP_VERSION", "2"), "fsdp_version",
            "of FSDP only the second version is known here", "say 2",
        ),
        (
            wants_fsdp and says("FSDP_OFFLOAD_PARAMS", "true"), "fsdp_offload_params",
            "weights are not moved to the CPU between passes", "say false",
        ),
        (
            wants_fsdp and says("FSDP_ACTIVATION_CHECKPOINTING", "true"), "fsdp_activation_checkpointing",
            "gradient checkpointing is an option of this program", "say false and set ppo.model.gradient_checkpointing",
        ),
    ):  # fmt: skip
        if is_asked:
            raise ConfigError(what, where=f"{name} in accelerate's configuration", fix=fix)
    if not wants_fsdp:
        return None
    layers = environment.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "").split(",")
    return Sharding(
        layers=frozenset(name.strip() for name in layers if name.strip()),
        reshard_after_forward=not says("FSDP_RESHARD_AFTER_FORWARD", "false"),
    )


def _shard(learner: PolicyWithValue, team: Team, sharding: Sharding) -> Shared:
    """Shard layer by layer, and then all that is outside of the layers together with the value head."""
    find_linear_head(learner.model)  # runs the model once, which must be whole for that
    empty_copy = copy.deepcopy(learner)
    _empty(empty_copy)
    mesh = init_device_mesh(device_of(learner).type, (team.size,))
    names = sharding.layers or set(getattr(learner.model, "_no_split_modules", None) or ())
    for layer in [module for module in learner.modules() if type(module).__name__ in names]:
        fully_shard(layer, mesh=mesh, reshard_after_forward=sharding.reshard_after_forward)
    fully_shard(learner, mesh=mesh)
    return Shared(learner, learner, empty_copy)


def _empty(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype, device=parameter.device)


def whole_tensor(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor, put together in all processes; any other tensor unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(whole: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor laid out like `pattern`: on its device and, where that is sharded, this process's part."""
    whole = whole.to(pattern.device)
    return distribute_tensor(whole, pattern.device_mesh, pattern.placements) if isinstance(pattern, DTensor) else whole


def in_one_pass(called: nn.Module) -> bool:
    """Whether a micro-batch must be one pass through the model: under FSDP2 all processes must make equally many."""
    return isinstance(called, FSDPModule)


class Plan(NamedTuple):
    """Which rows one process trains on in one mini-batch."""

    groups: list[list[int]]
    """Micro-batches; over all processes each row comes once."""
    num_idle: int
    """Further passes without weight, so that all processes make equally many."""


def plan_rows(
    called: nn.Module, sequences: Sequence[TokenSequence], *, max_tokens: int, num_processes: int
) -> list[Plan]:
    """Each process's micro-batches: about equally many tokens each, and responses to one prompt together."""
    make = _groups_of_one_pass if in_one_pass(called) else _groups
    shares = [make(sequences, rows, max_tokens=max_tokens) for rows in _split(sequences, num_processes)]
    # DDP adds up gradients in the last pass alone, FSDP2 in each one.
    least = max(map(len, shares)) if in_one_pass(called) else 1
    return [Plan(groups, max(0, least - len(groups))) for groups in shares]


def _split(sequences: Sequence[TokenSequence], num_processes: int) -> list[list[int]]:
    if num_processes == 1:
        return [list(range(len(sequences)))]
    order = [row for group in micro_batches(sequences, max_tokens=1) for row in group]
    sizes = torch.tensor([sum(map(len, sequences[row])) for row in order])
    middles = sizes.cumsum(0) - sizes / 2
    owners = (middles * num_processes / sizes.sum()).long().tolist()
    return [[row for row, owner in zip(order, owners, strict=True) if owner == one] for one in range(num_processes)]


def _groups(sequences: Sequence[TokenSequence], rows: list[int], *, max_tokens: int) -> list[list[int]]:
    groups = micro_batches([sequences[row] for row in rows], max_tokens=max_tokens)
    return [[rows[place] for place in group] for group in groups]


def _groups_of_one_pass(sequences: Sequence[TokenSequence], rows: list[int], *, max_tokens: int) -> list[list[int]]:
    groups = groups_of_like_length([sum(map(len, sequences[row])) for row in rows], max_tokens=max_tokens)
    return [[rows[place] for place in group] for group in groups]
