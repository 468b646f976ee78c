"""Folders with judged runs, for the tests of sheets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_once import make_once
from recorded_run import make_recorded_runs
from spot_checks import answer, draw, say

from rlaif.calibration.sheet import Sheet


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "recorded-runs", make_recorded_runs)


@pytest.fixture
def judged(recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two judged runs: 001 with 40 pairs, 002 with 20."""
    shutil.copytree(recorded_runs, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def labelled(judged: Path) -> Sheet:
    sheet = draw("--items", "20", "--focus")
    answer(sheet, choices="1201" * 5)
    say("status", "sheet.json", "--run", "001")
    return sheet
