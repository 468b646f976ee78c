"""What evaluations during training ask of others, handed in as functions by the pipeline.

Calls none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rlaif.policy.rewards.episodes import Episode, RewardSource
from rlaif.records import Prompt


class Answer(BaseModel):
    """A response to a held-out prompt; plain values, for the starting policy's are kept in checkpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_id: str
    text: str
    finished: bool
    num_tokens: int


class Checks(NamedTuple):
    """Without prompts nothing is evaluated."""

    prompts: Sequence[Prompt] = ()
    held_out: RewardSource | None = None
    """Rewards that training does not push up."""
    judge: Callable[[int, Sequence[Answer], Sequence[Answer]], Mapping[str, float]] | None = None
    """(steps done, the start's answers, the policy's) -> `win_rate` where it is known, and what goes with it."""
    measure: Callable[[Sequence[Episode]], Mapping[str, float]] | None = None
    """Means of the user's measures, by name."""


NO_CHECKS = Checks()
