"""People's preferences as a folder of several splits: which of them are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlaif.calibration.labels import Texts
from rlaif.config.calibration import HumanLabelsConfig
from rlaif.errors import DataError
from rlaif.preferences.people import label_inputs, load_labels


def folder(path: Path, *names: str) -> str:
    for name in names:
        row = {"prompt": name, "chosen": "Yes.", "rejected": "No."}
        (path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return str(path)


def read(path: str, split: str | None = None) -> list[str]:
    labels = load_labels(HumanLabelsConfig(path=path, split=split))
    assert labels is not None
    return [row.pair.prompt.messages[0].content for row in labels.rows if isinstance(row.pair, Texts)]


def test_labels_of_several_splits_are_named_or_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, "train_a", "train_b", "test_a")
    with pytest.raises(DataError, match=r"train_a, train_b .*: name one by human_labels\.split=train_a"):
        read(path)
    assert read(path, "train_b") == ["train_b"]
    assert read(path, "train_a+test_a") == ["test_a", "train_a"]


def test_without_a_name_labels_are_the_training_and_the_test_split(tmp_path: Path) -> None:
    assert read(folder(tmp_path, "train", "test", "dev")) == ["train", "test"]


def test_another_split_of_the_labels_is_another_input_of_the_run(tmp_path: Path) -> None:
    path = folder(tmp_path, "train", "test")
    plain, named = (label_inputs(HumanLabelsConfig(path=path, split=split)) for split in (None, "train"))
    assert set(plain["human_labels"]) == {"file"}
    assert set(named["human_labels"]) == {"file", "split"}


def test_a_file_of_labels_has_no_split(tmp_path: Path) -> None:
    folder(tmp_path, "train")
    with pytest.raises(DataError, match=r"a file has no parts.*leave human_labels\.split out"):
        read(str(tmp_path / "train.jsonl"), "train")
