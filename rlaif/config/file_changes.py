"""A run's config file as it was and as it is now -> the options that were edited in it since, as overrides.

A run keeps the options it was started with, those of its command line too; later only edits of the file count.
Validates nothing and applies nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.config.load import find_config, read_config_text
from rlaif.config.options import describe_config
from rlaif.config.renamed import rename_document
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError
from rlaif.files.strict_yaml import load_strict


def read_options(path: Path | None) -> dict[str, Any]:
    """The options that a config file sets, unchecked; none where there is no file."""
    if path is None:
        return {}
    document = load_strict(read_config_text(path), where=str(path), error=ConfigError)
    value = rename_document(document, where=str(path)).value
    return value if isinstance(value, dict) else {}


def note_file(path: Path | None) -> dict[str, Any]:
    """What a run stores of its config file, for `find_edits`."""
    return {"path": None if path is None else str(path), "options": read_options(path)}


def find_file(given: Path | None, noted: Mapping[str, Any]) -> Path | None:
    """A run's config file: the given one, else the one it started with; if it had none, the one in this folder."""
    if given is not None:
        return given
    if noted["path"] is None:
        return find_config(None)
    own = Path(noted["path"])
    return own if own.is_file() else None


def find_edits(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`option=value` for each option that differs; an option that is no longer set gets its default."""
    groups = {option.path for option in describe_config(RunConfig) if option.is_group}
    defaults = RunConfig().model_dump(mode="json")
    for option in describe_config(RunConfig):
        if option.follows is not None:
            _put(defaults, option.path, None)  # it follows a model again
    return [f"{'.'.join(path)}={json.dumps(value)}" for path, value in _edits(then, now, (), groups, defaults)]


def _put(value: dict[str, Any], path: tuple[str, ...], given: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = given


def _edits(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    path: tuple[str, ...],
    groups: set[tuple[str, ...]],
    defaults: Any,
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key in {**then, **now}:
        here = (*path, key)
        default = defaults.get(key) if isinstance(defaults, dict) else None
        before, after = then.get(key), now.get(key)
        if here in groups and isinstance(before, dict | None) and isinstance(after, dict | None):
            yield from _edits(before or {}, after or {}, here, groups, default)
        elif key not in now:
            yield here, default
        elif key not in then or before != after:
            yield here, after
