"""What training leaves in metrics.jsonl: each step once, with the time it took."""

from __future__ import annotations

import time
from pathlib import Path

from rlaif.training.listener import StepMetrics
from rlaif.training.log import TrainingLog
from rlaif.training.metrics import MetricsLog


def test_each_step_has_the_seconds_since_the_one_before(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    began = time.monotonic()
    with TrainingLog(metrics, "policy", total=2) as log:
        time.sleep(0.05)
        log.begin(0)
        log.write_step(StepMetrics(0, {"loss": 1.0}))
        log.write_step(StepMetrics(1, {"loss": 0.5}))
    elapsed = time.monotonic() - began
    first, second = (row.numbers["seconds"] for row in metrics.read("policy"))
    assert first is not None
    assert second is not None
    assert first >= 0.05
    assert second >= 0
    assert first + second <= elapsed + 1e-3, "the clock begins anew with each step"


def test_a_resumed_training_counts_no_step_twice(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    for begin in (0, 1):
        with TrainingLog(metrics, "policy", total=2) as log:
            log.begin(begin)
            for step in range(begin, 2):
                log.write_step(StepMetrics(step, {"loss": float(begin)}))
    assert [(row.step, row.numbers["loss"]) for row in metrics.read("policy")] == [(0, 0.0), (1, 1.0)]


def test_the_seconds_of_a_steps_phases_are_written_beside_its_numbers(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    with TrainingLog(metrics, "policy", total=1) as log:
        log.begin(0)
        log.write_step(StepMetrics(0, {"loss": 1.0}, {"rollout": 0.25, "update": 1.00004}))
    (row,) = metrics.read("policy")
    assert row.numbers.keys() == {"loss", "time/rollout_s", "time/update_s", "seconds"}
    assert (row.numbers["time/rollout_s"], row.numbers["time/update_s"]) == (0.25, 1.0)
