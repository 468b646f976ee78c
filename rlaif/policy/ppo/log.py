"""The log of a policy's training: what TrainingLog keeps, and besides it evaluations, alarms and responses.

Evaluations and alarms are stages in metrics.jsonl, whose steps count what is done before them; responses go to
samples.jsonl and evaluations.jsonl in the stage's folder. Computes only the intervals that it prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NotRequired, Self

from typing_extensions import TypedDict

from rlaif.console import notes, say, show_text
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import json_of, read_own_lines
from rlaif.records import Alarm, Estimate
from rlaif.stats.intervals import mean_interval
from rlaif.training.listener import Evaluated, Listener, ShownResponse
from rlaif.training.log import TrainingLog
from rlaif.training.metrics import MetricsLog

STAGE = "policy"
EVALUATION, ALARM = "policy_evaluation", "policy_alarm"
"""Stages in metrics.jsonl. Their step is the number of steps done; a training step's number counts from 0."""
SAMPLES_FILE, EVALUATIONS_FILE = "samples.jsonl", "evaluations.jsonl"
NUM_PRINTED = 2
"""Responses of a step that are printed, of those that are stored."""
SHOWN_OF_EVALUATION = (
    ("eval/scores", "score"),
    ("eval/kl", "KL"),
    ("eval/held_out", "held-out reward"),
    ("eval/win_rate", "win rate by the judge"),
    ("eval/response_length", "tokens"),
)


class PolicyLog:
    """The log of a policy's training of `total` steps; `folder` is the stage's."""

    def __init__(self, metrics: MetricsLog, *, total: int, folder: Path) -> None:
        self._metrics = metrics
        self._steps = TrainingLog(metrics, STAGE, total=total)
        self._samples, self._evaluations = folder / SAMPLES_FILE, folder / EVALUATIONS_FILE

    def __enter__(self) -> Self:
        self._steps.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.__exit__(kind, error, trace)

    def listener(self, *, stop_requested: Callable[[], bool]) -> Listener:
        return Listener(
            on_begin=self.begin,
            on_metrics=self._steps.write_step,
            on_samples=self.write_samples,
            on_evaluation=self.write_evaluation,
            on_alarm=self.write_alarm,
            stop_requested=stop_requested,
        )

    def begin(self, step: int) -> None:
        """Cut what an interrupted training wrote of `step` and later ones, and of evaluations after them."""
        self._steps.begin(step)
        self._cut_beside(step)

    def write_samples(self, step: int, responses: Sequence[ShownResponse]) -> None:
        """Store a step's responses; print a few."""
        _append_rows(self._samples, step, responses)
        for shown in responses[:NUM_PRINTED]:
            line = show_text(f"  step {step}, score {shown.score:+.2f}: {shown.response}")
            line.stylize("dim")
            notes.print(line)

    def write_evaluation(self, evaluated: Evaluated) -> None:
        """Store an evaluation's numbers and responses, in the place of an earlier one after as many steps."""
        step, numbers = evaluated.step, evaluated.numbers
        self._metrics.cut(EVALUATION, after_step=step - 1)
        _cut_rows(self._evaluations, before=step)
        self._metrics.write(EVALUATION, step=step, numbers={**numbers, "seconds": self._steps.take_seconds()})
        _append_rows(self._evaluations, step, evaluated.shown)
        intervals = _find_intervals(evaluated)
        shown = [
            f"{name} {numbers[key]:.3g}{intervals.get(key, '')}" for key, name in SHOWN_OF_EVALUATION if key in numbers
        ]
        say(f"{STAGE}: after {step} steps, on {evaluated.num_responses} held-out prompts: {', '.join(shown)}")

    def write_alarm(self, alarm: Alarm, next_step: int | None) -> None:
        """Print and store an alarm once; where training went back, cut the steps that it will take again.

        next_step: the step that comes next; None where the alarm ended the training.
        """
        say(f"{STAGE}: alarm after {alarm.step} steps: {alarm.sentence}; {alarm.answer}")
        numbers = {f"alarm/{alarm.name}": alarm.value, "alarm/limit": alarm.limit}
        if not any(row.step == alarm.step and row.numbers == numbers for row in self._metrics.read(ALARM)):
            self._metrics.write(ALARM, step=alarm.step, numbers=numbers)
        if next_step is not None and next_step < alarm.step:
            self._steps.go_back(alarm.step, to=next_step)
            self._cut_beside(next_step)

    def _cut_beside(self, step: int) -> None:
        """Cut the responses of `step` and later steps, and the evaluations after more steps than that."""
        self._metrics.cut(EVALUATION, after_step=step)
        _cut_rows(self._samples, before=step)
        _cut_rows(self._evaluations, before=step + 1)


class ShownRow(TypedDict):
    """A line of a file of responses."""

    step: int
    prompt_id: str
    response: str
    score: float | None
    kl: float
    finished: NotRequired[bool]


def read_shown(path: Path) -> list[ShownRow]:
    """The lines of a file of responses; none where there is no file. A line torn by a kill does not count."""
    return list(read_own_lines(path, _SHOWN, fix="restore it from a copy, or remove the line"))


_SHOWN = json_of(ShownRow)


def read_kl(path: Path, *, step: int) -> Estimate | None:
    """KL in nats per response of the policy after `step` steps, with its interval; None where it was not evaluated.

    path: the file of the evaluations' responses, which answer held-out prompts.
    """
    rows = [row for row in read_shown(path) if row["step"] == step]
    return mean_interval([row["kl"] for row in rows], clusters=[row["prompt_id"] for row in rows])


def _find_intervals(evaluated: Evaluated) -> dict[str, str]:
    """Intervals in brackets, for the numbers of an evaluation that have one."""
    numbers, shown = evaluated.numbers, evaluated.shown
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


def _append_rows(path: Path, step: int, responses: Sequence[ShownResponse]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for shown in responses:
            row = {
                "step": step,
                "prompt_id": shown.prompt.id,
                "response": shown.response,
                "score": shown.score,
                "kl": shown.kl,
                "finished": shown.finished,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _cut_rows(path: Path, *, before: int) -> None:
    if path.is_file():
        kept = [json.dumps(row, ensure_ascii=False) + "\n" for row in read_shown(path) if row["step"] < before]
        write_atomically(path, "".join(kept))
