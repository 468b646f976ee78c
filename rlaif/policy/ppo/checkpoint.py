"""Checkpoints of a training: weights, value head, Adam's moments, and its progress.

Folders that appear whole or not at all, safetensors and JSON only. All randomness is keyed by seed and
step, so there is no generator state to keep. Decides nothing about when to write.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlaif.config.base import STORED
from rlaif.config.ppo import PpoConfig
from rlaif.errors import ConfigError
from rlaif.files.atomic import replace_directory
from rlaif.files.own_files import read_own
from rlaif.files.sealed import check_seal, seal_folder
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.sharing import like, whole_tensor
from rlaif.training.team import ALONE, Team

PREFETCHED_FILE = "ahead.json"
"""The prefetched rollout's file; its name is that of checkpoints which older versions wrote."""


_NAME = re.compile(r"step_\d{6,}")
_FIX = "restore it, or remove this checkpoint's folder to resume from the one before"


def find_checkpoints(out_dir: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    folders = (out_dir / "checkpoints").glob("step_*")
    return sorted(path for path in folders if _NAME.fullmatch(path.name) and (path / "progress.json").is_file())


def step_of(checkpoint: Path) -> int:
    """Steps that are in a checkpoint's weights."""
    return int(checkpoint.name.removeprefix("step_"))


def find_resume_step(out_dir: Path) -> int:
    """The first step that a resumed training takes: metrics of this step and later ones are written again."""
    checkpoints = find_checkpoints(out_dir)
    return step_of(checkpoints[-1]) if checkpoints else 0


def write_checkpoint(
    out_dir: Path,
    *,
    learner: PolicyWithValue,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    prefetched: str | None = None,
    keep: int = 2,
    team: Team = ALONE,
) -> None:
    """Write a checkpoint, and remove all but the newest `keep` and those that one of these calls the best.

    prefetched: responses drawn for the next step already, as `Rollouts.stored` gives them.
    All processes of a team call this, and the first one writes.
    """
    team.wait()  # another one may still be reading what is replaced or removed here
    tensors = {
        "model": _whole(_tensors_of(learner.model), kept=team.is_first),
        "value_head": _whole(_tensors_of(learner.value_head), kept=team.is_first),
        "optimizer": _whole(_moments_of(learner, optimizer), kept=team.is_first),
    }
    team.ask_first(lambda: _write(out_dir, tensors, progress, prefetched=prefetched, keep=keep))


def _write(
    out_dir: Path, tensors: dict[str, dict[str, Tensor]], progress: Progress, *, prefetched: str | None, keep: int
) -> None:
    with replace_directory(out_dir / "checkpoints" / f"step_{progress.step:06d}") as folder:
        for name, of_part in tensors.items():
            save_file(of_part, folder / f"{name}.safetensors")
        if prefetched is not None:
            (folder / PREFETCHED_FILE).write_text(prefetched + "\n", encoding="utf-8")
        (folder / "progress.json").write_text(progress.model_dump_json(indent=1) + "\n")
        seal_folder(folder)
    checkpoints = find_checkpoints(out_dir)
    best = {read_progress(newer).best_step for newer in checkpoints[-keep:]}
    for old in checkpoints[:-keep]:
        if step_of(old) not in best:
            remove_checkpoint(old)
    _point_at_best(out_dir, progress.best_step)


def _point_at_best(out_dir: Path, step: int | None) -> None:
    """Make checkpoints/best, a link for people; the trainer itself reads Progress."""
    link = out_dir / "checkpoints" / "best"
    if step is None:
        link.unlink(missing_ok=True)
        return
    part = link.with_name(".best.part")
    part.unlink(missing_ok=True)
    part.symlink_to(f"step_{step:06d}")
    part.replace(link)


def remove_checkpoint(path: Path) -> None:
    """Hide it first: a removal that is interrupted must not leave half a checkpoint under its name."""
    hidden = path.with_name(f".removed_{path.name}")
    if hidden.exists():
        shutil.rmtree(hidden)
    path.rename(hidden)
    shutil.rmtree(hidden)


def drop_checkpoints(out_dir: Path) -> None:
    """Remove every checkpoint of a finished training, and their folder where no other file is in it."""
    folder = out_dir / "checkpoints"
    if not folder.is_dir():
        return
    (folder / "best").unlink(missing_ok=True)
    for path in folder.glob(".*step_*"):  # left by a removal or a write that was cut off
        shutil.rmtree(path)
    for path in find_checkpoints(out_dir):
        remove_checkpoint(path)
    with suppress(OSError):
        folder.rmdir()


def read_progress(path: Path) -> Progress:
    """The progress that a checkpoint holds."""
    return read_own(path / "progress.json", lambda data: Progress.model_validate_json(data, context=STORED), fix=_FIX)


def read_prefetched(path: Path) -> str | None:
    """The rollout that was prefetched for the next step when this checkpoint was written; None where none was."""
    file = path / PREFETCHED_FILE
    return read_own(file, bytes.decode, fix=_FIX) if os.path.lexists(file) else None


def load_checkpoint(path: Path, *, learner: PolicyWithValue, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and moments into the learner and its optimizer."""
    check_seal(path, fix=_FIX)
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
                key: value if key == "step" else like(value, parameter.data) for key, value in state.items()
            }


def check_same_training(saved: Progress, current: Progress, *, where: Path) -> None:
    """Refuse to resume a training with other options, rewards, seed or prompts; the error names each change."""
    before, now = (_options_that_count(progress.config) for progress in (saved, current))
    changed = list(_changes(before, now, "ppo"))
    if saved.rewards != current.rewards:
        changed.append(f"ppo.rewards: {_describe_rewards(saved)} -> {_describe_rewards(current)}")
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


def _options_that_count(config: PpoConfig) -> dict[str, Any]:
    """The options that a resumed training must have again: not how rewards are asked for, nor where it samples."""
    drawn_as = config.rollout.drawn_as
    return config.model_copy(update={"rollout": drawn_as}).model_dump(exclude={"rewards"})


def _changes(before: dict[str, Any], now: dict[str, Any], group: str) -> Iterator[str]:
    for key, value in before.items():
        if isinstance(value, dict) and isinstance(now[key], dict) and value.keys() == now[key].keys():
            yield from _changes(value, now[key], f"{group}.{key}")
        elif value != now[key]:
            yield f"{group}.{key}: {value} -> {now[key]}"


def _describe_rewards(progress: Progress) -> str:
    return " + ".join(
        f"{weight:g} {name}{' standardised' if standardise else ''}" for name, weight, standardise in progress.rewards
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


def _whole(tensors: dict[str, Tensor], *, kept: bool) -> dict[str, Tensor]:
    """Whole tensors for a file. Where each process has parts, all must call this; those not `kept` are dropped."""
    wholes = ((name, whole_tensor(tensor).contiguous(), tensor) for name, tensor in tensors.items())
    # One at a time: put together on an accelerator, kept in the memory that has room for all of them.
    return {name: whole if whole is tensor else whole.cpu() for name, whole, tensor in wholes if kept}


def _restore(tensors: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(like(saved[name], tensor))
