"""What a folder's files, subfolders and card say of its parts, and which part is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.errors import DataError
from rlaif.files.row_parts import Part, find_counterpart, find_parts, list_parts


def folder(path: Path, *names: str, card: str = "") -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("{}\n")
    if card:
        (path / "README.md").write_text(f"---\n{card}---\n# A data set\n")
    return path


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"], ["train"]),
        (["data/train-00000-of-00001-0123456789abcdef.parquet", "train.csv"], ["train"]),
        (["train_1.jsonl", "train.2.jsonl.gz", "train-part-3.json"], ["train"]),
        (["train_prefs-00000-of-00001.jsonl", "train_sft.jsonl"], ["train_prefs", "train_sft"]),
        (["train.v2.jsonl", "train.jsonl"], ["train", "train.v2"]),
        (["harmless/train.jsonl", "helpful/train.jsonl.gz"], ["harmless/train", "helpful/train"]),
        (["default/test/0000.parquet", "default/train/0000.parquet"], ["default/test", "default/train"]),
        (["harmless_test.jsonl", "harmless_train.jsonl"], ["harmless_test", "harmless_train"]),
        (["part-00000-4f1c-c000.snappy.parquet", "part-00001-77aa-c000.snappy.parquet"], ["data"]),
        (["rows-2024-01.jsonl", "rows-2024-02.jsonl"], ["rows"]),
        (["latest.jsonl", "constraints.jsonl"], ["constraints", "latest"]),  # no word of a split, though letters of one
        (["train.jsonl", ".cache/train_sft.jsonl", "dataset_info.json", "notes.txt"], ["train"]),
    ],
)
def test_numbers_are_pieces_and_words_are_parts(tmp_path: Path, names: list[str], parts: list[str]) -> None:
    assert [part.name for part in list_parts(folder(tmp_path, *names))] == parts


CARD = """configs:
- config_name: default
  data_files:
  - split: train_a
    path: a/*.jsonl
- config_name: other
  data_files: {train: [b/x.jsonl], test: "b/t[0-9].jsonl"}
- config_name: third
  data_dir: c
"""


def test_a_card_names_the_parts_and_the_subset_that_is_meant(tmp_path: Path) -> None:
    place = folder(tmp_path, "a/x.jsonl", "a/y.jsonl", "b/x.jsonl", "b/t1.jsonl", "c/d/z.jsonl", card=CARD)
    parts = list_parts(place)
    assert {part.name: [path.name for path in part.files] for part in parts} == {
        "default/train_a": ["x.jsonl", "y.jsonl"],
        "other/train": ["x.jsonl"],
        "other/test": ["t1.jsonl"],
        "third/train": ["z.jsonl"],
    }
    assert [part.name for part in find_parts(parts, None, option="o", where="w")] == ["default/train_a"]
    assert [part.name for part in find_parts(parts, "other", option="o", where="w")] == ["other/train"]


@pytest.mark.parametrize(
    "card", ["configs: [\n", "configs: 3\n", "a: &x 1\nb: *x\n", "configs:\n- data_files: /etc/*\n"]
)
def test_a_card_that_says_nothing_leaves_the_file_names_to_speak(tmp_path: Path, card: str) -> None:
    assert [part.name for part in list_parts(folder(tmp_path, "train.jsonl", card=card))] == ["train"]


def parts_of(*names: str) -> list[Part]:
    return [Part(*("", *name.split("/"))[-2:]) for name in names]


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        ("train test", None, "train"),
        ("train train_sft", None, "train"),  # the exact name is no doubt
        ("train_prefs test_prefs", None, "train_prefs"),
        ("rows", None, "rows"),
        ("test", None, ""),
        ("train_prefs train_sft", "train_sft", "train_sft"),
        ("train_prefs train_sft", "train_sft+train_prefs", "train_sft train_prefs"),
        ("a/train a/test b/train", "a", "a/train"),
        ("a/train a/test b/train", "a/test", "a/test"),
    ],
)
def test_the_part_that_is_meant_is_found(names: str, wanted: str | None, found: str) -> None:
    chosen = find_parts(parts_of(*names.split()), wanted, option="o", where="w")
    assert [part.name for part in chosen] == found.split()


@pytest.mark.parametrize(
    ("names", "wanted", "sentence"),
    [
        (
            "train_prefs train_sft",
            None,
            "this has 2 parts that could be meant: train_prefs, train_sft (w): name one by ",
        ),
        ("a/train b/train", None, "a/train, b/train (w): name one by x.split=a/train, or several joined by +"),
        ("helpful harmless", None, "2 parts that could be meant: helpful, harmless"),
        ("train test", "tain", 'there is no part "tain"; the parts are: train, test (w): name one of them by x.split'),
        ("a/train b/train", "train", '"train" names 2 parts: a/train, b/train'),
        ("train test", "train+", 'there is no part ""'),
    ],
)
def test_a_doubt_is_refused_with_the_parts_and_the_option(names: str, wanted: str | None, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        find_parts(parts_of(*names.split()), wanted, option="x.split", where="w")
    assert sentence in caught.value.sentence


@pytest.mark.parametrize(
    ("names", "trained", "test"),
    [
        ("train test", "train", "test"),
        ("train_prefs train_sft test_prefs test_sft", "train_prefs", "test_prefs"),
        ("train_prefs train_sft test", "train_prefs", None),  # whose test split it is, nobody knows
        ("train_prefs test", "train_prefs", "test"),
        ("a/train a/test b/train b/test", "b/train", "b/test"),
        ("train eval dev", "train", None),
        ("train test", "test", None),
    ],
)
def test_the_test_split_of_the_same_name_belongs_to_a_training_split(
    names: str, trained: str, test: str | None
) -> None:
    parts = parts_of(*names.split())
    [part] = [part for part in parts if part.name == trained]
    found = find_counterpart(parts, part)
    assert (found and found.name) == test


def test_a_whole_disk_is_refused_as_a_data_set(tmp_path: Path) -> None:
    folder(tmp_path, "a.jsonl", "b.jsonl", ".git/c.jsonl", ".git/d.jsonl")
    assert [file.name for part in list_parts(tmp_path, most_entries=2) for file in part.files] == ["a.jsonl", "b.jsonl"]
    folder(tmp_path, "c.jsonl")
    with pytest.raises(DataError, match="more than 2 files and folders"):
        list_parts(tmp_path, most_entries=2)
