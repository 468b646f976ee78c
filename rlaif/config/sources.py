"""The sources of a configuration combined: a file, a preset, the command line; and a line where two differ.

The command line wins over the file: `--set` over `--preset`, and both over the file. A preset that the file itself
names gives way to the file's other options. Does not validate anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.config.presets import Preset, load_preset
from rlaif.config.renamed import rename_document, rename_path
from rlaif.errors import ConfigError
from rlaif.files.strict_yaml import Path as KeyPath
from rlaif.files.strict_yaml import StrictYaml, load_strict

MAX_SHOWN = 60


class _Override(NamedTuple):
    """`a.b=value` from the command line."""

    keys: tuple[str, ...]
    value: Any
    text: str


class Sources:
    """The options in force, the source of each, and the values that lost."""

    def __init__(self, document: StrictYaml, *, where: str, groups: Collection[KeyPath]) -> None:
        """`where` names the file in messages; `groups` are the paths of groups of options."""
        document = rename_document(document, where=where)
        self.value: dict[str, Any] = document.value if document.value is not None else {}
        self._document = document
        self._where = where
        self._groups = groups
        self._overrides: dict[KeyPath, _Override] = {}
        self._preset: Preset | None = None
        self._preset_name = ""
        self._from_preset: dict[KeyPath, Any] = {}
        self._losers: dict[str, list[str]] = {}

    def put_together(self, overrides: Sequence[str], *, is_complete: bool) -> None:
        """Add the preset, then the overrides. `is_complete`: the file already holds the options of its preset."""
        given = [_read_override(override) for override in overrides]
        named = [one.value for one in given if one.keys == ("preset",)][-1:]
        in_file = self.value.get("preset")
        if named and isinstance(in_file, str) and in_file != named[0]:
            self._note(f"the command line wins over {self._where}", f"its preset {in_file} is not used")
        if named and isinstance(named[0], str) and not (is_complete and named[0] == in_file):
            self._add_preset(named[0], where="--preset", wins=True)
        elif not named and isinstance(in_file, str) and not is_complete:
            self._add_preset(in_file, where=self.where(("preset",)), wins=False)
        for override in given:
            self._apply(override)

    def describe(self) -> Iterator[str]:
        """A line for each two sources that give different values of the same options."""
        for winner, losers in self._losers.items():
            yield f"{winner}: {'; '.join(losers)}"

    def where(self, path: KeyPath) -> str:
        """The source of the value at `path`, for messages: an override, a line of the preset or a line of the file.

        A group that the file begins and overrides change has both as its source.
        """
        for keys, override in reversed(self._overrides.items()):
            if path[: len(keys)] == keys or (keys[: len(path)] == path and path not in self._document.lines):
                return f"--set {override.text}"
        if self._preset is not None and path in self._preset.document.lines and path not in self._document.lines:
            return f"{self._preset.where}:{self._preset.document.line_of(path)}"
        inside = [f"--set {one.text}" for keys, one in self._overrides.items() if keys[: len(path)] == path]
        return ", ".join([f"{self._where}:{self._document.line_of(path)}", *inside])

    def _add_preset(self, name: str, *, where: str, wins: bool) -> None:
        """Add the options of a preset. With `wins` they replace the file's own, otherwise they give way to them."""
        self._preset, self._preset_name = load_preset(name, where=where), name
        winner = f"--preset {name} wins over {self._where}" if wins else f"{self._where} wins over its preset {name}"
        for path, given in _leaves(self._preset.options, self._groups):
            parent, key = _open_group(self.value, path), str(path[-1])
            if parent is None:
                continue  # the file has no group there: that is refused with the file's line
            held = parent.get(key, _NOTHING)
            if held is not _NOTHING and held != given:
                pair = (given, held) if wins else (held, given)
                self._note(winner, _describe_both(path, *pair))
            if held is _NOTHING or wins:
                parent[key] = self._from_preset[path] = given
                self._forget(path)

    def _apply(self, override: _Override) -> None:
        keys = override.keys
        here = self.value
        for number, key in enumerate(keys[:-1], start=1):
            if not isinstance(here.get(key), dict):
                here[key] = {}
                self._forget(keys[:number])
            here = here[key]
        held = here.get(keys[-1], _NOTHING)
        is_named_already = keys == ("preset",) and keys not in self._overrides  # noted where it was added
        if held is not _NOTHING and held != override.value and not is_named_already:
            self._note(self._winner_over(keys), _describe_both(keys, override.value, held))
        here[keys[-1]] = override.value
        self._forget(keys)
        self._overrides.pop(keys, None)
        self._overrides[keys] = override

    def _winner_over(self, keys: KeyPath) -> str:
        if keys in self._overrides:
            return "given twice on the command line, the last one holds"
        if keys in self._from_preset:
            return f"--set wins over the preset {self._preset_name}"
        return f"the command line wins over {self._where}"

    def _note(self, winner: str, loser: str) -> None:
        self._losers.setdefault(winner, []).append(loser)

    def _forget(self, keys: KeyPath) -> None:
        """Drop the file's lines at and under `keys`, whose values are no longer in force."""
        for path in [path for path in self._document.lines if path[: len(keys)] == keys]:
            del self._document.lines[path]


_NOTHING = object()


def _read_override(override: str) -> _Override:
    dotted, equals, text = override.partition("=")
    keys = tuple(dotted.strip().split("."))
    if not equals or not all(keys):
        raise ConfigError(f'"{override}" sets nothing', where="--set", fix="write --set group.option=value")
    keys = tuple(map(str, rename_path(keys)))
    return _Override(keys, load_strict(text, where=f"--set {dotted}", error=ConfigError).value, override)


def _leaves(
    options: Mapping[str, Any], groups: Collection[KeyPath], path: KeyPath = ()
) -> Iterator[tuple[KeyPath, Any]]:
    """Each single option and its value; an empty group holds none."""
    for key, value in options.items():
        here = (*path, key)
        if isinstance(value, dict) and here in groups:
            yield from _leaves(value, groups, here)
        elif not (value is None and here in groups):
            yield here, value


def _open_group(value: dict[str, Any], path: KeyPath) -> dict[str, Any] | None:
    """The group that an option belongs to, made where it is missing or empty; None where a value is in its place."""
    here: Any = value
    for key in path[:-1]:
        if here.get(key) is None:
            here[key] = {}
        here = here[key]
        if not isinstance(here, dict):
            return None
    return here  # type: ignore[no-any-return]


def _describe_both(path: KeyPath, won: Any, lost: Any) -> str:
    return f"{'.'.join(map(str, path))} is {show_value(won)}, not {show_value(lost)}"


def show_value(value: Any) -> str:
    """A value on one line, cut where it is long; a word needs no quotes."""
    shown = value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 3] + "..."
