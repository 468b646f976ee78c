"""`rlaif calibrate`: what is refused before a run is opened; what it writes is in test_human_labels_pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import DataError, InputError, RunFolderError


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("taken.json", DataError, "there is a file already, and nothing is overwritten"),
        ("new.json", RunFolderError, "no"),
    ],
)
def test_a_taken_place_and_a_missing_run_are_refused_and_nothing_is_written(
    tmp_path: Path, name: str, error: type[InputError], said: str
) -> None:
    (tmp_path / "taken.json").write_text("mine")
    (tmp_path / "labels.csv").write_text("first_id,second_id,choice\na,b,first\n")
    arguments = ["calibrate", str(tmp_path / "labels.csv"), "--runs-dir", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / name)])
    assert isinstance(result.exception, error)
    assert said in result.exception.sentence
    assert (tmp_path / "taken.json").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "taken.json"]
