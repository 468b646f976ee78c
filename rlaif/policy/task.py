"""What a stage hands to a training method, and what it gets back. Holds values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from rlaif.config.run import RunConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.ppo.checks import NO_CHECKS, Checks
from rlaif.policy.ppo.models import ValueStart
from rlaif.policy.ppo.trained import TrainedWeights
from rlaif.policy.rewards.episodes import Critic, WeightedReward
from rlaif.records import Alarm, Demonstration, Prompt, Tally, TrainingRow
from rlaif.training.listener import NOBODY, Listener
from rlaif.training.team import ALONE, Team

StopReason = Literal["done", "stop_requested", "alarm"]


@dataclass(frozen=True)
class Task:
    """A training to be done. A method reads of the optional fields what it learns from, and ignores the others."""

    start: LoadedModel
    """The reference of a method that has one: the policy of the first round, for a later method of a chain that of the
    method before."""
    initial: LoadedModel
    """The policy that training begins with; the method leaves it unchanged."""
    config: RunConfig
    folder: Path
    """The method's folder, for checkpoints. No method saves the finished policy."""
    seed: int
    team: Team = ALONE
    listener: Listener = NOBODY
    demonstrations: Sequence[tuple[Prompt, Demonstration]] = ()
    preferences: Sequence[TrainingRow] = ()
    """Pairs, choices, rankings, ratings and thumbs; a method takes what it can learn from and counts the rest."""
    prompts: Sequence[Prompt] = ()
    rewards: Sequence[WeightedReward] = ()
    critic: Critic | None = None
    """The judge of single responses, who says why."""
    checks: Checks = NO_CHECKS
    """What is evaluated while training runs."""
    value_start: ValueStart | None = None
    """What a separate value model begins as."""


class TrainedPolicy(NamedTuple):
    """What a method made."""

    model: PreTrainedModel
    """A plain model, any adapter merged into it."""
    steps: int
    """Steps that are in the weights."""
    metrics: dict[str, float]
    """By rewards: metrics of the last step in the weights. Otherwise: loss of the first and the last tenth of the
    steps."""
    tally: Tally
    """What it learnt from, in the method's unit: kept, and dropped by reason."""
    first_step: int = 0
    """Where this call began: at 0, or where it resumed."""
    stop_reason: StopReason = "done"
    note: str = ""
    """Why training stopped early, or why an earlier policy than the last one is kept, in a sentence; else empty."""
    alarms: tuple[Alarm, ...] = ()
    adapted: PreTrainedModel | None = None
    """The model with its trained adapter still in its layers; None where no adapter was trained."""
    value_head: nn.Module | None = None
    """PPO's values."""
    weights: TrainedWeights | None = None
    """How many weights were trained, and how many were not. None where a method does not say."""
    reward_model: Path | None = None
    """Folder of a reward model that the method trained with the policy; None where it trained none."""
