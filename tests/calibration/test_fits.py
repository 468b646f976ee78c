"""Stacked weights of a panel, on simulated judges and people."""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = importlib.import_module("panel")
    monkeypatch.setattr(found, "NUM_HELD_OUT", 1200)
    return found


def test_with_100_labels_five_different_judges_predict_people_better_than_the_best_one_alone(panel: Any) -> None:
    runs = [panel.run_once(panel.MIXED, seed=seed) for seed in range(8)]
    assert statistics.fmean(run.stacked for run in runs) <= statistics.fmean(run.best_alone for run in runs)
    assert statistics.fmean(run.stacked for run in runs) < statistics.fmean(run.mean for run in runs)
    assert sum(run.stacked > run.best_alone for run in runs) <= 2
    assert any(run.kind == "panel" for run in runs)


def test_asked_in_both_orders_a_panel_has_no_bias_for_the_first_and_asked_in_one_it_has(
    panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "NUM_HELD_OUT", 4000)
    run = panel.run_once(panel.MIXED, seed=0)
    assert abs(run.bias) < 0.02
    assert run.bias_of_one_order > 0.05


def test_equal_judges_lose_little_by_having_been_weighed(panel: Any) -> None:
    runs = [panel.run_once(panel.EQUAL, seed=seed) for seed in range(6)]
    assert statistics.fmean(run.stacked - run.mean for run in runs) < 0.015
