"""Functions that a training calls while it runs, as one value.

A training reports through its listener alone: it writes no log, prints nothing and handles no signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlaif.records import Alarm, Prompt


class StepMetrics(NamedTuple):
    """What a training measured in one step."""

    step: int
    numbers: Mapping[str, float]
    """Figures that are the same in every training with the same seed."""
    seconds: Mapping[str, float] = {}
    """Seconds in each phase since the step before, where a training has phases. Observed only: no result uses them."""


class ShownResponse(NamedTuple):
    """A response of the policy in training, for people to read."""

    prompt: Prompt
    response: str
    score: float
    """The reward source's score; with several sources the weighted sum."""
    kl: float
    """Nats against the reference."""
    finished: bool


class Evaluated(NamedTuple):
    """An evaluation on held-out prompts while training runs."""

    step: int
    """Steps done before it."""
    numbers: Mapping[str, float]
    shown: Sequence[ShownResponse]
    """The responses with a score, in the order of the prompts."""
    num_responses: int
    """Responses in all, those without a score among them."""


def _ignore(*_: object) -> None:
    """Nobody listens."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Listener:
    """Who hears what while a training runs. A function that is not given does nothing."""

    on_begin: Callable[[int], None] = _ignore
    """Called once, with the number of the step that comes first: a resumed training begins later than a new one."""
    on_metrics: Callable[[StepMetrics], None] = _ignore
    """Called after each step."""
    on_samples: Callable[[int, Sequence[ShownResponse]], None] = _ignore
    """Called every so many steps, with the step and a few of its responses."""
    on_evaluation: Callable[[Evaluated], None] = _ignore
    on_alarm: Callable[[Alarm, int | None], None] = _ignore
    """Called with an alarm and the step that comes next: an earlier one where training went back, None at the end."""
    on_note: Callable[[str], None] = _ignore
    """Called with a sentence for people about how the training is done; no result uses it."""
    stop_requested: Callable[[], bool] = _never
    """Asked before a step and before its update; True stops the training, which can be resumed there."""


NOBODY = Listener()
"""The listener of a training that reports to nobody."""
