"""Where a training stands, beside its tensors: all that a later step depends on and no weight holds.

Plain values, kept as progress.json in each checkpoint. Writes nothing.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.checks import Answer
from rlaif.policy.ppo.guards import Evaluation, Look
from rlaif.policy.rewards.episodes import ScoreScale
from rlaif.records import Alarm


class Progress(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = 0
    """Steps that are done."""
    episodes: int = 0
    kl_coef: float
    rate_factor: float = 1.0
    """What alarms have made of the learning rate."""
    rewards: tuple[tuple[str, float, bool], ...]
    """Name and weight of each source of rewards, and whether its scores are standardised."""
    score_scales: dict[str, ScoreScale] = {}
    """Of those that are, by name."""
    seed: int
    prompts_digest: str
    config: PpoConfig
    metrics: dict[str, float] = {}
    """Of the last step."""
    looks: tuple[Look, ...] = ()
    """Of the first step, and of the newest ones."""
    evaluations: tuple[Evaluation, ...] = ()
    start_answers: tuple[Answer, ...] = ()
    """Of the evaluation before the first step."""
    best_step: int | None = None
    """Steps that were done when the best metric was highest; None where nothing was evaluated."""
    alarms: tuple[Alarm, ...] = ()
    ended: str = ""
    """Why an alarm was the end, in a sentence; empty where none was."""
