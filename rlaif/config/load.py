"""rlaif.yaml and --set values -> a validated RunConfig, or one sentence that says what is wrong and where.

The file, its preset and the command line are combined (sources.py) and validated. Options that are left open then get
values that suit the named models (resolve.py), so that a RunConfig holds every value. Loads no model.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlaif.config.base import MAX_TEXT, RESOLVED, STORED, TYPED
from rlaif.config.methods import find_named
from rlaif.config.options import Option, describe_config, describe_items
from rlaif.config.resolve import DEMO, describe_demo, describe_resolved, find_gpu, resolve
from rlaif.config.run import RunConfig
from rlaif.config.sources import MAX_SHOWN, Sources
from rlaif.errors import ConfigError
from rlaif.files.strict_yaml import Path as KeyPath
from rlaif.files.strict_yaml import load_strict
from rlaif.files.texts import read_text_file

CONFIG_NAME = "rlaif.yaml"
_PATHS = frozenset(
    {
        "path",
        "columns",
        "constitution",
        "template",
        "guideline",
        "demonstrations",
        "preferences",
        "held_out_model",
        "model",
        "weights_dir",
    }
)
"""Names of the options that hold a path."""


def find_config(given: Path | None) -> Path | None:
    """The given config file, else the one in this folder, if there is one."""
    here = Path(CONFIG_NAME)
    return here if given is None and here.is_file() else given


class Loaded(NamedTuple):
    """A configuration, and the decisions that led to it."""

    config: RunConfig
    resolved: dict[str, Any]
    """Options that follow a model and were not given -> their chosen values."""
    notes: tuple[str, ...]
    """Lines to print: which of two sources won, and which values were chosen."""


def load_config(path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in `path` (none: the defaults) with overrides "a.b=value", whose values are YAML."""
    return load_options(path, overrides=overrides).config


def load_options(path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> Loaded:
    """The configuration of `load_config`, with the values that were chosen and the lines to print."""
    text = read_config_text(Path(path)) if path else ""
    return parse_options(text, where=str(path) if path else "the defaults", overrides=overrides)


def read_config_text(path: Path) -> str:
    try:
        return read_text_file(path, error=ConfigError, may_be_pipe=True)
    except ConfigError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    raise ConfigError(
        "there is no such config file",
        where=str(path),
        fix="check the path, or make a config file with `rlaif init DIR`",
    )


def parse_config(text: str, *, where: str, overrides: Sequence[str] = (), is_complete: bool = False) -> RunConfig:
    """The configuration that a YAML text and overrides give; `where` names the text in messages.

    is_complete: the text holds all options that a run was started with, so that its preset adds nothing.
    """
    return parse_options(text, where=where, overrides=overrides, is_complete=is_complete).config


def parse_options(
    text: str,
    *,
    where: str,
    overrides: Sequence[str] = (),
    is_complete: bool = False,
    resolved: Mapping[str, Any] = MappingProxyType({}),
) -> Loaded:
    """The configuration of `parse_config`, with the values that were chosen and the lines to print.

    resolved: options of a complete text that were not given when its run started, with the values chosen for them then.
    They keep these values unless an override changes the model that they follow.
    """
    options = {option.path: option for option in (*describe_config(RunConfig), *describe_items(RunConfig))}
    context = STORED if is_complete else TYPED
    sources = _read(text, where=where, options=options, without=resolved)
    sources.put_together(overrides, is_complete=is_complete)
    _put_algorithm(sources.value, wins=is_complete)
    names = _leave_open(sources, options)
    then: dict[str, Any] = {}
    if is_complete:
        before = _read(text, where=where, options=options, without=resolved)
        were_open = _leave_open(before, options)
        names -= were_open - resolved.keys()  # null here was given when the run was started, and stays
        then = resolve(_validate(before, options, context=context), left_open=were_open, has_gpu=find_gpu())
    values = resolve(_validate(sources, options, context=context), left_open=names, has_gpu=find_gpu())
    values |= {name: resolved[name] for name in values if name in resolved and then.get(name) == values[name]}
    for name, suits in values.items():
        _put(sources.value, tuple(name.split(".")), suits)
    config = _validate(sources, options, context=context)
    # Changed options of a run are printed where they are compared with its stages: run/options.py.
    won, demo = ((), ()) if is_complete else (sources.describe(), describe_demo(config, names))
    return Loaded(config, values, (*won, *describe_resolved(config, values), *demo))


def parse_stored(stored: Mapping[str, Any], *, where: str, overrides: Sequence[str] = ()) -> Loaded:
    """The options of a run as its config.json keeps them, and overrides."""
    resolved = stored.get(RESOLVED, {})
    return parse_options(
        json.dumps(stored["config"]), where=where, overrides=overrides, is_complete=True, resolved=resolved
    )


def _read(text: str, *, where: str, options: Mapping[tuple[str, ...], Option], without: Iterable[str]) -> Sources:
    """Read the text alone, without the options that `without` names."""
    document = load_strict(text, where=where, error=ConfigError)
    if not isinstance(document.value, dict | None):
        raise ConfigError(
            "the config file is not a list of options", where=f"{where}:1", fix="write `option: value` lines"
        )
    sources = Sources(document, where=where, groups={path for path, option in options.items() if option.is_group})
    for name in without:
        _drop(sources.value, tuple(name.split(".")))
    return sources


def _leave_open(sources: Sources, options: Mapping[tuple[str, ...], Option]) -> set[str]:
    """The names of the options that are left open, missing or null; those that follow a model are removed."""
    _drop_empty_groups(sources.value, options)
    left_open = _find_open(sources.value, options)
    for path in left_open:
        if path in options and options[path].follows is not None:
            _drop(sources.value, path)
    return {".".join(path) for path in left_open}


def _validate(sources: Sources, options: Mapping[tuple[str, ...], Option], *, context: Mapping[str, bool]) -> RunConfig:
    try:
        config = RunConfig.model_validate_json(json.dumps(sources.value), strict=True, context=dict(context))
    except ValidationError as error:
        _raise_first(error.errors(include_url=False), sources, options)
    for path, value in _find_not_finite(sources.value):  # in values that have no type of their own, as in extra_body
        where = sources.where(path)
        raise ConfigError(f'"{".".join(map(str, path))}" is {value}', where=where, fix="write a finite number")
    if context == TYPED:
        _refuse_no_text(sources)
    return config


def _refuse_no_text(sources: Sources) -> None:
    """Refuse what no file's name and no text of a model can hold."""
    for path, value in _find_texts(sources.value):
        name = ".".join(map(str, path))
        if "\0" in value:
            raise ConfigError(f'"{name}" holds a NUL character', where=sources.where(path), fix="remove it")
        if not value.strip() and path[-1] in _PATHS:
            raise ConfigError(f'"{name}" is empty', where=sources.where(path), fix="give a path, or leave it out")


def _find_texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _find_texts(inner, (*path, key))


def _find_not_finite(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _find_not_finite(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _find_not_finite(inner, (*path, number))


def _find_open(value: dict[str, Any], options: Mapping[tuple[str, ...], Option]) -> list[tuple[str, ...]]:
    """Paths of the options that are null or not given and that follow a model or have the demo's default.

    The templates of further judges are such options too.
    """
    names = [path for path, option in options.items() if option.follows is not None or option.dotted in DEMO]
    panel = _find(value, ("judge", "panel"))
    names += [("judge", "panel", str(n), "template") for n in range(len(panel) if isinstance(panel, list) else 0)]
    return [path for path in (*names, ("evaluation", "judge", "template")) if _find(value, path) is None]


def _find(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value


def _drop(value: dict[str, Any], path: tuple[str, ...]) -> None:
    parent = _find(value, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _put(value: dict[str, Any], path: tuple[str, ...], given: Any) -> None:
    for length in range(1, len(path)):
        parent = _find(value, path[: length - 1])
        if isinstance(parent, dict):
            parent.setdefault(path[length - 1], {})
    _find(value, path[:-1])[path[-1]] = given


def _put_algorithm(value: dict[str, Any], *, wins: bool) -> None:
    """`methods: [rloo]` sets ppo.algorithm. wins: also where it is there, as in the complete options of a run."""
    methods = value.get("methods")
    named = find_named(methods) if isinstance(methods, list) else []
    if named and isinstance(value.get("ppo") or {}, dict) and (wins or _find(value, ("ppo", "algorithm")) is None):
        value["ppo"] = {**(value.get("ppo") or {}), "algorithm": named[0]}


def _drop_empty_groups(value: dict[str, Any], options: Mapping[tuple[str, ...], Option]) -> None:
    """`ppo:` with nothing under it (all its lines commented out) means the defaults."""
    groups = sorted((o.path for o in options.values() if o.is_group), key=len, reverse=True)
    for path in groups:
        parent: Any = value
        for key in path[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and path[-1] in parent and parent[path[-1]] is None:
            del parent[path[-1]]


def _raise_first(
    errors: Sequence[ErrorDetails], source: Sources, options: Mapping[tuple[str, ...], Option]
) -> NoReturn:
    """Raise one of the errors as a sentence: a misspelt key first, since missing or wrong values may follow from it."""
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
    """The path with "*" for the number of a list's item: it is the same option in every item."""
    return tuple("*" if part.isdigit() else part for part in path)


def _suggest(unknown: tuple[str, ...], options: Mapping[tuple[str, ...], Option]) -> str:
    unknown = _starred(unknown)
    siblings = [path for path in options if path[:-1] == unknown[:-1]]
    within = [path for path in options if path[: len(unknown) - 1] == unknown[:-1] and path[-1] == unknown[-1]]
    if len(within) == 1 and "*" not in within[0]:
        return f'did you mean "{".".join(within[0])}"?'
    near = difflib.get_close_matches(unknown[-1], [path[-1] for path in siblings], n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0] if "*" in unknown else ".".join((*unknown[:-1], near[0]))}"?'
    elsewhere = [path for path in options if path[-1] == unknown[-1] and "*" not in path]
    if elsewhere and "*" not in unknown:
        return "did you mean " + " or ".join(f'"{".".join(path)}"' for path in elsewhere) + "?"
    group = f'the options of "{".".join(unknown[:-1])}"' if unknown[:-1] else "the options"
    group = "the options there" if "*" in unknown else group
    return f"{group} are " + ", ".join(sorted(path[-1] for path in siblings))


def _show(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 3] + "..."


def _hint(error: ErrorDetails, option: Option) -> str:
    value = error["input"]
    if error["type"] == "literal_error" and isinstance(value, str):
        near = difflib.get_close_matches(value, option.expected.replace(",", "").split(), n=1)
        return f' (did you mean "{near[0]}"?)' if near else ""
    if error["type"] == "string_type" and isinstance(value, int | float):
        return ", in quotes if it looks like a number"
    if error["type"] == "string_pattern_mismatch":
        return f" ({option.help.rstrip('.')})"
    if error["type"] == "string_too_long":
        return f", at most {MAX_TEXT} characters long"
    if error["type"] in ("less_than", "less_than_equal"):  # far from what is usual: say what the number means
        usual = "" if option.default is None else f"; by default {option.default}"
        return f" ({option.help.rstrip('.')}{usual})"
    return ""
