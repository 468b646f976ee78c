"""Files of rows -> plain dictionaries with their file and line: JSONL, JSON, CSV and Parquet.

Refuses what could be read in two ways: broken lines, NaN, keys given twice, text that is not Unicode.
Does not know what the columns mean.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast

from rlaif.errors import DataError
from rlaif.files.texts import refuse_no_plain_file
from rlaif.files.transcripts import is_transcript, read_transcript
from rlaif.records import Message

_PLAIN = (".jsonl", ".ndjson", ".json", ".csv")
SUFFIXES = (*_PLAIN, ".parquet", *(f"{suffix}.gz" for suffix in _PLAIN))
MAX_LINE_BYTES = 16 * 2**20
MAX_ARRAY_BYTES = 512 * 2**20
MAX_COLUMNS = 40
"""Columns that a message lists at most."""
_ROLES = ("system", "user", "assistant")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


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


def read_rows(path: str | Path, *, wanted: Collection[str] | None = None) -> Iterator[Row]:
    """The rows of a file in their order; of a Parquet file only the `wanted` columns are read."""
    path = Path(path)
    if not is_row_file(path):
        raise DataError(
            f'files ending in "{path.suffix}" cannot be read',
            where=str(path),
            fix=f"give one of {', '.join(SUFFIXES)}",
        )
    refuse_no_plain_file(path, error=DataError)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if kind == "parquet":
            yield from _parquet_rows(path, wanted)
            return
        with _open(path) as file:
            if kind == "csv":
                yield from _csv_rows(file, where=str(path))
            elif kind == "json" and _starts_with_array(file):
                yield from _array_rows(file, where=str(path))
            else:
                yield from _line_rows(file, where=str(path))
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path), fix="check the path") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError("this is not a whole gzip file", where=str(path), fix="copy or write it again") from error
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror or error}", where=str(path), fix="check the file"
        ) from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def is_row_file(path: str | Path) -> bool:
    """Whether `read_rows` reads files with this ending."""
    return str(path).lower().endswith(SUFFIXES)


def missing_column(
    column: str, *, columns: Collection[str], where: str, option: str = "", way_out: str = "name one of them"
) -> DataError:
    """The error for a missing column: it names the columns that exist, the likely one, and how to name another.

    option: the option that names the column; where there is none, `way_out` is what helps.
    """
    near = difflib.get_close_matches(column, columns, n=1)
    listed = sorted(columns)
    more = f", and {len(listed) - MAX_COLUMNS} more" if len(listed) > MAX_COLUMNS else ""
    there = (", ".join(name[:80] for name in listed[:MAX_COLUMNS]) or "none") + more
    if option:
        likely = near or (listed if len(listed) == 1 else [])
        way_out = f"name the right one with --set {option}={likely[0] if likely else 'NAME'}"
    return DataError(
        f'there is no column "{column}"; the columns are: {there}',
        where=where,
        fix=f'did you mean "{near[0]}"? {way_out}' if near else way_out,
    )


def _line_rows(file: IO[bytes], *, where: str) -> Iterator[Row]:
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
            yield _row(parse_json(line, where=here), where=here)


def _csv_rows(file: IO[bytes], *, where: str) -> Iterator[Row]:
    """RFC 4180: commas, a line of names first, `""` for a quote inside quotes; a cell may hold line breaks."""
    # The limit is the whole process's, and every reader here sets the same one.
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    names: tuple[str, ...] = ()
    line = 1
    try:
        for cells in reader:
            here, line = f"{where}:{line}", reader.line_num + 1
            if not names:
                names = tuple(cells)
                if twice := next((name for name in names if names.count(name) > 1), None):
                    raise DataError(f'the column "{twice}" stands twice', where=here, fix="rename one of them")
            elif cells:
                if len(cells) != len(names):
                    what = f"the row has {len(cells)} cells, the first line names {len(names)} columns"
                    raise DataError(what, where=here, fix="quote cells that hold a comma or a line break")
                yield Row(dict(zip(names, cells, strict=True)), here, names)
    except csv.Error as error:
        raise DataError(f"this is not valid CSV: {error}", where=f"{where}:{line}", fix="correct the line") from error
    except UnicodeError as error:
        raise DataError("the text is not valid UTF-8", where=where, fix="save the file as UTF-8") from error


def _array_rows(file: IO[bytes], *, where: str) -> Iterator[Row]:
    data = file.read(MAX_ARRAY_BYTES + 1)
    if len(data) > MAX_ARRAY_BYTES:
        raise DataError(
            f"the JSON array is larger than {MAX_ARRAY_BYTES // 2**20} MiB",
            where=where,
            fix="write it as JSONL",
        )
    for number, value in enumerate(parse_json(data.removeprefix(b"\xef\xbb\xbf"), where=where), start=1):
        yield _row(value, where=f"{where} row {number}")


def _starts_with_array(file: IO[bytes]) -> bool:
    start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return start.startswith(b"[")


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
        raise DataError("the JSON is nested too deeply", where=where, fix="flatten it") from error
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


def _parquet_rows(path: Path, wanted: Collection[str] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names: tuple[str, ...] = tuple(file.schema_arrow.names)
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise DataError(f'the column "{twice}" stands twice', where=str(path), fix="rename one of them")
            read = [name for name in names if wanted is None or name in wanted]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=read):
                for cells in batch.to_pylist() if read else [{}] * batch.num_rows:
                    number += 1
                    yield Row(cells, f"{path} row {number}", names)
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(
            f"this is not a readable Parquet file: {str(error).splitlines()[0]}",
            where=str(path),
            fix="write it again",
        ) from error


def read_text(value: Any, *, where: str, column: str) -> str:
    """A cell's text; empty where there is no value. A value that is not text is refused."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f'"{column}" holds {describe(value)} where text belongs', where=where, fix="write it as text")
    return value


def read_messages(value: Any, *, where: str, column: str) -> tuple[Message, ...]:
    """Plain text, a transcript or a list of chat messages -> messages; none where there is no value."""
    if value is None:
        return ()
    if isinstance(value, str):
        return read_transcript(value) if is_transcript(value) else (Message(role="user", content=value),)
    if not isinstance(value, list):
        raise DataError(
            f'"{column}" holds {describe(value)}',
            where=where,
            fix="give plain text or a list of chat messages",
        )
    return tuple(_read_message(turn, number, where=where, column=column) for number, turn in enumerate(value, start=1))


def read_prompt_messages(value: Any, *, where: str, column: str) -> tuple[Message, ...]:
    """A conversation up to the assistant's turn; none where its last turn is empty or missing.

    A transcript that ends with a reply is a prompt with an answer to it; the reply is left off.
    """
    messages = read_messages(value, where=where, column=column)
    if is_transcript(value) and messages[-1].role == "assistant":
        messages = messages[:-1]
    if not messages:
        return ()
    if messages[-1].role != "user":
        raise DataError(
            f'"{column}" ends with the {messages[-1].role}\'s turn',
            where=where,
            fix="end it with the user's turn, and give a response in a column of its own",
        )
    return messages if messages[-1].content.strip() else ()


def read_response(value: Any, *, where: str, column: str) -> str | None:
    """Plain text, or TRL's conversational completion (a list with the assistant's one message)."""
    if not isinstance(value, list):
        return None if value is None else read_text(value, where=where, column=column)
    messages = read_messages(value, where=where, column=column)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise DataError(
            f'"{column}" is not one message of the assistant', where=where, fix="give the one response alone"
        )
    return messages[0].content


def _read_message(turn: Any, number: int, *, where: str, column: str) -> Message:
    def refuse(what: str, fix: str) -> NoReturn:
        raise DataError(f'message {number} of "{column}" {what}', where=where, fix=fix)

    if not isinstance(turn, dict) or "role" not in turn or "content" not in turn:
        refuse("has no role and content", 'write messages as {"role": "user", "content": "..."}')
    role, content = turn["role"], turn["content"]
    if role not in _ROLES:
        refuse(f"has the role {describe(role)}", f"use one of {', '.join(_ROLES)}")
    if role == "system" and number > 1:
        refuse("is a system turn in mid-conversation", "put the system turn first")
    if not isinstance(content, str):
        refuse(f"has {describe(content)} as its content", "give its text")
    if turn.get("tool_calls"):
        refuse("calls a tool", "leave out conversations that use tools")
    return Message(role=role, content=content)


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
    return f"a value of type {type(value).__name__}"


def scalar_text(value: Any) -> str:
    """One spelling for a value, whatever type a file gave it: 1, 1.0 and "1" are "1"; missing is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def joined_text(parts: Iterable[str]) -> str:
    """The parts that are not blank, with a blank line between them."""
    return "\n\n".join(part for part in parts if part.strip())
