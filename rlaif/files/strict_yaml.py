"""YAML text -> plain values and the line of each; the one YAML reader of rlaif.

Reads the YAML 1.2 core schema: `1e-5` is a number, `no` and `2026-01-01` are text. Refuses what hides or
repeats a value: duplicate keys, anchors, aliases, tags, merge keys, several documents. Does not read files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

from rlaif.errors import InputError

Path = tuple[str | int, ...]

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 32
MAX_NUMBER_CHARACTERS = 100  # for longer integers Python raises an error that names no line

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class StrictYaml(NamedTuple):
    """A document and the lines of its parts."""

    value: Any
    """Dicts with text keys, lists, str, int, float, bool, None."""
    lines: dict[Path, int]
    """Line (from 1) of each key or list item, by its path; () is the document itself."""

    def line_of(self, path: Path) -> int:
        """The line of the nearest part on the way to `path` that is in the document."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load_strict(text: str, *, where: str, error: type[InputError] = InputError) -> StrictYaml:
    """Read one YAML document; `where` names the file in messages, `error` is what is raised."""
    if len(text) > MAX_CHARACTERS:
        raise error(
            f"the YAML text is {len(text):,} characters long, the limit is {MAX_CHARACTERS:,}",
            where=where,
            fix="split it into smaller files",
        )
    return _Reader(where, error).read(text.removeprefix("\ufeff"))


def read_plain_scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted YAML scalar means in the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_NUMBER_CHARACTERS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text) + 0.0  # -0.0 is 0
    if match := _NOT_FINITE.fullmatch(text):
        return float(match.group(1) + "inf") if match.group(2) else float("nan")
    return text


class _Reader:
    """Builds values from PyYAML's events, because its composer resolves aliases and keeps the last duplicate."""

    def __init__(self, where: str, error: type[InputError]) -> None:
        self._where = where
        self._error = error
        self._lines: dict[Path, int] = {}
        self._events: Iterator[yaml.Event] = iter(())

    def read(self, text: str) -> StrictYaml:
        self._events = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        try:
            event = next(self._events)
            while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
                event = next(self._events)
            if isinstance(event, yaml.StreamEndEvent):
                return StrictYaml(None, {(): 1})
            self._lines[()] = _line(event)
            value = self._value(event, ())
            for rest in self._events:
                if isinstance(rest, yaml.DocumentStartEvent):
                    self._refuse("a second document starts here", rest, "keep one document, without `---`")
        except yaml.MarkedYAMLError as cause:
            mark = cause.problem_mark or cause.context_mark
            raise self._error(
                f"this is not valid YAML: {cause.problem or cause.context}",
                where=f"{self._where}:{mark.line + 1}" if mark else self._where,
                fix="check indentation, colons and quotes on this line and the one above",
            ) from cause
        except yaml.reader.ReaderError as cause:
            line = text[: cause.position].count("\n") + 1
            raise self._error(
                "the file holds a character that YAML does not allow",
                where=f"{self._where}:{line}",
                fix="remove the control character",
            ) from cause
        return StrictYaml(value, self._lines)

    def _value(self, event: yaml.Event, path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"the alias *{event.anchor} is not allowed", event, "write the value out")
        assert isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent)
        if event.anchor is not None:
            self._refuse(f"the anchor &{event.anchor} is not allowed", event, "write the value where it is used")
        if event.tag is not None:
            self._refuse(f"the tag {event.tag} is not allowed", event, "remove it; quote the value if it is text")
        if isinstance(event, yaml.ScalarEvent):
            return read_plain_scalar(event.value) if event.style is None else event.value
        if len(path) >= MAX_DEPTH:
            self._refuse(f"the nesting is deeper than {MAX_DEPTH} levels", event, "flatten it")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self._lines[here] = _line(event)
            items.append(self._value(event, here))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            here = (*path, key)
            if key in mapping:
                self._refuse(
                    f'the key "{".".join(map(str, here))}" stands here a second time',
                    event,
                    f"remove this one or the one on line {self._lines[here]}",
                )
            self._lines[here] = _line(event)
            mapping[key] = self._value(next(self._events), here)
        return mapping

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse("a key must be text", event, "write `name: value`")
        key = self._value(event, ())
        if key == "<<" and event.style is None:
            self._refuse("the merge key << is not allowed", event, "write the values out")
        if not isinstance(key, str):
            self._refuse(f"the key {event.value!r} is not text", event, "put it in quotes if it is meant")
        return str(key)

    def _refuse(self, what: str, event: yaml.Event, fix: str) -> NoReturn:
        raise self._error(what, where=f"{self._where}:{_line(event)}", fix=fix)


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1  # type: ignore[union-attr]
