"""A finished stage: what its stage.json holds, written last, and whether the files it left are still what it wrote.

Knows no stage's content and no run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from typing_extensions import TypedDict

from rlaif.errors import RunFolderError
from rlaif.files.atomic import KEPT, digest_file, write_atomically
from rlaif.files.own_files import json_of, read_own, refuse_damage
from rlaif.records import Tally

NAME = "stage.json"
FIX = "restore it from a copy, or remove it to do the stage again"
_Layout = TypedDict(
    "_Layout",
    {
        "in": int,
        "unit": str,
        "dropped": dict[str, int],
        "outputs": dict[str, str],
        "used": NotRequired[dict[str, int] | None],
    },
)
_STAGE = json_of(_Layout)


def finish_stage(stage_dir: Path, *, tally: Tally, unit: str, used: Mapping[str, int] | None = None) -> None:
    """Write stage.json last: the tally, how many records of each table were used, and every file's digest."""
    stage = {"unit": unit, "in": tally.num_in, "kept": tally.kept, "dropped": tally.dropped}
    stage |= {} if used is None else {"used": dict(used)}
    outputs = {path: digest_file(stage_dir / path) for path in _outputs(stage_dir)}
    write_atomically(stage_dir / NAME, json.dumps({**stage, "outputs": outputs}, indent=2))


def _outputs(stage_dir: Path) -> list[str]:
    files = [p.relative_to(stage_dir) for p in stage_dir.rglob("*") if p.is_file() and p.name != NAME]
    return sorted(path.as_posix() for path in files if not any(_passes_away(part) for part in path.parts))


def _passes_away(name: str) -> bool:
    """Hidden files and checkpoints go, and a user may take away what was kept for him."""
    return name.startswith(".") or name == "checkpoints" or KEPT.search(name) is not None


class FinishedStage(NamedTuple):
    tally: Tally
    unit: str
    outputs: dict[str, str]
    """File -> sha256."""
    used: dict[str, int] | None = None
    """Table -> records; None where an older rlaif did not count them."""


def read_stage(stage_dir: Path) -> FinishedStage | None:
    """What a finished stage left; None where it is not finished."""
    stage = read_stage_values(stage_dir)
    if stage is None:
        return None
    with refuse_damage(stage_dir / NAME, fix=FIX):
        tally = Tally(num_in=stage["in"], dropped=stage["dropped"])
    return FinishedStage(tally, stage["unit"], stage["outputs"], stage.get("used"))


def read_stage_values(stage_dir: Path) -> dict[str, Any] | None:
    """All that stage.json holds; None where the stage is not finished. Raises `RunFolderError` where it is damaged."""
    path = stage_dir / NAME
    if not os.path.lexists(path):
        return None
    values: dict[str, Any] = read_own(path, _STAGE, fix=FIX)
    return values


def stage_done(stage_dir: Path) -> bool:
    """Whether the stage is finished; refused if a file it left has changed since."""
    stage = read_stage(stage_dir)
    if stage is None:
        return False
    for name, digest in stage.outputs.items():
        path = stage_dir / name
        if not path.is_file() or digest_file(path) != digest:
            raise RunFolderError(
                f'the file "{name}" is not what this stage wrote',
                where=str(stage_dir),
                fix="put it back, or remove stage.json to do the stage again",
            )
    return True
