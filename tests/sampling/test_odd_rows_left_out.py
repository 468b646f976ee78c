"""Odd rows may be left out up to a number that the user gives, and are counted."""

import json
from pathlib import Path

import pytest

from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError
from rlaif.preferences.pool import read_pool
from rlaif.sampling.prompts import read_demonstrations, read_prompts


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_odd_prompts_are_left_out_and_counted_up_to_the_number_given(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": 5}, {"prompt": "b"}, {"prompt": {"c": 1}}])
    with pytest.raises(DataError, match="2 rows of 4 cannot be read.*prompts.max_odd_rows=2"):
        read_prompts(PromptsConfig(path=str(path), max_odd_rows=1))
    read = read_prompts(PromptsConfig(path=str(path), max_odd_rows=2))
    assert [prompt.messages[0].content for prompt in read.prompts] == ["a", "b"]
    assert str(read.tally) == "in 4, kept 2, dropped 2 (odd 2)"


def test_odd_demonstrations_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"prompt": "a", "response": "b"}, {"prompt": "a", "response": 7}])
    with pytest.raises(DataError, match="sft.max_odd_rows=1"):
        read_demonstrations(str(path))
    read = read_demonstrations(str(path), max_odd_rows=1)
    assert str(read.tally) == "in 2, kept 1, dropped 1 (odd 1)"


def test_odd_preferences_are_left_out_and_counted(tmp_path: Path) -> None:
    good = {"prompt": "a", "chosen": "b", "rejected": "c"}
    path = write(tmp_path / "q.jsonl", [good, {**good, "chosen": 7}])
    with pytest.raises(DataError, match="reward_model.max_odd_rows=1"):
        read_pool([], given=str(path), test_fraction=0.0)
    read = read_pool([], given=str(path), test_fraction=0.0, max_odd_rows=1)
    assert (len(read.train), read.num_odd) == (1, 1)
