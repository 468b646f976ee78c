"""A preset's name -> its options: a published recipe, as a file of ordinary options.

Looks into ./presets first, then among those that come with rlaif. Does not validate the options; load.py does.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.config.renamed import rename_document
from rlaif.errors import ConfigError
from rlaif.files.strict_yaml import StrictYaml, load_strict
from rlaif.files.texts import read_text_file

FOLDER = "presets"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Preset(NamedTuple):
    document: StrictYaml
    where: str
    """The preset's file, for messages."""

    @property
    def options(self) -> dict[str, Any]:
        value: dict[str, Any] = self.document.value
        return value


def shipped_presets() -> Path:
    """The folder that comes with rlaif: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parent / FOLDER


def preset_names() -> list[str]:
    return sorted({path.stem for folder in (Path(FOLDER), shipped_presets()) for path in folder.glob("*.yaml")})


def load_preset(name: str, *, where: str) -> Preset:
    """The preset of this name. In messages, `where` says what named it."""
    path = _find(name, where=where)
    document = load_strict(read_text_file(path, error=ConfigError), where=str(path), error=ConfigError)
    value = document.value
    if not isinstance(value, dict):
        raise ConfigError("the preset is no list of options", where=str(path), fix="write `option: value` lines")
    if "preset" in value:
        raise ConfigError("a preset names no other preset", where=str(path), fix="write its options out")
    return Preset(rename_document(document, where=str(path)), str(path))


def _find(name: str, *, where: str) -> Path:
    if name.endswith(".yaml") or "/" in name or "\\" in name:
        if Path(name).is_file():
            return Path(name)
    elif _NAME.fullmatch(name):
        for folder in (Path(FOLDER), shipped_presets()):
            if (folder / f"{name}.yaml").is_file():
                return folder / f"{name}.yaml"
    names = preset_names()
    close = difflib.get_close_matches(name, names, n=1)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    raise ConfigError(
        f'there is no preset "{name[:80]}"', where=where, fix=f"{meant}these exist: {', '.join(names) or 'none'}"
    )
