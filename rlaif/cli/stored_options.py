"""A run that a command continues -> its stored options, with edits of its config file and the options given now.

Opens no run for work and loads no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlaif.config.file_changes import find_edits, find_file, note_file, read_options
from rlaif.config.load import Loaded, find_config, load_config, parse_stored
from rlaif.errors import ConfigError, RunFolderError
from rlaif.run.folder import RunFolder, open_run


def find_stored(runs_dir: Path, run: str | None, config: Path | None) -> RunFolder | None:
    """The run whose stored options hold; None where the config file alone does, as the run is not there or is too old
    to have noted its file."""
    try:
        folder = open_run(runs_dir, run)
    except RunFolderError:
        if find_config(config) is None:
            raise
        return None
    return None if "file" not in folder.config and find_config(config) is not None else folder


def find_recorded(runs_dir: Path, run: str | None) -> list[Path]:
    """The files of recorded verdicts that a run was started with; none where it asked a judge, or is not there."""
    try:
        return [Path(name) for name in open_run(runs_dir, run).config.get("recorded", [])]
    except RunFolderError:
        return []


def load_stored(folder: RunFolder, config: Path | None, overrides: list[str]) -> Loaded:
    """The run's stored options, changed by the edits of its config file since, and then by `overrides`."""
    stored = folder.config
    noted = stored.get("file", {"path": None, "options": {}})
    file = find_file(config, noted)
    edits = [] if file is None else find_edits(noted["options"], read_options(file))
    where = str(folder.path / "config.json")
    try:
        return parse_stored(stored, where=where, overrides=[*edits, *overrides])
    except ConfigError:
        if edits:
            load_config(file, overrides=overrides)  # names the file's line where the mistake is in it
        raise


def note_file_of_run(runs_dir: Path, run: str | None, given: Path | None, *, is_new: bool) -> dict[str, Any] | None:
    """What the run stores about the config file that was read; None: what is stored stays."""
    stored = None if is_new else find_stored(runs_dir, run, given)
    if stored is None:
        return note_file(find_config(given))
    file = find_file(given, stored.config.get("file", {"path": None}))
    return None if file is None else note_file(file)
