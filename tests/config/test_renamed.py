"""Options under the names that they had in earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlaif.config.file_changes import find_edits, read_options
from rlaif.config.load import load_config, parse_config
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError
from rlaif.run.options import read_config


def test_people_may_be_named_as_before_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("human_labels:\n  weight: 3\n")
    config = load_config(tmp_path / "old.yaml", overrides=["human_labels.path=labels.jsonl"])
    assert (config.human.weight, config.human.path) == (3.0, "labels.jsonl")


def test_a_wrong_value_under_an_earlier_name_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r'"human.weight" is 0 \(here:2\)'):
        parse_config("human_labels:\n  weight: 0\n", where="here")


def test_both_names_in_one_file_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'"human_labels" is the earlier name of "human".*here:3'):
        parse_config("human:\n  weight: 3\nhuman_labels:\n  weight: 4\n", where="here")


def test_a_stored_configuration_by_earlier_names_is_read_by_todays(tmp_path: Path) -> None:
    options = RunConfig().model_dump(mode="json")
    options["human_labels"] = {**options.pop("human"), "weight": 2.0}
    stored = {"config": options, "inputs": {}, "file": {"path": None, "options": {"human_labels": {"weight": 2}}}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    found = read_config(tmp_path)
    assert found["config"]["human"]["weight"] == 2.0
    assert parse_config(json.dumps(found["config"]), where="config.json", is_complete=True).human.weight == 2.0
    assert found["file"]["options"] == {"human": {"weight": 2}}


def test_a_file_that_took_todays_name_was_not_edited_otherwise(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("human:\n  weight: 2\n")
    (tmp_path / "old.yaml").write_text("human_labels:\n  weight: 2\n")
    then, now = (read_options(tmp_path / name) for name in ("old.yaml", "new.yaml"))
    assert find_edits(then, now) == []
