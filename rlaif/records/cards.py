"""What was trained or measured, from which digests; and which records a stage used.

Does not train, measure, or render.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from rlaif.records.base import Record, Value


class Estimate(Value):
    """A number that estimates something, with its 95 % interval and what it was computed from."""

    mean: float
    low: float
    high: float
    n: int
    """Independent units: prompts, where several numbers come from one prompt."""


class RewardModelCard(Record):
    table: ClassVar[str] = "reward_models"
    model_id: str
    base_model_id: str
    dataset_digest: str
    """sha256 of the preference files it was trained on."""
    config: dict[str, Any]
    metrics: dict[str, float]
    accuracy: Estimate | None
    """Share of held-out preferences ordered as the label says."""


class Alarm(Value):
    """A guard's number that passed its limit while a policy was trained, and what was done about it."""

    name: str
    """Option of ppo.guards that raised the alarm."""
    step: int
    """Steps done before the alarm."""
    value: float
    limit: float
    sentence: str
    answer: str = ""


class PolicyCard(Record):
    table: ClassVar[str] = "policies"
    model_id: str
    reference_model_id: str
    reward_model_id: str | None
    trained_from_id: str | None = None
    """Model whose weights training began with; None: the reference policy."""
    config: dict[str, Any]
    metrics: dict[str, float]
    """Metrics of the last step that is in the weights; empty where no step is in them."""
    num_steps: int | None = None
    """Number of steps that are in the weights; None in older records, which do not have it."""
    alarms: tuple[Alarm, ...] = ()
    stopped: str = ""
    """Why an alarm ended the training, in a sentence; empty where none did."""
    method: str = Field("ppo", exclude_if=lambda name: name == "ppo")
    """The training method. Left out of the content, and so of the id, where it is PPO."""
    chain: tuple[str, ...] = Field((), exclude_if=lambda names: not names)
    """Methods of the run up to this one, where the configuration lists methods; else left out of the content."""
    num_trained: int | None = Field(None, exclude_if=lambda number: number is None)
    """Number of weights that were trained. None, and left out of the content, where all were, and in older records."""
    num_frozen: int | None = Field(None, exclude_if=lambda number: number is None)
    """Number of weights that were not, where not all were trained."""
    edit: str = Field("", exclude_if=lambda text: not text)
    """Where its constitution is an edit of an earlier file: what people said of that edit. Left out of the content, and
    so of the id, where it is empty."""


class EvaluationReport(Record):
    table: ClassVar[str] = "evaluations"
    start_model_id: str
    policy_model_id: str
    constitution_id: str
    win_rate: Estimate | None
    win_rate_by_principle: dict[str, Estimate]
    win_rate_at_equal_length: Estimate | None = None
    """What the win rate would be if the policies' responses were equally long."""
    judge_id: str | None = None
    """Judge or panel that decided the win rate; None in older records, which do not have it."""
    measures_before: dict[str, Estimate]
    measures_after: dict[str, Estimate]
    measures_change: dict[str, Estimate]
    figures: dict[str, float]
    """KL, length, EOS rate and the like."""

    @property
    def proxy_reward(self) -> float | None:
        """How much higher the round's reward model scores the trained policy's responses than the starting policy's."""
        if "reward_before" not in self.figures:
            return None
        return self.figures["reward_after"] - self.figures["reward_before"]


class Use(Record):
    """A stage of a run used a record under a constitution."""

    table: ClassVar[str] = "uses"
    run: str
    round: int
    stage: str
    record_table: str
    record_id: str
    constitution_id: str | None = None
    making: int = 0
    """How often the stage had been made again before this use. Only the uses of the last making count."""
