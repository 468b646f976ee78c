"""A training's progress: all that a later step depends on, beside weights and moments.

Plain values, stored as progress.json in each checkpoint. Writes nothing.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.checks import Answer
from rlaif.policy.ppo.guards import Evaluation, Vitals
from rlaif.policy.rewards.episodes import ScoreScale
from rlaif.records import Alarm


class Progress(BaseModel):
    """Where a training is, after `step` steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = 0
    """Steps that are done."""
    episodes: int = 0
    kl_coef: float
    rate_factor: float = 1.0
    """Factor on the learning rate; alarms lower it."""
    rewards: tuple[tuple[str, float, bool], ...]
    """Name and weight of each source of rewards, and whether its scores are standardised."""
    score_scales: dict[str, ScoreScale] = {}
    """The scale of each source that is standardised, by its name."""
    seed: int
    prompts_digest: str
    config: PpoConfig
    metrics: dict[str, float] = {}
    """The last step's metrics."""
    looks: tuple[Vitals, ...] = ()
    """Vitals of the first step and of the newest ones; checkpoints know them by this name."""
    evaluations: tuple[Evaluation, ...] = ()
    start_answers: tuple[Answer, ...] = ()
    """The starting policy's responses to the held-out prompts."""
    best_step: int | None = None
    """Steps that were done when the best metric was highest; None where nothing was evaluated."""
    alarms: tuple[Alarm, ...] = ()
    ended: str = ""
    """Why an alarm ended the training, in a sentence; empty where none did."""
