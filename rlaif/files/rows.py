"""Files of rows -> plain dictionaries with their file and line: JSON in all its layouts, CSV, TSV, Parquet and Arrow.

Refuses what could be read in two ways: broken lines, NaN, keys given twice, text that is not Unicode.
Does not know what the columns mean.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from rlaif.errors import DataError
from rlaif.files.json_rows import MAX_DOCUMENT_BYTES, MAX_LINE_BYTES, OnOdd, json_rows
from rlaif.files.row import Row, find_repeated
from rlaif.files.texts import refuse_no_plain_file

_PLAIN = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
SUFFIXES = (*_PLAIN, ".parquet", ".arrow", *(f"{suffix}.gz" for suffix in _PLAIN))


def refuse(error: DataError) -> None:
    """Refuse an odd row: raise its error."""
    raise error


def read_rows(path: str | Path, *, wanted: Collection[str] | None = None, on_odd: OnOdd = refuse) -> Iterator[Row]:
    """The rows of a file in their order; of a Parquet or Arrow file only the `wanted` columns are read.

    on_odd: receives the error of a row that cannot be read; where it returns, the row is left out.
    """
    path = Path(path)
    if not is_row_file(path):
        raise DataError(
            f'files ending in "{path.suffix}" cannot be read',
            where=str(path),
            fix=f"give one of {', '.join(SUFFIXES)}",
        )
    refuse_no_plain_file(path, error=DataError)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    with _as_sentences(path):
        if kind == "parquet":
            yield from _parquet_rows(path, wanted)
        elif kind == "arrow":
            yield from _arrow_rows(path, wanted)
        else:
            with _open(path) as raw, _as_utf8(raw, where=str(path)) as file:
                if kind in ("csv", "tsv"):
                    yield from _csv_rows(file, where=str(path), delimiter="\t" if kind == "tsv" else ",", on_odd=on_odd)
                else:
                    yield from json_rows(file, where=str(path), is_lines=kind != "json", wanted=wanted, on_odd=on_odd)


@contextmanager
def _as_sentences(path: Path) -> Iterator[None]:
    """Turns what the system and gzip say of a file into our errors."""
    try:
        yield
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


def _as_utf8(file: IO[bytes], *, where: str) -> IO[bytes]:
    """The file itself, or its text in UTF-8 where it begins like UTF-16 or UTF-32, as other programs write it."""
    start = file.read(4)
    file.seek(0)
    encoding = json.detect_encoding(start)
    if encoding.startswith("utf-8"):
        return file
    data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DataError(
            f"the text is {encoding} and larger than {MAX_DOCUMENT_BYTES // 2**20} MiB",
            where=where,
            fix="save the file as UTF-8",
        )
    try:
        return io.BytesIO(data.decode(encoding).removeprefix("\ufeff").encode())
    except UnicodeError as error:
        raise DataError(f"the text is not valid {encoding}", where=where, fix="save the file as UTF-8") from error


def is_row_file(path: str | Path) -> bool:
    """Whether `read_rows` reads files with this ending."""
    return str(path).lower().endswith(SUFFIXES)


def _csv_rows(file: IO[bytes], *, where: str, delimiter: str, on_odd: OnOdd) -> Iterator[Row]:
    """RFC 4180: a line of names first, `""` for a quote inside quotes; a cell may hold line breaks."""
    # The limit is the whole process's, and every reader here sets the same one.
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True, delimiter=delimiter)
    names: tuple[str, ...] = ()
    line = 1
    try:
        for cells in reader:
            here, line = f"{where}:{line}", reader.line_num + 1
            if not names:
                names = tuple(cells)
                if (twice := find_repeated(names)) is not None:
                    raise DataError(f'the column "{twice}" stands twice', where=here, fix="rename one of them")
            elif cells and len(cells) != len(names):
                what = f"the row has {len(cells)} cells, the first line names {len(names)} columns"
                on_odd(DataError(what, where=here, fix="quote cells that hold a separator or a line break"))
            elif cells:
                yield Row(dict(zip(names, cells, strict=True)), here, names)
    except csv.Error as error:
        raise DataError(f"this is not valid CSV: {error}", where=f"{where}:{line}", fix="correct the line") from error
    except UnicodeError as error:
        raise DataError("the text is not valid UTF-8", where=where, fix="save the file as UTF-8") from error


def _parquet_rows(path: Path, wanted: Collection[str] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, read = _choose(file.schema_arrow.names, wanted, path=path)
            batches = file.iter_batches(batch_size=1024, columns=read)
            yield from _batch_rows(batches, read, names=names, path=path)
    except (pa.ArrowException, UnicodeError, RecursionError) as error:
        raise _unreadable("Parquet", path, error) from error


def _arrow_rows(path: Path, wanted: Collection[str] | None) -> Iterator[Row]:
    """The rows of an Arrow file, in the stream format that `datasets` saves or in the file format."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            names, read = _choose(reader.schema.names, wanted, path=path)
            found = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else iter(reader)
            batches = (batch.select(read) if read else batch for batch in found)
            yield from _batch_rows(batches, read, names=names, path=path)
    except (pa.ArrowException, UnicodeError, RecursionError) as error:
        raise _unreadable("Arrow", path, error) from error


def _choose(found: list[str], wanted: Collection[str] | None, *, path: Path) -> tuple[tuple[str, ...], list[str]]:
    """All columns of a file, and those of them that are read."""
    names = tuple(found)
    if (twice := find_repeated(names)) is not None:
        raise DataError(f'the column "{twice}" stands twice', where=str(path), fix="rename one of them")
    return names, [name for name in names if wanted is None or name in wanted]


def _batch_rows(batches: Iterator[Any], read: list[str], *, names: tuple[str, ...], path: Path) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for cells in batch.to_pylist() if read else [{}] * batch.num_rows:
            number += 1
            yield Row(cells, f"{path} row {number}", names)


def _unreadable(kind: str, path: Path, error: Exception) -> DataError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"this is not a readable {kind} file: {said}", where=str(path), fix="write it again")
