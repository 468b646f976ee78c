"""A training's state on disk: weights, AdamW's moments and the step, as safetensors and JSON.

Every checkpoint is a separate folder, complete or not there at all; the newest counts. The training draws nothing at
random between steps, so a checkpoint needs no random state.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NotRequired

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import TypedDict

from rlaif.errors import RunFolderError
from rlaif.files.atomic import replace_directory
from rlaif.files.own_files import json_of, read_own
from rlaif.files.sealed import check_seal, seal_folder
from rlaif.reward_model.early_stop import BestWeights
from rlaif.reward_model.length_bias import LengthLeaning

_STEP_DIR = re.compile(r"step_(\d{8})")
_FIX = "restore it, or remove this checkpoint's folder to resume from the one before or train again"


class _State(TypedDict):
    step: int
    digest: str
    losses: NotRequired[dict[str, float]]
    """Steps done -> log loss of the rows left out, where weights are chosen by it."""
    leaning: NotRequired[dict[str, float]]
    """State of the labels' leaning to length, where it is fitted."""


_STATE = json_of(_State)


def write_checkpoint(
    folder: Path,
    *,
    step: int,
    digest: str,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    best: BestWeights | None = None,
    leaning: LengthLeaning | None = None,
) -> None:
    """Write a checkpoint and remove older ones. Of the weights, those that are trained are stored.

    step: optimizer steps done. digest: names the training; only the same training may resume from the checkpoint.
    best: the weights that were best so far, where they are to be kept. leaning: to length, where it is fitted.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    moments: dict[str, Tensor] = {}
    for parameter, state in optimizer.state.items():
        moments |= {f"{names[parameter]}:{key}": value.contiguous() for key, value in state.items()}
    with replace_directory(folder / f"step_{step:08d}") as path:
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items() if name not in frozen},
            path / "model.safetensors",
        )
        save_file(moments, path / "optimizer.safetensors")
        written: _State = {"step": step, "digest": digest}
        if best is not None:
            written["losses"] = best.losses
            save_file(best.weights, path / "best.safetensors")
        if leaning is not None:
            written["leaning"] = leaning.state
        (path / "state.json").write_text(json.dumps(written) + "\n")
        seal_folder(path)
    for old in find_checkpoints(folder)[:-1]:
        shutil.rmtree(old)


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training that is finished; any other file there keeps the folder."""
    for path in (*folder.glob(".step_*"), *find_checkpoints(folder)):
        shutil.rmtree(path)
    with suppress(OSError):
        folder.rmdir()


def find_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _STEP_DIR.fullmatch(path.name) and path.is_dir())


def read_checkpoint(
    found: Sequence[Path],
    *,
    digest: str,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    best: BestWeights | None = None,
    leaning: LengthLeaning | None = None,
) -> int:
    """Put the newest checkpoint's state into what it is given; the steps done, 0 where there is none."""
    if not found:
        return 0
    check_seal(found[-1], fix=_FIX)
    state = read_own(found[-1] / "state.json", _STATE, fix=_FIX)
    if state["digest"] != digest:
        raise RunFolderError(
            "the checkpoint belongs to a training with other data or options",
            where=str(found[-1]),
            fix="put them back, or remove this folder to train from the beginning",
        )
    # subtle: values are copied into memory that torch allocated. A tensor mapped from the file may be aligned
    # differently, and a matrix product may then differ in its last bit from the unbroken run's.
    model.load_state_dict({**model.state_dict(), **load_file(found[-1] / "model.safetensors")})
    moments = load_file(found[-1] / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        name, _, moment = key.rpartition(":")
        optimizer.state[parameters[name]][moment] = value.clone().to(
            value.device if moment == "step" else parameters[name].device
        )
    if best is not None:
        best.losses = state.get("losses", {})
        best.weights = {name: value.clone() for name, value in load_file(found[-1] / "best.safetensors").items()}
    if leaning is not None:
        leaning.restore(state.get("leaning", {}))
    return int(state["step"])
