"""Labelled pairs are read from files, and whatever could be read in two ways is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import DataError
from rlaif.judge_health.labelled_pairs import load_labelled_pairs

ROW = {"prompt": "How are you?", "first": "Well.", "second": "I am very well, thank you.", "label": "second"}


def write_rows(folder: Path, *changes: dict[str, Any], num: int = 8) -> Path:
    """A file of `num` rows; the first of them are changed."""
    rows = [{**ROW, "prompt": f"How are you, {number}?"} for number in range(num)]
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
        for name in [name for name, value in row.items() if value is ...]:
            del row[name]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_may_be_words_or_probabilities(tmp_path: Path) -> None:
    given = ["first", "second", "tie", 0.7, 0, "0.25", " First "]
    pairs = load_labelled_pairs(write_rows(tmp_path, *({"label": label} for label in given), num=10))
    assert [pair.label for pair in pairs[:7]] == [1.0, 0.0, 0.5, 0.7, 0.0, 0.25, 1.0]
    assert [pair.has_winner for pair in pairs[:3]] == [True, True, False]


def test_a_csv_file_is_read_alike_and_empty_cells_are_no_values(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    rows = [f"question {n},one,another,0.9,,,people" for n in range(8)]
    path.write_text("\n".join(["prompt,first,second,label,principle,opposite,group", *rows]))
    pair = load_labelled_pairs(path)[0]
    assert (pair.first, pair.second, pair.label, pair.principle, pair.group) == ("one", "another", 0.9, None, "people")


def test_a_prompt_may_be_a_conversation(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go"},
    ]
    pair = load_labelled_pairs(write_rows(tmp_path, {"prompt": turns}))[0]
    assert [message.role for message in pair.messages] == ["user", "assistant", "user"]


def test_rows_with_the_same_principle_and_opposite_have_one_principle(tmp_path: Path) -> None:
    own = {"principle": "Be warm.", "opposite": "Be cold."}
    pairs = load_labelled_pairs(write_rows(tmp_path, own, own, {"principle": "Be warm."}))
    assert pairs[0].principle == pairs[1].principle
    assert pairs[0].principle is not None
    assert pairs[2].principle is not None
    assert pairs[0].principle.id != pairs[2].principle.id


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "left"}, '"label" holds "left" (*:1): write "first", "second" or "tie"'),
        ({"label": 1.5}, '"label" holds the number 1.5'),
        ({"label": True}, '"label" holds true'),
        ({"label": None}, '"label" holds null'),
        ({"label": ...}, 'there is no column "label"'),
        ({"second": "Well."}, "both replies are the same"),
        ({"first": " "}, "the first reply is empty"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"opposite": "Be cold."}, "there is an opposite and no principle"),
        ({"principle": "Be warm.", "opposite": "Be warm."}, "the opposite is the principle's own text"),
        ({"principal": "Be warm."}, 'no column "principal" (*:1): did you mean "principle"?'),
        ({"principle": 3}, '"principle" holds the number 3 where text belongs'),
    ],
)
def test_an_odd_row_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = write_rows(tmp_path, change)
    with pytest.raises(DataError) as caught:
        load_labelled_pairs(path)
    assert sentence.replace("*", str(path)) in str(caught.value)
    assert f"{path}:1" in str(caught.value)


def test_a_file_with_too_few_winners_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="8 pairs, 7 of them with a winner, say nothing of a judge"):
        load_labelled_pairs(write_rows(tmp_path, {"label": "tie"}))
