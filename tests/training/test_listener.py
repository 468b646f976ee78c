"""A listener hears only what it was given functions for."""

from __future__ import annotations

from rlaif.records import Alarm
from rlaif.training.listener import NOBODY, Evaluated, StepMetrics


def test_nobody_hears_anything_and_stops_nothing() -> None:
    NOBODY.on_begin(0)
    NOBODY.on_metrics(StepMetrics(0, {"loss": 1.0}))
    NOBODY.on_samples(0, [])
    NOBODY.on_evaluation(Evaluated(0, {}, [], 0))
    NOBODY.on_alarm(Alarm(name="kl_ceiling", step=1, value=2.0, limit=1.0, sentence="s", answer="a"), None)
    assert NOBODY.stop_requested() is False
