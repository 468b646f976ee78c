"""A folder to start from: rlaif.yaml with every option explained, and the shipped files to edit.

Overwrites nothing: a folder that already holds one of them is refused. Does not run anything.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.config.load import CONFIG_NAME
from rlaif.config.options import describe_config
from rlaif.config.presets import FOLDER as PRESETS
from rlaif.config.presets import load_preset, shipped_presets
from rlaif.config.run import RunConfig
from rlaif.constitution.shipped import Kind, shipped_folder
from rlaif.errors import InputError
from rlaif.files.strict_yaml import read_plain_scalar

FOLDERS: tuple[Kind, ...] = ("constitutions", "prompts")
HEADER = """\
# The configuration of rlaif. A line such as "# seed: 0" is an option at its default: to change it, remove
# the "# ". Paths are relative to the folder in which you run rlaif; a name such as courteous_and_brief means
# constitutions/courteous_and_brief.yaml here, or constitutions/frontdesk/courteous_and_brief.yaml, if there is one.
# For one run alone: --set ppo.kl_coef=0.05

"""


def write_scaffold(folder: Path, *, preset: str | None = None) -> list[Path]:
    """Write the files and return their paths; refuses a folder that holds any of them.

    `preset`: the preset that rlaif.yaml names.
    """
    shipped = {name: shipped_folder(name) for name in FOLDERS} | {PRESETS: shipped_presets()}
    return write_new(folder, {CONFIG_NAME: render_config(preset=preset), **shipped})


def write_new(folder: Path, contents: Mapping[str, str | Path]) -> list[Path]:
    """Write all of these into a folder, or none; return their paths.

    contents: name -> the text of a file, or the file or folder to copy. Refuses a folder that holds one of the names.
    """
    taken = [name for name in contents if os.path.lexists(folder / name)]
    if taken:
        raise InputError(
            f"{', '.join(taken)} is already there",
            where=str(folder),
            fix="give a new folder to `rlaif init`",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".rlaif-init-", dir=folder) as temporary:
            written = Path(temporary)
            for name, source in contents.items():
                if isinstance(source, str):
                    (written / name).write_text(source, encoding="utf-8")
                elif source.is_dir():
                    shutil.copytree(source, written / name)
                else:
                    shutil.copyfile(source, written / name)
            for path in written.iterdir():
                path.rename(folder / path.name)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            f"the folder cannot be written: {error.strerror}", where=str(folder), fix="give a new folder"
        ) from error
    return [folder / name for name in contents]


def render_config(*, preset: str | None = None) -> str:
    """The text of rlaif.yaml: every option with its help, the values it takes, and the preset's or its default."""
    given = {} if preset is None else load_preset(preset, where="--preset").options
    lines = [HEADER]
    for option in describe_config(RunConfig):
        indent = "  " * (len(option.path) - 1)
        name = option.path[-1]
        if option.is_group:
            lines.append(f"{indent}# {option.help}\n{indent}{name}:\n")
            continue
        lines.append(f"{indent}# {option.help} ({option.expected})\n")
        if option.path == ("preset",) and preset is not None:
            lines.append(f"{name}: {as_yaml(preset)}\n")
            continue
        lines.append(f"{indent}# {name}: {as_yaml(_find(given, option.path, otherwise=option.default))}\n")
    return "".join(lines)


def _find(given: Any, path: tuple[str, ...], *, otherwise: Any) -> Any:
    """The value that nested options give to the option at `path`, or else `otherwise`."""
    for key in path:
        if not isinstance(given, dict) or key not in given:
            return otherwise
        given = given[key]
    return given


def as_yaml(value: Any) -> str:
    """A default on one line of YAML; JSON is YAML, and text that reads as itself needs no quotes."""
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value)
    return value if is_word and read_plain_scalar(value) == value else json.dumps(value)
