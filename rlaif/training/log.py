"""What training says while it runs: metrics.jsonl, its responses, and a line for people now and then.

A resumed training first cuts what came after its checkpoint, so each step stands once, with the
seconds since the one before it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rlaif.console import Progress, notes, say, show_text
from rlaif.files.atomic import write_atomically
from rlaif.policy.ppo.evaluate import Evaluated
from rlaif.policy.ppo.metrics import ShownResponse
from rlaif.records import Alarm, Estimate
from rlaif.stats.intervals import mean_interval
from rlaif.training.metrics import MetricsLog

SHOWN_TO_PEOPLE = 2
EVALUATION, ALARM = "policy_evaluation", "policy_alarm"
"""Stages of their own in metrics.jsonl: their steps are counted as done, a training step's from 0."""
SHOWN_NUMBERS = (
    ("objective/scores", "score"), ("objective/kl", "KL"), ("loss", "loss"), ("accuracy", "accuracy"),
)  # fmt: skip
SHOWN_OF_EVALUATION = (
    ("eval/scores", "score"), ("eval/kl", "KL"), ("eval/held_out", "held-out reward"),
    ("eval/win_rate", "win rate by the judge"), ("eval/response_length", "tokens"),
)  # fmt: skip


class TrainingLog:
    """The log of one stage's training of `total` steps."""

    def __init__(
        self,
        metrics: MetricsLog,
        stage: str,
        *,
        total: int,
        first_step: int = 0,
        samples_path: Path | None = None,
        evaluations_path: Path | None = None,
    ) -> None:
        """`first_step`: the number of the training's very first step. The paths: where PPO's responses go."""
        self._metrics, self._stage, self._samples_path = metrics, stage, samples_path
        self._evaluations_path = evaluations_path
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
        self._progress.advance(step - self._first_step)
        self._cut(step)

    def _cut(self, step: int) -> None:
        """What was logged of `step` and later steps, and of evaluations after more steps than that, comes again."""
        self._metrics.cut(self._stage, after_step=step - 1)
        self._metrics.cut(EVALUATION, after_step=step)
        _cut_rows(self._samples_path, before=step)
        _cut_rows(self._evaluations_path, before=step + 1)

    def write_step(self, step: int, numbers: Mapping[str, float]) -> None:
        self.begin(step)
        now = time.monotonic()
        self._metrics.write(self._stage, step=step, numbers={**numbers, "seconds": round(now - self._since, 4)})
        self._since = now
        shown = [f"{name} {numbers[key]:.3g}" for key, name in SHOWN_NUMBERS if key in numbers]
        self._progress.advance(1, note=", ".join(shown))

    def write_evaluation(self, evaluated: Evaluated) -> None:
        """Store what the held-out prompts' responses came to, and the responses."""
        step, numbers = evaluated.evaluation.step, evaluated.evaluation.numbers
        self.begin(step)
        now = time.monotonic()
        self._metrics.cut(EVALUATION, after_step=step - 1)
        _cut_rows(self._evaluations_path, before=step)
        self._metrics.write(EVALUATION, step=step, numbers={**numbers, "seconds": round(now - self._since, 4)})
        self._since = now
        _append_rows(self._evaluations_path, step, evaluated.shown)
        intervals = _find_intervals(evaluated)
        shown = [
            f"{name} {numbers[key]:.3g}{intervals.get(key, '')}" for key, name in SHOWN_OF_EVALUATION if key in numbers
        ]
        say(f"{self._stage}: after {step} steps, on {len(evaluated.answers)} held-out prompts: {', '.join(shown)}")

    def write_alarm(self, alarm: Alarm, goes_on_at: int | None) -> None:
        """Say it and store it once; what comes again where training went back is cut.

        goes_on_at: the step that comes next; None where the alarm was the end.
        """
        self.begin(alarm.step)
        say(f"{self._stage}: alarm after {alarm.step} steps: {alarm.sentence}; {alarm.answer}")
        numbers = {f"alarm/{alarm.name}": alarm.value, "alarm/limit": alarm.limit}
        if not any(row.step == alarm.step and row.numbers == numbers for row in self._metrics.read(ALARM)):
            self._metrics.write(ALARM, step=alarm.step, numbers=numbers)
        if goes_on_at is not None and goes_on_at < alarm.step:
            self._cut(goes_on_at)
            self._progress.advance(goes_on_at - alarm.step)

    def write_samples(self, step: int, responses: Sequence[ShownResponse]) -> None:
        """Store a step's responses; show a few."""
        _append_rows(self._samples_path, step, responses)
        for shown in responses[:SHOWN_TO_PEOPLE]:
            line = show_text(f"  step {step}, score {shown.score:+.2f}: {shown.response}")
            line.stylize("dim")
            notes.print(line)


def _find_intervals(evaluated: Evaluated) -> dict[str, str]:
    """In brackets, for the numbers of an evaluation that have one."""
    numbers, shown = evaluated.evaluation.numbers, evaluated.shown
    prompts = [response.prompt.id for response in shown]
    found: dict[str, tuple[float, float]] = {}
    for key, values in (("eval/scores", [s.score for s in shown]), ("eval/kl", [s.kl for s in shown])):
        estimate = mean_interval(values, clusters=prompts)
        # The score of masked responses is in no mean: the interval is that of the number or there is none.
        if estimate is not None and math.isclose(estimate.mean, numbers.get(key, math.nan), rel_tol=1e-4, abs_tol=1e-6):
            found[key] = (estimate.low, estimate.high)
    if "eval/win_rate_low" in numbers:
        found["eval/win_rate"] = (numbers["eval/win_rate_low"], numbers["eval/win_rate_high"])
    return {key: f" ({low:.3g} to {high:.3g})" for key, (low, high) in found.items() if low < high}


def read_kl(path: Path, *, step: int) -> Estimate | None:
    """KL of the policy after `step` steps in nats per response, on the held-out prompts of its evaluation, with its
    interval; None where it was not evaluated. path: of the evaluations' responses."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    rows = [row for row in map(json.loads, lines) if row["step"] == step]
    return mean_interval([row["kl"] for row in rows], clusters=[row["prompt_id"] for row in rows])


def _append_rows(path: Path | None, step: int, responses: Sequence[ShownResponse]) -> None:
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        for shown in responses:
            row = {
                "step": step, "prompt_id": shown.prompt.id, "response": shown.response,
                "score": shown.score, "kl": shown.kl, "finished": shown.finished,
            }  # fmt: skip
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _cut_rows(path: Path | None, *, before: int) -> None:
    if path is not None and path.is_file():
        # A line torn by a kill has no newline and never was a row.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        kept = [line + "\n" for line in lines if json.loads(line)["step"] < before]
        write_atomically(path, "".join(kept))
