"""Judged runs, for the tests of pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_once import make_once
from recorded_run import make_recorded_runs


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "recorded-runs", make_recorded_runs)
