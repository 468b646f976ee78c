"""One row of a file and its cells: a plain dictionary with its place, and words for a value that does not belong.

Reads no files, and does not know what the columns mean.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from rlaif.errors import DataError

MAX_LISTED = 40
"""Most columns that a message lists."""
MAX_COMPARED = 2000
"""Most columns that a misspelt name is compared with."""


class Row(NamedTuple):
    cells: Mapping[str, Any]
    """Values by column: str, int, float, bool, None, lists and dicts as in JSON. In CSV every cell is text."""
    where: str
    """File and line, or file and row, for messages."""
    columns: tuple[str, ...]
    """All columns of the row, including those that were not read."""

    def value(self, column: str) -> Any:
        """The cell of a column that must be there."""
        if column not in self.cells:
            raise missing_column(column, columns=self.columns, where=self.where)
        return self.cells[column]


def missing_column(
    column: str, *, columns: Collection[str], where: str, option: str = "", way_out: str = "name one of them"
) -> DataError:
    """The error for a missing column: it names the columns that exist, the likely one, and how to name another.

    option: the option that names the column; where there is none, `way_out` is what helps.
    """
    near = difflib.get_close_matches(column, columns, n=1) if len(columns) <= MAX_COMPARED else []
    listed = sorted(columns)
    more = f", and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    there = (", ".join(name[:80] for name in listed[:MAX_LISTED]) or "none") + more
    if option:
        likely = near or (listed if len(listed) == 1 else [])
        way_out = f"name the right one with --set {option}={likely[0] if likely else 'NAME'}"
    return DataError(
        f'there is no column "{column}"; the columns are: {there}',
        where=where,
        fix=f'did you mean "{near[0]}"? {way_out}' if near else way_out,
    )


def find_repeated(names: Iterable[str]) -> str | None:
    """The first name that stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def read_text(value: Any, *, where: str, column: str) -> str:
    """A cell's text; empty where there is no value. A value that is not text is refused."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f'"{column}" holds {describe(value)} where text belongs', where=where, fix="write it as text")
    return value


def describe(value: Any) -> str:
    """A short word for a value that does not belong where it stands."""
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return f"the number {value}" if not isinstance(value, bool) else str(value).lower()
        case str():
            return f'"{value[:40]}"'
        case dict():
            return "an object"
        case list():
            return "a list" if value else "an empty list"
        case bytes():
            return "bytes"
    return f"a value of type {type(value).__name__}"


def scalar_text(value: Any) -> str:
    """One spelling for a value, whatever type a file gave it: 1, 1.0 and "1" are "1"; missing is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip()


def joined_text(parts: Iterable[str]) -> str:
    """The parts that are not blank, with a blank line between them."""
    return "\n\n".join(part for part in parts if part.strip())
