"""JSON text -> rows: one object a line, or one document in any of the shapes in which tables are written.

A document is a list of objects, an object with such a list under a key, columns with their values, or one of pandas'
layouts (`orient=` records, columns, index, split, table). Strict: no NaN, no key twice, no text that is not Unicode.
Does not know what the columns mean.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any, NoReturn

from rlaif.errors import DataError
from rlaif.files.row import Row, describe

MAX_LINE_BYTES = 16 * 2**20
MAX_DOCUMENT_BYTES = 512 * 2**20
MAX_DEPTH = 100
"""Deepest nesting of lists and objects; every part of the program can walk a value of this depth."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_OF_MESSAGES = ({"role", "content"}, {"from", "value"}, {"type", "text"}, {"role", "parts"})
OnOdd = Callable[[DataError], None]


def json_rows(
    file: IO[bytes], *, where: str, is_lines: bool, wanted: Collection[str] | None, on_odd: OnOdd
) -> Iterator[Row]:
    """The rows of a file. is_lines: its name says one object a line; a document is read under that name too."""
    if _is_document(file, is_lines=is_lines):
        yield from _document_rows(file, where=where, wanted=wanted, on_odd=on_odd)
    else:
        yield from _line_rows(file, where=where, on_odd=on_odd)


def _is_document(file: IO[bytes], *, is_lines: bool) -> bool:
    """Whether the file is one JSON value rather than one a line; the file is at its start afterwards."""
    first = b""
    while not first.strip() and (line := file.readline(MAX_LINE_BYTES + 1)):
        first = line.removeprefix(b"\xef\xbb\xbf")
    begins = first.lstrip()[:1]
    has_more = any(iter(lambda: file.read(4096).strip(), b"")) if len(first) <= MAX_LINE_BYTES else True
    try:
        if len(first) > MAX_LINE_BYTES:
            return begins == b"[" or not is_lines
        if _is_json(first):
            return not has_more
        if not is_lines:
            return has_more or begins == b"["
        return has_more and (begins == b"[" or first.strip() == b"{") and _is_whole_document(file)
    finally:
        file.seek(0)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_whole_document(file: IO[bytes]) -> bool:
    file.seek(0)
    return _is_json(file.read(MAX_DOCUMENT_BYTES))


def _line_rows(file: IO[bytes], *, where: str, on_odd: OnOdd) -> Iterator[Row]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        here = f"{where}:{number}"
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB",
                where=here,
                fix="write one row per line",
            )
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            try:
                row = _row(parse_json(line, where=here), where=here)
            except DataError as error:
                on_odd(error)
            else:
                yield row


def _document_rows(file: IO[bytes], *, where: str, wanted: Collection[str] | None, on_odd: OnOdd) -> Iterator[Row]:
    data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DataError(
            f"the JSON document is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB", where=where, fix="write it as JSONL"
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    is_one_line = b"\n" not in data.strip()
    value = parse_json(data, where=f"{where}:1" if is_one_line and not where.lower().endswith(".json") else where)
    rows = _rows_in(value, where=where, wanted=wanted) if isinstance(value, dict) else value
    if rows is None:
        yield _row(value, where=f"{where}:1")
        return
    for number, cells in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        try:
            row = _row(cells, where=f"{where} row {number}")
        except DataError as error:
            on_odd(error)
        else:
            yield row


def _rows_in(value: Mapping[str, Any], *, where: str, wanted: Collection[str] | None) -> list[Any] | None:
    """The rows of an object that holds a table; None where the object is one row itself."""
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list) and "prompt" not in value:
        return _split_rows(value, where=where)
    if wanted and not value.keys().isdisjoint(wanted) and not _holds_columns(value):
        return None
    tables = [key for key, inner in value.items() if _is_table(inner)]
    if len(tables) == 1 and (len(value) == 1 or not _holds_columns(value)):
        return list(value[tables[0]])
    if len(tables) > 1:
        raise DataError(
            f"the JSON object holds {len(tables)} lists of rows: {', '.join(tables[:12])}",
            where=where,
            fix="write the one to read as a file of its own",
        )
    (only, *others) = value.values() or (None,)
    if not others and isinstance(only, dict) and any(map(_is_table, only.values())):
        return _rows_in(only, where=where, wanted=wanted)
    if _holds_columns(value):
        return _column_rows(value, where=where, wanted=wanted)
    return None


def _is_table(value: Any) -> bool:
    """Whether a value is a list of rows; the messages of one conversation are none."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) for one in value)
        and not any(keys <= value[0].keys() for keys in _OF_MESSAGES)
    )


def _holds_columns(value: Mapping[str, Any]) -> bool:
    """Whether each value is a column: all lists, or all objects by row, and not each the messages of one row."""
    inner = list(value.values())
    if not inner:
        return False
    if all(isinstance(one, dict) for one in inner):
        return all(one.keys() == inner[0].keys() for one in inner) and len(inner[0]) > 0
    if not all(isinstance(one, list) for one in inner):
        return False
    return not any(_is_messages(one) or _is_table(one) for one in inner)


def _is_messages(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], dict) and any(keys <= value[0].keys() for keys in _OF_MESSAGES)


def _split_rows(value: Mapping[str, Any], *, where: str) -> list[Any]:
    columns = value["columns"]
    if not all(isinstance(name, str) for name in columns):
        raise DataError('"columns" does not hold names', where=where, fix="write it again with names of columns")
    rows = []
    for number, cells in enumerate(value["data"], start=1):
        if not isinstance(cells, list) or len(cells) != len(columns):
            what = f"{describe(cells)} of {len(cells)}" if isinstance(cells, list) else describe(cells)
            raise DataError(
                f'"data" holds {what} where a list of {len(columns)} cells belongs',
                where=f"{where} row {number}",
                fix='write it again, as pandas does with orient="split"',
            )
        rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def _column_rows(value: Mapping[str, Any], *, where: str, wanted: Collection[str] | None) -> list[Any]:
    """Rows of columns: each a list, or an object by the rows' names; or of rows by their names."""
    first = next(iter(value.values()))
    if isinstance(first, list):
        lengths = {name: len(cells) for name, cells in value.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:12])
            raise DataError(f"the columns differ in length: {shown}", where=where, fix="write one object per row")
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    if _is_by_row(value, first, wanted=wanted):
        return list(value.values())
    return [{name: cells[place] for name, cells in value.items()} for place in first]


def _is_by_row(value: Mapping[str, Any], first: Mapping[str, Any], *, wanted: Collection[str] | None) -> bool:
    """Whether the outer names are those of rows, as pandas writes `orient="index"`."""
    if wanted:
        return not first.keys().isdisjoint(wanted) and value.keys().isdisjoint(wanted)
    return all(name.isdigit() for name in value) or not all(name.isdigit() for name in first)


def _row(value: Any, *, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            "the row is not a JSON object", where=where, fix='write rows like {"prompt": "..."}, one per line'
        )
    return Row(value, where, tuple(value))


def parse_json(data: bytes, *, where: str) -> Any:
    """Strict JSON: no NaN, no number beyond what a float holds, no key twice, no text that is not Unicode."""
    try:
        text = data.decode()
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite_float, object_pairs_hook=_unrepeated
        )
        if _SURROGATE.search(text):
            # subtle: an escape such as \ud800 alone is valid JSON and yet no text; nothing else can make one.
            json.dumps(value, ensure_ascii=False).encode()
        if text.count("[") + text.count("{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
            raise RecursionError
        return value
    except json.JSONDecodeError as error:
        line = f" at line {error.lineno}" if error.lineno > 1 else ""
        raise DataError(
            f"this is not valid JSON: {error.msg}{line}, column {error.colno}",
            where=where,
            fix="correct the line",
        ) from error
    except UnicodeError as error:
        raise DataError("the text is not valid UTF-8", where=where, fix="save the file as UTF-8") from error
    except RecursionError as error:
        raise DataError(
            f"the JSON is nested too deeply, more than {MAX_DEPTH} levels", where=where, fix="flatten it"
        ) from error
    except ValueError as error:
        raise DataError(f"this is not valid JSON: {error}", where=where, fix="correct the line") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value; write null")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f'the key "{twice}" stands twice')
    return value


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested in more than `depth` levels."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
