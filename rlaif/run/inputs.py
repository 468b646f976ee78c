"""What the stages of a run read from elsewhere, noted by digest when it is first used and compared ever after.

Models, prompts, functions and files are named by a path, and the path says nothing of what is behind it. The notes are
in the run's inputs.json, each with the stages that used it. Reads no model and no data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from typing_extensions import TypedDict

from rlaif.errors import RunFolderError
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import json_of, read_own
from rlaif.records import Model, digest_text

NOTES = "inputs.json"
CONTENTS = "contents"


class _Note(TypedDict):
    digests: NotRequired[dict[str, str]]
    stages: NotRequired[list[str]]


_NOTES = json_of(dict[str, _Note])


class Input(NamedTuple):
    """Something that a stage reads from elsewhere."""

    name: str
    """The option that names it."""
    path: str
    """The option's value."""
    digests: Mapping[str, str]
    """Part -> digest, as of a model its weights, tokenizer and chat template."""


def model_input(name: str, model: Model, *, path: str) -> Input:
    """A model by its fingerprint, whatever engine runs it and in whichever dtype."""
    parts = {"weights": model.weights, "tokenizer": model.tokenizer, "chat template": model.chat_template}
    return Input(name, path, {part: digest for part, digest in parts.items() if digest})


def records_input(name: str, ids: Iterable[str], *, path: str) -> Input:
    """Rows by the ids of the records that were read from them, in their order."""
    return Input(name, path, {CONTENTS: digest_text("\n".join(ids))})


def expect_inputs(run_path: Path, stage_dir: Path, inputs: Iterable[Input]) -> None:
    """Note what a stage reads; refuse what is no longer as the run's stages so far have read it.

    A stage whose folder was removed is to be done again, and holds nothing.
    """
    notes = _read(run_path)
    stage = stage_dir.relative_to(run_path).as_posix()
    changed = dict(notes)
    for one in inputs:
        key = f"{one.name}: {one.path}"  # another path is the configuration's own matter
        note = notes.get(key, {"digests": {}, "stages": []})
        users = [name for name in note["stages"] if (run_path / name).is_dir()]
        if users and note["digests"] != one.digests:
            _refuse(one, note["digests"], users=users, stage_dir=stage_dir, run_path=run_path)
        stages = users if stage in users else [*users, stage]
        changed[key] = {"digests": dict(one.digests), "stages": stages}
    stage_dir.mkdir(parents=True, exist_ok=True)
    if changed != notes:
        write_atomically(run_path / NOTES, json.dumps(changed, indent=1) + "\n")


def _refuse(one: Input, noted: Mapping[str, str], *, users: list[str], stage_dir: Path, run_path: Path) -> None:
    parts = [part for part in {**noted, **one.digests} if noted.get(part) != one.digests.get(part)]
    is_alone = [run_path / name for name in users] == [stage_dir]
    again = f"; to do {users[0]} again, remove its folder" if is_alone else ""
    raise RunFolderError(
        f'{one.name} "{one.path}" is not what it was when {users[0]} of this run used it (changed: {", ".join(parts)})',
        where=str(run_path / NOTES),
        fix=f"put it back, or start a new run{again}",
    )


def _read(run_path: Path) -> dict[str, Any]:
    path = run_path / NOTES
    if not os.path.lexists(path):
        return {}
    notes: dict[str, Any] = read_own(path, _NOTES, fix="restore the file, or remove it")
    return {name: note for name, note in notes.items() if {"digests", "stages"} <= note.keys()}
