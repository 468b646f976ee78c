"""Checkpoints of a training: weights, value head, Adam's moments, and where it stood.

Folders that appear whole or not at all, safetensors and JSON only. All randomness is keyed by seed and
step, so there is no generator state to keep. Decides nothing about when to write.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlaif.config.ppo import PpoConfig
from rlaif.errors import ConfigError
from rlaif.files import replace_directory
from rlaif.policy.ppo.models import PolicyWithValue


class Progress(BaseModel):
    """Where a training stands, beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = 0
    """Steps that are done."""
    episodes: int = 0
    kl_coef: float
    score_mean: float = 0.0
    score_sd: float = 1.0
    seed: int
    prompts_digest: str
    config: PpoConfig
    metrics: dict[str, float] = {}
    """Of the last step."""


def find_checkpoints(out_dir: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    return sorted(path for path in (out_dir / "checkpoints").glob("step_*") if (path / "progress.json").is_file())


def find_resume_step(out_dir: Path) -> int:
    """The first step that a resumed training runs: metrics of this step and later ones come again."""
    checkpoints = find_checkpoints(out_dir)
    return int(checkpoints[-1].name.removeprefix("step_")) if checkpoints else 0


def write_checkpoint(
    out_dir: Path,
    *,
    learner: PolicyWithValue,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int = 2,
) -> Path:
    """Write one and remove all but the newest `keep`."""
    path = out_dir / "checkpoints" / f"step_{progress.step:06d}"
    with replace_directory(path) as folder:
        save_file(_contiguous(_tensors_of(learner.model)), folder / "model.safetensors")
        save_file(_contiguous(_tensors_of(learner.value_head)), folder / "value_head.safetensors")
        save_file(_contiguous(_moments_of(learner, optimizer)), folder / "optimizer.safetensors")
        (folder / "progress.json").write_text(progress.model_dump_json(indent=1) + "\n")
    for old in find_checkpoints(out_dir)[:-keep]:
        remove_checkpoint(old)
    return path


def remove_checkpoint(path: Path) -> None:
    """Hide it first: a removal that is interrupted must not leave half a checkpoint under its name."""
    hidden = path.with_name(f".removed_{path.name}")
    if hidden.exists():
        shutil.rmtree(hidden)
    path.rename(hidden)
    shutil.rmtree(hidden)


def read_progress(path: Path) -> Progress:
    return Progress.model_validate_json((path / "progress.json").read_bytes())


def load_checkpoint(path: Path, *, learner: PolicyWithValue, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and moments into the learner and its optimizer."""
    _restore(_tensors_of(learner.model), load_file(path / "model.safetensors"))
    _restore(_tensors_of(learner.value_head), load_file(path / "value_head.safetensors"))
    moments = load_file(path / "optimizer.safetensors")
    optimizer.state.clear()
    for name, parameter in learner.named_parameters():
        prefix = f"{name}/"
        state = {key.removeprefix(prefix): value for key, value in moments.items() if key.startswith(prefix)}
        if state:
            # Adam counts its steps on the CPU, its moments lie beside the parameter.
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
            }


def check_same_training(saved: Progress, current: Progress, *, where: Path) -> None:
    """A training resumes only as what it was: name every option that changed."""
    before, now = saved.config.model_dump(), current.config.model_dump()
    changed = [f"ppo.{key}: {before[key]} -> {now[key]}" for key in before if before[key] != now[key]]
    if saved.seed != current.seed:
        changed.append(f"seed: {saved.seed} -> {current.seed}")
    if saved.prompts_digest != current.prompts_digest:
        changed.append("other prompts")
    if changed:
        raise ConfigError(
            f"this training was begun with other settings ({'; '.join(changed)})",
            where=str(where),
            fix="resume with the same settings or start in a new folder",
        )


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Trained parameters, tied ones once, and persistent buffers."""
    parameters: dict[str, Any] = {name: x for name, x in module.named_parameters() if x.requires_grad}
    persistent = module.state_dict().keys()
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return {name: tensor.data for name, tensor in (parameters | buffers).items()}


def _moments_of(learner: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in learner.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _restore(tensors: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])
