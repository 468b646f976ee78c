"""The log of a training: its steps in metrics.jsonl, and a progress bar for people.

A resumed training first cuts the rows that came after its checkpoint, so each step has one row, with the seconds since
the row before. Does not know what the numbers mean.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rlaif.console import Progress, say
from rlaif.training.listener import Listener, StepMetrics
from rlaif.training.metrics import MetricsLog

SHOWN_NUMBERS = (
    ("objective/scores", "score"),
    ("objective/kl", "KL"),
    ("loss", "loss"),
    ("accuracy", "accuracy"),
)


class TrainingLog:
    """The log of one stage's training of `total` steps. A training must `begin` before it writes."""

    def __init__(self, metrics: MetricsLog, stage: str, *, total: int, first_step: int = 0) -> None:
        """`first_step`: the number of a new training's first step, 0 or 1."""
        self._metrics, self._stage, self._first_step = metrics, stage, first_step
        self._progress = Progress(stage, total, unit="steps")
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    @property
    def listener(self) -> Listener:
        return Listener(on_begin=self.begin, on_metrics=self.write_step, on_note=say)

    def begin(self, step: int) -> None:
        """Cut what an interrupted training wrote of `step` and later ones."""
        self._progress.count_known(step - self._first_step)
        self._metrics.cut(self._stage, after_step=step - 1)

    def write_step(self, done: StepMetrics) -> None:
        numbers = done.numbers
        phases = {f"time/{phase}_s": round(seconds, 4) for phase, seconds in done.seconds.items()}
        row = {**numbers, **phases, "seconds": self.take_seconds()}
        self._metrics.write(self._stage, step=done.step, numbers=row)
        shown = [f"{name} {numbers[key]:.3g}" for key, name in SHOWN_NUMBERS if key in numbers]
        self._progress.advance(1, note=", ".join(shown))

    def go_back(self, step: int, *, to: int) -> None:
        """Cut the steps from `to` on: the training returned there from `step` and will take them again."""
        self._metrics.cut(self._stage, after_step=to - 1)
        self._progress.advance(to - step)

    def take_seconds(self) -> float:
        """Seconds since the last call, or since the log was made."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return round(seconds, 4)
