"""What methods of several phases share: checkpoints of all weights after each phase, and steps that are counted on.

A phase is an outer step of RFT or IRFT, or ReFT's warm-up. Phases begin with a fresh optimizer, so weights and a few
numbers are all that a resumed training needs. Folders appear whole or not at all. Decides nothing about when to write.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.errors import ConfigError
from rlaif.files.atomic import replace_directory
from rlaif.files.own_files import read_own
from rlaif.files.sealed import check_seal, seal_folder
from rlaif.policy.ppo.checkpoint import find_checkpoints, remove_checkpoint
from rlaif.policy.task import Task
from rlaif.records import digest_text
from rlaif.training.listener import Listener

_FIX = "restore it, or remove this checkpoint's folder to start again"


class Progress(BaseModel):
    """Where a training is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    """Of all that fixes the training."""
    outer: int = 0
    """Outer steps that are in the weights."""
    step: int = 0
    """Optimizer steps, or rows of metrics, until here."""
    numbers: Mapping[str, float] = {}
    """What the method adds up over its outer steps."""


def digest_task(task: Task, *, options: Sequence[BaseModel], more: Sequence[str] = ()) -> str:
    """The digest of everything that fixes a training. more: what it learns from besides demonstrations.

    Options at their defaults are not in it, so that an option of a later version parts no training from its checkpoint.
    """
    demonstrations = "\n".join(demonstration.id for _, demonstration in task.demonstrations)
    models = f"{task.start.fingerprint.id}\n{task.initial.fingerprint.id}"
    given = [one.model_dump_json(exclude_defaults=True) for one in options]
    return digest_text("\n".join([*given, str(task.seed), models, demonstrations, *more]))


Tensors = Mapping[str, Mapping[str, Tensor]]
"""Tensors by their module's name and their own."""


def resume(folder: Path, tensors: Tensors, *, digest: str) -> Progress:
    """Load the newest checkpoint into the tensors; without one, the progress of a training that begins.

    Raises ConfigError where the checkpoint is of another training.
    """
    found = find_checkpoints(folder)
    if not found:
        return Progress(digest=digest)
    newest = found[-1]
    check_seal(newest, fix=_FIX)
    progress = read_own(newest / "progress.json", Progress.model_validate_json, fix=_FIX)
    if progress.digest != digest:
        raise ConfigError(
            "this training was begun with other options, data or models",
            where=str(newest),
            fix="resume with the same ones, or start in a new run folder",
        )
    for name, of_module in tensors.items():
        saved = load_file(newest / f"{name}.safetensors")
        for key, tensor in of_module.items():
            tensor.copy_(saved[key])
    return progress


def write(folder: Path, tensors: Tensors, progress: Progress) -> None:
    """Write a checkpoint, and remove those before it."""
    before = find_checkpoints(folder)
    with replace_directory(folder / "checkpoints" / f"step_{progress.outer:06d}") as part:
        for name, of_module in tensors.items():
            save_file({key: one.contiguous() for key, one in of_module.items()}, part / f"{name}.safetensors")
        (part / "progress.json").write_text(progress.model_dump_json(indent=1) + "\n")
        seal_folder(part)
    for old in before:
        if old.name != f"step_{progress.outer:06d}":
            remove_checkpoint(old)


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Trained parameters, tied ones once."""
    return {name: parameter.data for name, parameter in module.named_parameters() if parameter.requires_grad}


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters, tied ones once."""
    return {name: parameter.data for name, parameter in module.named_parameters()}


def copy_in_float32(model: PreTrainedModel) -> PreTrainedModel:
    """A copy whose weights the caller may change."""
    copied: Any = copy.deepcopy(model)  # Any: transformers' own annotations hide to()
    return copied.to(torch.float32).eval()  # type: ignore[no-any-return]


def count_on(listener: Listener, *, by: int) -> Listener:
    """The listener of a training by PPO within another one, whose steps go on from `by`."""
    return replace(
        listener,
        on_begin=lambda step: None,
        on_metrics=lambda done: listener.on_metrics(
            done._replace(
                step=by + done.step, numbers={name: one for name, one in done.numbers.items() if name != "step"}
            )
        ),
        on_samples=lambda step, shown: listener.on_samples(by + step, shown),
        on_evaluation=lambda found: listener.on_evaluation(found._replace(step=by + found.step)),
    )
