"""rlaif.yaml and --set values -> a validated RunConfig, or one sentence that says what is wrong and where.

Later overrides win over earlier ones and over the file. Does not resolve names or paths and loads no model.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlaif.config.base import STORED, TYPED
from rlaif.config.options import Option, describe_config, describe_items
from rlaif.config.presets import Preset, fill_in, load_preset
from rlaif.config.run import RunConfig
from rlaif.config.strict_yaml import Path as KeyPath
from rlaif.config.strict_yaml import StrictYaml, load_strict
from rlaif.errors import ConfigError

CONFIG_NAME = "rlaif.yaml"


def find_config(given: Path | None) -> Path | None:
    """The file that is named, else the one in this folder."""
    here = Path(CONFIG_NAME)
    return here if given is None and here.is_file() else given


def load_config(path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in `path` (none: the defaults) with overrides "a.b=value", whose values are YAML."""
    return parse_config(read_config_text(Path(path)) if path else "", where=str(path), overrides=overrides)


def read_config_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            "there is no such config file",
            where=str(path),
            fix="check the path, or make a config file with `rlaif init DIR`",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError("the config file is not UTF-8 text", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"the config file cannot be read: {error.strerror}", where=str(path), fix="give a readable file"
        ) from error


def parse_config(text: str, *, where: str, overrides: Sequence[str] = (), is_complete: bool = False) -> RunConfig:
    """The configuration that a YAML text and overrides give; `where` names the text in messages.

    is_complete: the text is what a run was started with, so that its preset has nothing to add.
    """
    document = load_strict(text, where=where, error=ConfigError)
    value: dict[str, Any] = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        raise ConfigError(
            "the config file is not a list of options", where=f"{where}:1", fix="write `option: value` lines"
        )
    source = _Source(document, where)
    for override in overrides:
        source.apply(value, override)
    if isinstance(name := value.get("preset"), str) and not is_complete:
        source.fill_in(value, load_preset(name, where=source.where(("preset",))))
    options = {option.path: option for option in (*describe_config(RunConfig), *describe_items(RunConfig))}
    _drop_empty_groups(value, options)
    try:
        context = STORED if is_complete else TYPED
        return RunConfig.model_validate_json(json.dumps(value), strict=True, context=context)
    except ValidationError as error:
        _raise_first(error.errors(include_url=False), source, options)


class _Source:
    """Where each value came from: a line of the file, an override, or a line of the preset."""

    def __init__(self, document: StrictYaml, where: str) -> None:
        self._document = document
        self._where = where
        self._overrides: dict[KeyPath, str] = {}
        self._preset: Preset | None = None

    def fill_in(self, value: dict[str, Any], preset: Preset) -> None:
        self._preset = preset
        fill_in(value, preset.options)

    def apply(self, value: dict[str, Any], override: str) -> None:
        dotted, equals, text = override.partition("=")
        keys = tuple(dotted.strip().split("."))
        if not equals or not all(keys):
            raise ConfigError(f'"{override}" sets nothing', where="--set", fix="write --set group.option=value")
        here = value
        for key in keys[:-1]:
            if not isinstance(here.get(key), dict):
                here[key] = {}
                self._forget(keys[:-1])
            here = here[key]
        here[keys[-1]] = load_strict(text, where=f"--set {dotted}", error=ConfigError).value
        self._forget(keys)
        self._overrides[keys] = f"--set {override}"

    def _forget(self, keys: KeyPath) -> None:
        """The file's lines at and under `keys` no longer say what holds."""
        for path in [path for path in self._document.lines if path[: len(keys)] == keys]:
            del self._document.lines[path]

    def where(self, path: KeyPath) -> str:
        for keys, override in reversed(self._overrides.items()):
            if path[: len(keys)] == keys or (keys[: len(path)] == path and path not in self._document.lines):
                return override
        if self._preset is not None and path in self._preset.document.lines and path not in self._document.lines:
            return f"{self._preset.where}:{self._preset.document.line_of(path)}"
        return f"{self._where}:{self._document.line_of(path)}"


def _drop_empty_groups(value: dict[str, Any], options: dict[tuple[str, ...], Option]) -> None:
    """`ppo:` with nothing under it (all its lines commented out) means the defaults."""
    groups = sorted((o.path for o in options.values() if o.is_group), key=len, reverse=True)
    for path in groups:
        parent: Any = value
        for key in path[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and path[-1] in parent and parent[path[-1]] is None:
            del parent[path[-1]]


def _raise_first(errors: Sequence[ErrorDetails], source: _Source, options: dict[tuple[str, ...], Option]) -> NoReturn:
    """Misspelt keys are told first: a value that is missing or wrong may be their consequence."""
    error = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    path = tuple(error["loc"])
    named = tuple(str(part) for part in path)
    where = source.where(path)
    if error["type"] == "extra_forbidden":
        raise ConfigError(f'"{".".join(named)}" is not an option', where=where, fix=_suggest(named, options))
    while named and _starred(named) not in options:
        named = named[:-1]
    if error["type"] == "value_error" or not named:
        subject = f'"{".".join(named)}": ' if named else ""
        raise ConfigError(
            subject + str(error.get("ctx", {}).get("error", error["msg"])),
            where=where,
            fix="change the value",
        )
    inside = tuple(str(part) for part in path[len(named) :] if isinstance(part, int))
    raise ConfigError(
        f'"{".".join(named + inside)}" is {_show(error["input"])}',
        where=where,
        fix=f"write {options[_starred(named)].expected}{_hint(error, options[_starred(named)])}",
    )


def _starred(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path of an option in an item of a list, whichever item it is."""
    return tuple("*" if part.isdigit() else part for part in path)


def _suggest(unknown: tuple[str, ...], options: dict[tuple[str, ...], Option]) -> str:
    unknown = _starred(unknown)
    siblings = [path for path in options if path[:-1] == unknown[:-1]]
    within = [path for path in options if path[: len(unknown) - 1] == unknown[:-1] and path[-1] == unknown[-1]]
    if len(within) == 1 and "*" not in within[0]:
        return f'did you mean "{".".join(within[0])}"?'
    near = difflib.get_close_matches(unknown[-1], [path[-1] for path in siblings], n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0] if "*" in unknown else ".".join((*unknown[:-1], near[0]))}"?'
    elsewhere = [path for path in options if path[-1] == unknown[-1] and "*" not in path]
    if elsewhere:
        return "did you mean " + " or ".join(f'"{".".join(path)}"' for path in elsewhere) + "?"
    group = f'the options of "{".".join(unknown[:-1])}"' if unknown[:-1] else "the options"
    group = "the options there" if "*" in unknown else group
    return f"{group} are " + ", ".join(sorted(path[-1] for path in siblings))


def _show(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _hint(error: ErrorDetails, option: Option) -> str:
    value = error["input"]
    if error["type"] == "literal_error" and isinstance(value, str):
        near = difflib.get_close_matches(value, option.expected.replace(",", "").split(), n=1)
        return f' (did you mean "{near[0]}"?)' if near else ""
    if error["type"] == "string_type" and isinstance(value, int | float):
        return ", in quotes if it looks like a number"
    return ""
