"""`--columns FILE.yaml` -> which columns of recorded samples and verdicts hold what.

A closed schema; every refusal names the file, the line and the key. Does not read the data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rlaif.config.base import Config
from rlaif.config.strict_yaml import load_strict
from rlaif.errors import ConfigError
from rlaif.records import Verdict
from rlaif.rows import describe

Scalar = str | int | float | bool
Scalars = tuple[Scalar, ...]


class VerdictValues(Config):
    """What the verdict column says for each verdict; any other value is a failed judgement."""

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
        _refuse_common("verdict", first=self.first, second=self.second, tie=self.tie)
        return self


class OrderColumn(Config):
    """Which response was shown first, where a column says so."""

    column: str
    """Column of the verdicts file that names the order."""
    listed: Annotated[Scalars, Field(min_length=1)]
    """Values that mean: shown in the order of `responses`."""
    swapped: Annotated[Scalars, Field(min_length=1)]
    """Values that mean: shown in the reverse order."""
    verdict_names: Literal["place", "response"]
    """What "first" in the verdict column means: shown in the first place, or the first of `responses`."""

    @model_validator(mode="after")
    def _is_readable_one_way(self) -> Self:
        _refuse_common("order", listed=self.listed, swapped=self.swapped)
        return self


class PolicyNames(Config):
    """Who wrote the responses: two names, two columns, or one column that joins both."""

    names: tuple[str, str] | None = None
    """The same two names for all rows."""
    columns: tuple[str, str] | None = None
    """Columns of the samples file that hold the names."""
    joined: str | None = None
    """One column that holds both names with `separator` between them."""
    separator: str | None = None
    """What stands between the names in `joined`."""

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        if sum(x is not None for x in (self.names, self.columns, self.joined)) != 1:
            raise ValueError("give exactly one of names, columns and joined")
        if (self.joined is None) != (not self.separator):
            raise ValueError("joined and separator belong together")
        return self


class LogprobColumns(Config):
    """Columns of the verdicts file with the log-probability of each verdict."""

    first: str
    """Log-probability of preferring the first response."""
    second: str
    """Log-probability of preferring the second response."""
    tie: str | None = None
    """Log-probability of a tie."""


class ColumnMap(Config):
    """Where recorded samples and verdicts keep what."""

    key: str | None = None
    """Column that joins the two files; not needed where samples and verdicts are one file."""
    judgement_key: str | None = None
    """That column's name in the verdicts file, where it is another one."""
    prompt: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Column of the prompt (text or chat messages), or text columns to be joined by a blank line."""
    system: str | None = None
    """Column of the system text."""
    responses: tuple[str, str]
    """The two columns of the responses, in the order in which they were shown."""
    policies: PolicyNames | None = None
    """Who wrote the responses."""
    judge: Annotated[str, Field(min_length=1)]
    """Name of the judge."""
    principle: str = "overall"
    """Id of the principle that was judged."""
    principle_text: str | None = None
    """What the judge was told to look for, where it is known and no constitution is given."""
    verdict: str
    """Column of the verdict."""
    verdict_values: VerdictValues
    """What the verdict column says for each verdict."""
    reason: str | None = None
    """Column of the judge's reason."""
    reply: str | None = None
    """Column of the judge's whole reply."""
    order: OrderColumn | None = None
    """Which response was shown first; without it, the first of `responses`."""
    logprobs: LogprobColumns | None = None
    """Log-probabilities of the verdicts, where they were recorded."""

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt

    @property
    def sample_columns(self) -> set[str]:
        """All columns read from the samples file."""
        named = self.policies and (*(self.policies.columns or ()), self.policies.joined)
        return {name for name in (self.key, self.system, *self.prompt_columns, *self.responses, *(named or ())) if name}

    @property
    def judgement_columns(self) -> set[str]:
        """All columns read from the verdicts file."""
        logprobs = self.logprobs and (self.logprobs.first, self.logprobs.second, self.logprobs.tie)
        order = self.order and self.order.column
        names = (
            self.judgement_key or self.key,
            self.verdict,
            self.reason,
            self.reply,
            order,
            *(logprobs or ()),
        )
        return {name for name in names if name}


_PARTS: dict[tuple[str, ...], type[Config]] = {
    (): ColumnMap,
    ("verdict_values",): VerdictValues,
    ("order",): OrderColumn,
    ("policies",): PolicyNames,
    ("logprobs",): LogprobColumns,
}


def load_column_map(path: Path) -> ColumnMap:
    """Read and validate a column map."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"the column map cannot be read: {said}",
            where=str(path),
            fix="give a YAML file as in examples/recorded-verdicts",
        ) from error
    return parse_column_map(text, where=str(path))


def parse_column_map(text: str, *, where: str) -> ColumnMap:
    """Validate the text of a column map; `where` names the file in messages."""
    document = load_strict(text, where=where, error=ConfigError)
    try:
        return ColumnMap.model_validate(document.value if document.value is not None else {})
    except ValidationError as error:
        # A misspelt key is told first: the missing one is its consequence.
        first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = tuple(part for part in first["loc"] if not (isinstance(part, str) and ("[" in part or part == "str")))
    here = f"{where}:{document.line_of(path)}"
    dotted = ".".join(str(part) for part in path)
    parent = _PARTS.get(tuple(str(part) for part in path[:-1]))
    if first["type"] == "extra_forbidden" and parent is not None:
        near = difflib.get_close_matches(str(path[-1]), parent.model_fields, n=1)
        fix = f'did you mean "{near[0]}"?' if near else f"the keys are {', '.join(parent.model_fields)}"
        raise ConfigError(f'"{dotted}" is not a key of a column map', where=here, fix=fix)
    if first["type"] == "missing":
        raise ConfigError(f'"{dotted}" is missing', where=here, fix=_description(path))
    if first["type"] == "value_error":
        raise ConfigError(f'"{dotted}": {first["ctx"]["error"]}', where=here, fix=_description(path))
    what = f'"{dotted}" holds {describe(first["input"])}' if dotted else "the file holds no column map"
    raise ConfigError(what, where=here, fix=_description(path))


def _description(path: tuple[str | int, ...]) -> str:
    """The help text of the nearest field on the way to `path`."""
    named = tuple(str(part) for part in path)
    while named:
        if (parent := _PARTS.get(named[:-1])) is not None and named[-1] in parent.model_fields:
            return f"expected is: {(parent.model_fields[named[-1]].description or '').rstrip('.')}"
        named = named[:-1]
    return "write `key: value` lines as in examples/recorded-verdicts"


def _refuse_common(what: str, **groups: Scalars) -> None:
    seen: dict[str, str] = {}
    for name, values in groups.items():
        for text in {scalar_text(value) for value in values}:
            if text in seen:
                raise ValueError(f'the {what} value "{text}" stands under {seen[text]} and under {name}')
            seen[text] = name


def scalar_text(value: Any) -> str:
    """One spelling for a value, whatever type a file gave it: 1, 1.0 and "1" are "1"; missing is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
