"""What an evaluation during training measures beside the reward, as functions that come in from outside.

Calls none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rlaif.policy.rewards.episodes import Episode, RewardSource
from rlaif.records import Prompt


class Answer(BaseModel):
    """A response to a held-out prompt, in plain values: checkpoints store the starting policy's answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_id: str
    text: str
    finished: bool
    num_tokens: int


class Checks(NamedTuple):
    """Held-out prompts, and what their responses are measured by. Without prompts nothing is evaluated."""

    prompts: Sequence[Prompt] = ()
    held_out: RewardSource | None = None
    """A reward that training does not maximise."""
    judge: Callable[[int, Sequence[Answer], Sequence[Answer]], Mapping[str, float]] | None = None
    """(steps done, the starting policy's answers, this one's) -> `win_rate` where it is known, and its details."""
    measure: Callable[[Sequence[Episode]], Mapping[str, float]] | None = None
    """Means of the user's measures, by name."""


NO_CHECKS = Checks()
