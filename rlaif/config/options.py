"""The configuration's classes -> a flat list of its options, in plain words.

Errors, `rlaif init` and the docs describe an option by these words, so that they cannot differ.
Does not read files and knows no particular option.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from rlaif.config.base import Config, Follows


class Option(NamedTuple):
    """One option, or one group of options."""

    path: tuple[str, ...]
    is_group: bool
    expected: str
    """What the option accepts, in plain words."""
    default: Any
    """None for a group."""
    help: str
    follows: Follows | None = None
    """The model that decides the option's value where it is null."""

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


def describe_config(config: type[Config], *, path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Every option of `config`, in the order of its fields; a group stands before its options."""
    yield from _describe(config, path, default=None)


def _describe(config: type[Config], path: tuple[str, ...], *, default: Config | None) -> Iterator[Option]:
    for name, field in config.model_fields.items():
        here = (*path, name)
        value = field.get_default(call_default_factory=True) if default is None else getattr(default, name)
        text = " ".join((field.description or "").split())
        if (group := group_of(field)) is not None:
            yield Option(here, True, "its options, on lines of their own under it", None, text)
            yield from _describe(group, here, default=value)
        else:
            follows = next((mark for mark in field.metadata if isinstance(mark, Follows)), None)
            default_value = value if follows is None else None
            yield Option(here, False, expected_of(field), default_value, text, follows=follows)


def describe_items(config: type[Config]) -> Iterator[Option]:
    """The options of each item of every list of groups, such as judge.panel; "*" stands for the item's number."""
    for option in describe_config(config):
        for item in item_groups(config, option.path):
            yield Option((*option.path, "*"), True, "its options, on lines of their own under it", None, option.help)
            yield from describe_config(item, path=(*option.path, "*"))


def item_groups(config: type[Config], path: tuple[str, ...]) -> Iterator[type[Config]]:
    """The class of the items of the list at `path`; none where the option is no list of groups."""
    field = config.model_fields[path[0]]
    group = group_of(field)
    if len(path) > 1 and group is not None:
        yield from item_groups(group, path[1:])
    elif len(path) == 1:
        yield from (item for item in get_args(field.annotation) if _is_group(item))


def group_of(field: FieldInfo) -> type[Config] | None:
    """The class of a field that is a group of options, else None."""
    for part in _alternatives(field.annotation):
        if _is_group(part):
            return part
    return None


def _is_group(part: Any) -> TypeGuard[type[Config]]:
    return isinstance(part, type) and issubclass(part, Config)


def expected_of(field: FieldInfo) -> str:
    """What a field accepts, in plain words: "a number above 0, at most 1"."""
    bounds = [
        f"{word} {getattr(bound, name)}{unit}"
        for bound in field.metadata
        for name, word, unit in _BOUNDS
        if getattr(bound, name, None) is not None
    ]
    parts = _alternatives(field.annotation)
    words = " or ".join(_in_words(part) for part in parts if part is not type(None))
    is_open = type(None) in parts or any(isinstance(mark, Follows) for mark in field.metadata)
    or_null = " or null" if is_open else ""
    return ", ".join((f"{words} {bounds[0]}" if bounds else words, *bounds[1:])) + or_null


_BOUNDS = (
    ("gt", "above", ""),
    ("ge", "at least", ""),
    ("lt", "below", ""),
    ("le", "at most", ""),
    ("min_length", "at least", " long"),
    ("max_length", "at most", " long"),
)
_PLAIN: dict[Any, str] = {
    int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null", Any: "any value",
}  # fmt: skip


def _in_words(annotation: Any) -> str:
    parts = _alternatives(annotation)
    if len(parts) > 1:
        return " or ".join(_in_words(part) for part in parts)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if get_origin(annotation) is Annotated:
        return _in_words(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    arguments = [part for part in get_args(annotation) if part is not ...]
    if get_origin(annotation) is dict:
        return f"names with {_in_words(arguments[1])} for each"
    if get_origin(annotation) in (tuple, list):
        return f"a list, each {_in_words(arguments[0])}"
    if _is_group(annotation):
        return f"with {', '.join(option.dotted for option in describe_config(annotation) if not option.is_group)}"
    return getattr(annotation, "__name__", str(annotation))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)
