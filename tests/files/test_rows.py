"""Files of rows: what is read, and what is refused because it could be read two ways."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.errors import DataError
from rlaif.files.json_rows import MAX_LINE_BYTES
from rlaif.files.rows import read_rows

ROWS: list[dict[str, Any]] = [{"prompt": "Grüße 🙂", "n": 1}, {"prompt": "b", "n": None}]


def cells(path: Path, data: bytes) -> list[dict[str, Any]]:
    path.write_bytes(data)
    return [dict(row.cells) for row in read_rows(path)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", "\n".join(json.dumps(row) for row in ROWS).encode()),
        ("a.jsonl", "\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode("utf-8-sig")),
        ("a.ndjson", ("\n\n".join(json.dumps(row) for row in ROWS) + "\n \n").encode()),
        ("a.JSON", json.dumps(ROWS, indent=2).encode("utf-8-sig")),
        ("a.json", "\n".join(json.dumps(row) for row in ROWS).encode()),
    ],
)
def test_lines_and_arrays_give_the_same_rows(tmp_path: Path, name: str, data: bytes) -> None:
    assert cells(tmp_path / name, data) == ROWS


def test_a_gzip_file_gives_the_rows_of_the_file_in_it(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row) for row in ROWS).encode()
    assert cells(tmp_path / "a.jsonl.gz", gzip.compress(lines)) == ROWS
    assert cells(tmp_path / "a.JSON.gz", gzip.compress(json.dumps(ROWS).encode())) == ROWS
    assert cells(tmp_path / "a.csv.gz", gzip.compress(b"a,b\n1,\n")) == [{"a": "1", "b": ""}]


def test_every_cell_of_a_csv_file_is_text_and_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffprompt,n\r\n"Grüße, ""du"" 🙂\nda",1\r\n\r\nb,\r\n'.encode())
    first, second = read_rows(path)
    assert (first.cells, first.where) == ({"prompt": 'Grüße, "du" 🙂\nda', "n": "1"}, f"{path}:2")
    assert (second.cells, second.where) == ({"prompt": "b", "n": ""}, f"{path}:5")


def test_a_csv_file_without_rows_gives_none(tmp_path: Path) -> None:
    assert cells(tmp_path / "a.csv", b"a,b\n") == cells(tmp_path / "a.csv", b"") == []


def test_parquet_gives_the_same_rows_and_reads_only_the_wanted_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    assert [dict(row.cells) for row in read_rows(path)] == ROWS
    (first, _) = read_rows(path, wanted={"n"})
    assert (dict(first.cells), first.columns) == ({"n": 1}, ("prompt", "n"))


def test_a_row_knows_its_line_counting_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [row.where for row in read_rows(path)] == [f"{path}:1", f"{path}:3"]


def test_a_missing_column_is_told_with_those_there_are_and_the_likely_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"promt": "x", "n": 1}')
    (row,) = read_rows(path)
    with pytest.raises(DataError, match=r'no column "prompt"; the columns are: n, promt .*did you mean "promt"\?'):
        row.value("prompt")


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": 1', r"not valid JSON: .*a.jsonl:2\)"),
        ("a.jsonl", b'{"a": NaN}', r"NaN is not a JSON value; write null \(.*a.jsonl:1\)"),
        ("a.jsonl", b'{"a": -Infinity}', "-Infinity is not a JSON value"),
        ("a.jsonl", b'{"a": 1e999}', "1e999 is too large a number"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        ("a.jsonl", b'{"a": 1, "b": 2, "a": 3}', 'the key "a" stands twice'),
        ("a.jsonl", b'{"a": "\xff"}', r"not valid UTF-8 \(.*a.jsonl:1\)"),
        ("a.jsonl", b'{"a": "\\ud800"}', "not valid UTF-8"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b'["a"]', "the row is not a JSON object"),
        ("a.jsonl", b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}', "longer than 16 MiB"),
        ("a.json", b'[{"a": 1},\n{"a": 2}', r"not valid JSON: .* at line 2"),
        ("a.json", b'[{"a": 1}, 2]', r"the row is not a JSON object \(.*a.json row 2\)"),
        ("a.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], r"not a whole gzip file \(.*a.jsonl.gz\)"),
        ("a.jsonl.gz", b'{"a": 1}', "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n{"a": 1', mtime=0), r"not valid JSON: .*a.jsonl.gz:2\)"),
        ("a.csv", b'a,b\n1,2\n"x\ny",4\n5', r"1 cells, the first line names 2 columns \(.*a.csv:5\): quote cells"),
        ("a.csv", b'a,b\n1,"2', r"not valid CSV: .*a.csv:2\)"),
        ("a.csv", b'a,b\n1,"2"x\n', r"not valid CSV: .*a.csv:2\)"),
        ("a.csv", b"a,b,a\n1,2,3", r'the column "a" stands twice \(.*a.csv:1\)'),
        ("a.csv", b"a\n\xff\n", r"not valid UTF-8 \(.*a.csv\)"),
        ("a.csv", b"a\n" + b"x" * (MAX_LINE_BYTES + 1), "not valid CSV: field larger"),
        ("a.xlsx", b"a\tb", r'ending in ".xlsx" cannot be read .*give one of .jsonl'),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_sentence(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        cells(tmp_path / name, data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(DataError, match=rf"there is no such file \(.*{name}\)"):
            list(read_rows(tmp_path / name))


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        list(read_rows(tmp_path / "a.jsonl"))
