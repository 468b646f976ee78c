"""Options under the names that they had in earlier versions -> the same options under today's names.

A configuration file, a preset, `--set` and the stored options of an older run may all have them. Validates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlaif.errors import ConfigError
from rlaif.files.strict_yaml import Path as KeyPath
from rlaif.files.strict_yaml import StrictYaml

RENAMED: Mapping[str, str] = {"human_labels": "human"}
"""Earlier name of a group of options -> its name."""


def rename_path(path: KeyPath) -> KeyPath:
    """The path of an option by today's names."""
    return (RENAMED.get(str(path[0]), path[0]), *path[1:]) if path else path


def rename_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by today's names. Where both names are there, today's holds."""
    old = {name: value for name, value in options.items() if name in RENAMED}
    kept = {name: value for name, value in options.items() if name not in RENAMED}
    return kept | {RENAMED[name]: value for name, value in old.items() if RENAMED[name] not in kept}


def rename_document(document: StrictYaml, *, where: str) -> StrictYaml:
    """A file of options by today's names, with its lines; refused where it has an option by both names."""
    if not isinstance(document.value, dict):
        return document
    for old, new in RENAMED.items():
        if {old, new} <= document.value.keys():
            raise ConfigError(
                f'"{old}" is the earlier name of "{new}", and both are there',
                where=f"{where}:{document.line_of((old,))}",
                fix=f'write all of it under "{new}"',
            )
    lines = {rename_path(path): line for path, line in document.lines.items()}
    return StrictYaml(rename_options(document.value), lines)
