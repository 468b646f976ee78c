"""A YAML column map -> which columns of somebody's files hold what: the parts that all such maps share.

A map is a closed schema; every refusal names the file, the line and the key. Does not read the data.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from rlaif.config.base import Config
from rlaif.errors import ConfigError, DataError
from rlaif.files.row import Row, describe, scalar_text
from rlaif.files.strict_yaml import load_strict
from rlaif.files.texts import read_text_file
from rlaif.records import Verdict

Scalar = str | int | float | bool
Scalars = tuple[Scalar, ...]
Columns = str | Annotated[tuple[str, ...], Field(min_length=1)]
AnyMap = TypeVar("AnyMap", bound=Config)


class VerdictValues(Config):
    """The values of a column that mean each verdict; any other value means none."""

    first: Annotated[Scalars, Field(min_length=1)]
    """Values that prefer the first response; 1 and "1" are the same value."""
    second: Annotated[Scalars, Field(min_length=1)]
    """Values that prefer the second response."""
    tie: Scalars = ()
    """Values that say neither is better."""

    @cached_property
    def by_text(self) -> Mapping[str, Verdict]:
        """Cell text -> verdict."""
        named: list[tuple[Verdict, Scalars]] = [
            ("first", self.first),
            ("second", self.second),
            ("tie", self.tie),
        ]
        return {scalar_text(value): verdict for verdict, values in named for value in values}

    @model_validator(mode="after")
    def _is_readable_one_way(self) -> Self:
        refuse_common("verdict", first=self.first, second=self.second, tie=self.tie)
        return self


class PolicyNames(Config):
    """Who wrote the responses: two names, two columns, or one column that joins both."""

    names: tuple[str, str] | None = None
    """The same two names for all rows."""
    columns: tuple[str, str] | None = None
    """Columns that hold the names."""
    joined: str | None = None
    """One column that holds both names with `separator` between them."""
    separator: str | None = None
    """Text between the two names in `joined`."""

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        if sum(x is not None for x in (self.names, self.columns, self.joined)) != 1:
            raise ValueError("give exactly one of names, columns and joined")
        if (self.joined is None) != (not self.separator):
            raise ValueError("joined and separator belong together")
        return self

    @property
    def read_columns(self) -> set[str]:
        """The columns that `read` looks at."""
        return {name for name in (*(self.columns or ()), self.joined) if name}

    def read(self, row: Row) -> tuple[str, str]:
        """The two names of a row."""
        if self.names:
            return self.names
        if self.columns:
            names = [scalar_text(row.value(column)) for column in self.columns]
        else:
            names = scalar_text(row.value(self.joined or "")).split(self.separator)
        if len(names) != 2 or not all(names):
            where = '" and "'.join(self.columns or (self.joined or "",))
            raise DataError(
                f'"{where}" does not hold two names', where=row.where, fix="correct the row or the column map"
            )
        return names[0], names[1]


def refuse_common(what: str, **groups: Scalars) -> None:
    """Raise ValueError where one value stands for two things."""
    seen: dict[str, str] = {}
    for name, values in groups.items():
        for text in {scalar_text(value) for value in values}:
            if text in seen:
                raise ValueError(f'the {what} value "{text}" stands under {seen[text]} and under {name}')
            seen[text] = name


def load_column_map(path: Path, kind: type[AnyMap], *, example: str) -> AnyMap:
    """Read and validate a column map; `example` is a folder that shows one."""
    try:
        text = read_text_file(path, error=ConfigError)
    except ConfigError as error:
        raise ConfigError(
            f"the column map cannot be read: {error.what.removeprefix('the file cannot be read: ')}",
            where=error.where,
            fix=f"give a YAML file as in {example}",
        ) from error
    return parse_column_map(text, kind, where=str(path), example=example)


def parse_column_map(text: str, kind: type[AnyMap], *, where: str, example: str) -> AnyMap:
    """Validate the text of a column map; `where` names the file in messages."""
    document = load_strict(text, where=where, error=ConfigError)
    try:
        return kind.model_validate(document.value if document.value is not None else {})
    except ValidationError as error:
        # A misspelt key is reported first: that another one is missing may be its consequence.
        first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = _key_path(first["loc"], kind, is_unknown_key=first["type"] == "extra_forbidden")
    here = f"{where}:{document.line_of(path)}"
    dotted = ".".join(str(part) for part in path)
    expected = _expected(path, kind, example=example)
    if first["type"] == "extra_forbidden":
        keys = (_part_at(path[:-1], kind) or kind).model_fields
        near = difflib.get_close_matches(str(path[-1]), keys, n=1)
        fix = f'did you mean "{near[0]}"?' if near else f"the keys are {', '.join(keys)}"
        raise ConfigError(f'"{dotted}" is not a key of a column map', where=here, fix=fix)
    if first["type"] == "missing":
        raise ConfigError(f'"{dotted}" is missing', where=here, fix=expected)
    if first["type"] == "value_error":
        subject = f'"{dotted}": ' if dotted else ""
        raise ConfigError(f"{subject}{first['ctx']['error']}", where=here, fix=expected)
    what = f'"{dotted}" holds {describe(first["input"])}' if dotted else "the file holds no column map"
    raise ConfigError(what, where=here, fix=expected)


def _key_path(location: Sequence[int | str], kind: type[Config], *, is_unknown_key: bool) -> tuple[int | str, ...]:
    """Path in the document to an error: pydantic's location without the branches of unions that it names too."""
    path: tuple[int | str, ...] = ()
    for number, part in enumerate(location, start=1):
        parent = _part_at(path, kind)
        is_field = parent is not None and part in parent.model_fields
        if isinstance(part, int) or is_field or (is_unknown_key and number == len(location)):
            path = (*path, part)
    return path


def _part_at(path: Sequence[int | str], kind: type[Config]) -> type[Config] | None:
    """The part of the schema that a path leads to; None where it leads to a value."""
    part: type[Config] | None = kind
    for name in path:
        field = None if part is None else part.model_fields.get(str(name))
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        part = next((k for k in kinds if isinstance(k, type) and issubclass(k, Config)), None)
    return part


def _expected(path: Sequence[int | str], kind: type[Config], *, example: str) -> str:
    """The help text of the nearest field on the way to `path`."""
    while path:
        parent: Any = _part_at(path[:-1], kind)
        if parent is not None and path[-1] in parent.model_fields:
            return f"expected is: {(parent.model_fields[path[-1]].description or '').rstrip('.')}"
        path = path[:-1]
    return f"write `key: value` lines as in {example}"
