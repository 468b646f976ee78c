"""What training says while it runs: metrics.jsonl, samples.jsonl, and a line for people now and then.

A resumed training first cuts what came after its checkpoint, so each step stands once, with the
seconds since the one before it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rlaif.console import Progress, notes, show_text
from rlaif.files import write_atomically
from rlaif.metrics import MetricsLog
from rlaif.policy.ppo.metrics import ShownResponse

SHOWN_TO_PEOPLE = 2
SHOWN_NUMBERS = (
    ("objective/scores", "score"), ("objective/kl", "KL"), ("loss", "loss"), ("accuracy", "accuracy"),
)  # fmt: skip


class TrainingLog:
    """The log of one stage's training of `total` steps."""

    def __init__(
        self, metrics: MetricsLog, stage: str, *, total: int, first_step: int = 0, samples_path: Path | None = None
    ) -> None:
        """`first_step`: the number of the training's very first step."""
        self._metrics, self._stage, self._samples_path = metrics, stage, samples_path
        self._first_step = first_step
        self._progress = Progress(stage, total, unit="steps")
        self._begun = False
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def begin(self, step: int) -> None:
        """Training begins at `step`: what an interrupted one logged from there on is cut."""
        if self._begun:
            return
        self._begun = True
        self._metrics.cut(self._stage, after_step=step - 1)
        self._progress.advance(step - self._first_step)
        if self._samples_path is not None and self._samples_path.is_file():
            # A line torn by a kill has no newline and never was a row.
            lines = self._samples_path.read_text(encoding="utf-8").split("\n")[:-1]
            kept = [line + "\n" for line in lines if json.loads(line)["step"] < step]
            write_atomically(self._samples_path, "".join(kept))

    def write_step(self, step: int, numbers: Mapping[str, float]) -> None:
        self.begin(step)
        now = time.monotonic()
        self._metrics.write(self._stage, step=step, numbers={**numbers, "seconds": round(now - self._since, 4)})
        self._since = now
        shown = [f"{name} {numbers[key]:.3g}" for key, name in SHOWN_NUMBERS if key in numbers]
        self._progress.advance(1, note=", ".join(shown))

    def write_samples(self, step: int, responses: Sequence[ShownResponse]) -> None:
        """Store a step's responses; show a few."""
        if self._samples_path is not None:
            with self._samples_path.open("a", encoding="utf-8") as file:
                for shown in responses:
                    row = {
                        "step": step, "prompt_id": shown.prompt.id, "response": shown.response,
                        "score": shown.score, "kl": shown.kl, "finished": shown.finished,
                    }  # fmt: skip
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for shown in responses[:SHOWN_TO_PEOPLE]:
            line = show_text(f"  step {step}, score {shown.score:+.2f}: {shown.response}")
            line.stylize("dim")
            notes.print(line)
