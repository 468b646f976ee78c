"""benchmarks/reward_model_curve.py: which prompts a size trains on, and what is measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.preferences.pool import SplitRows
from rlaif.records import PreferenceRow

CHECKOUT = Path(__file__).resolve().parents[2]


def test_a_larger_size_has_the_prompts_of_the_smaller_and_the_curve_is_stored_by_name(
    base: LoadedModel,
    train_rows: list[PreferenceRow],
    test_rows: list[PreferenceRow],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    curve = importlib.import_module("reward_model_curve")
    rows = SplitRows(train_rows, test_rows)
    assert curve.find_sizes(rows, [50, 3, 5]) == [3, 5, 7]
    few, more = ({row.prompt.id for row in curve.take_prompts(rows, n, seed=1).train} for n in (3, 5))
    assert len(few) == 3
    assert few < more
    points = list(curve.measure_curve(base, rows, sizes=[3], seeds=[0], config=RewardModelConfig(train="readout")))
    assert [(point["prompts"], point["pairs"]) for point in points] == [(3, 9), (7, 21)]
    assert points[-1]["accuracy"]["mean"] == 1.0
    assert curve.describe_point(points[-1]).startswith("7 prompts, 21 pairs, seed 0: 100.0% (")
    monkeypatch.setattr(curve, "RESULTS", tmp_path / "curve.json")
    curve.store("a", {"points": points})
    curve.store("b", {"points": []})
    assert list(json.loads((tmp_path / "curve.json").read_text())["curves"]) == ["a", "b"]
