"""The layouts in which tables are written: each gives the same rows to every option that takes rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError
from rlaif.files.rows import read_rows
from rlaif.preferences.read import read_preferences
from rlaif.sampling.prompts import read_demonstrations, read_prompts

ROWS: list[dict[str, Any]] = [
    {"prompt": f"Question {n}?", "chosen": f"Answer {n}.", "rejected": "No.", "response": "Yes."} for n in range(3)
]
FRAME = pd.DataFrame(ROWS)
JSON_LAYOUTS = {
    "list": json.dumps(ROWS),
    "indented list": json.dumps(ROWS, indent=1),
    "under a key": json.dumps({"version": "1", "data": ROWS}),
    "under two keys": json.dumps({"data": {"rows": ROWS}}, indent=2),
    "lists by column": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    **{name: FRAME.to_json(orient=name) for name in ("records", "columns", "index", "split", "table")},
    "lines": FRAME.to_json(orient="records", lines=True),
}


@pytest.mark.parametrize("layout", JSON_LAYOUTS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_every_layout_of_json_gives_the_same_rows(tmp_path: Path, layout: str, name: str) -> None:
    data = JSON_LAYOUTS[layout].encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = [{name: row.cells[name] for name in ROWS[0]} for row in read_rows(tmp_path / name)]
    assert found == ROWS
    assert len(read_preferences(tmp_path / name)) == len(read_demonstrations(str(tmp_path / name)).demonstrations) == 3
    assert len(read_prompts(PromptsConfig(path=str(tmp_path / name))).prompts) == 3


def test_one_object_is_one_row_also_where_its_cells_are_lists(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    for name, row in (("a.json", {"messages": talk}), ("b.jsonl", {"prompt": "x", "responses": ["a", "b"]})):
        (tmp_path / name).write_text(json.dumps(row, indent=1))
        assert [dict(found.cells) for found in read_rows(tmp_path / name)] == [row]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"train": ROWS, "test": ROWS}, "2 lists of rows: train, test"),
        ({"prompt": ["a"], "chosen": ["b", "c"]}, "the columns differ in length: prompt 1, chosen 2"),
        ({"columns": ["a"], "data": [[1, 2]]}, '"data" holds a list of 2'),
        ([["a", "b"]], "the row is not a JSON object"),
        (5, "the row is not a JSON object"),
    ],
)
def test_a_document_that_is_no_table_is_named_for_what_it_is(tmp_path: Path, value: Any, sentence: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=sentence):
        list(read_rows(tmp_path / "a.json"))


def save_one(path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(path, num_shards=2)
    (path / "cache-0123456789abcdef.arrow").write_bytes(b"rows of a map")


def save_two(path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict(train=rows, test=rows.select(range(1))).save_to_disk(path)


def save_shards(path: Path) -> None:
    path.mkdir()
    for number, row in enumerate(ROWS):
        pd.DataFrame([row]).to_parquet(path / f"train-{number:05}-of-00003.parquet")


@pytest.mark.parametrize("save", [save_one, save_two, save_shards])
def test_a_folder_of_rows_is_read_by_every_option(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "saved")
    assert [row.chosen for row in read_preferences(tmp_path / "saved")] == [row["chosen"] for row in ROWS]
    assert len(read_demonstrations(str(tmp_path / "saved")).demonstrations) == 3
    assert len(read_prompts(PromptsConfig(path=str(tmp_path / "saved"))).prompts) == 3
    assert len(read_prompts(PromptsConfig(path=str(tmp_path / "saved"), split="train[:2]")).prompts) == 2
    assert len(read_preferences(tmp_path / "saved", split="test")) == (1 if save is save_two else 0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize(("name", "end"), [("a.csv", ","), ("a.tsv", "\t"), ("a.jsonl", "")])
def test_text_is_read_in_the_encoding_that_it_begins_with(tmp_path: Path, encoding: str, name: str, end: str) -> None:
    text = FRAME.to_csv(sep=end, index=False) if end else FRAME.to_json(orient="records", lines=True)
    (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert [dict(row.cells) for row in read_rows(tmp_path / name)] == ROWS


def test_a_header_of_half_a_million_columns_is_read_and_refused_in_a_short_sentence(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(",".join(f"c{n}" for n in range(500_000)) + "\n" + "," * 499_999)
    (row,) = read_rows(tmp_path / "wide.csv")
    with pytest.raises(DataError, match="and 499960 more") as caught:
        row.value("prompt")
    assert len(caught.value.sentence) < 1000


@pytest.mark.parametrize("depth", [101, 900, 100_000])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_what_is_nested_too_deeply_is_refused_in_a_sentence(tmp_path: Path, depth: int, name: str) -> None:
    (tmp_path / name).write_text('{"prompt": "a", "metadata": ' + '{"a":' * depth + "1" + "}" * depth + "}")
    with pytest.raises(DataError, match="nested too deeply"):
        read_prompts(PromptsConfig(path=str(tmp_path / name)))
