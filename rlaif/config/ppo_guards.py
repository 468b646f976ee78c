"""Options of what is watched while PPO trains: alarms, evaluation on held-out prompts, which policy is kept.

Read by `rlaif.policy.ppo`; what an evaluation asks of judges and models is handed in by the pipeline.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import Config, refuse_idle

BestMetric = Literal["win_rate", "held_out", "rlhf_reward", "scores"]


class GuardsConfig(Config):
    """What is watched while the policy trains, and what an alarm does."""

    kl_ceiling: float | None = Field(20.0, gt=0, le=1e6)
    """Alarm when the KL is above this, in nats per response; null: off."""
    max_length_factor: float | None = Field(4.0, gt=1, le=1e6)
    """Alarm when responses are longer than the first step's by more than this factor, or shorter by it; null: off."""
    max_eos_drop: float | None = Field(0.4, gt=0, lt=1)
    """Alarm when the share of responses that the policy ends itself is below the first step's by more than this; null:
    off."""
    max_repetition_rise: float | None = Field(0.4, gt=0, lt=1)
    """Alarm when the share of three-token sequences that a response says again is above the first step's by more than
    this; null: off."""
    max_held_out_drop: float | None = Field(0.2, ge=0, le=1e6)
    """Alarm when the held-out reward model's mean has lost more than this share of its gain, and more than twice its
    standard error, while the training reward rose; null: off. Needs held_out_model."""
    max_win_rate_drop: float | None = Field(0.1, ge=0, lt=1)
    """Alarm when the judge's win rate over the start is below its best by more than this, and by more than twice the
    standard error of their difference; null: off. Needs judge_every."""
    patience: int = Field(2, ge=1, le=100_000)
    """Evaluations in a row that must tell of a drop before it is an alarm."""
    on_alarm: Literal["stop", "roll_back", "lower_rate"] = "stop"
    """What an alarm does. stop: go back to the best policy so far and end there. roll_back: go on from it, more
    slowly. lower_rate: go on from here with a lower learning rate. Best is by best_metric; where nothing is evaluated,
    the newest checkpoint before the alarm."""
    alarm_factor: float = Field(0.5, gt=0, lt=1)
    """An alarm that is not the end multiplies the learning rate by this; roll_back also divides kl_coef by it."""
    max_roll_backs: int = Field(2, ge=1, le=1000)
    """With roll_back, the alarm after so many stops."""
    quiet_steps: int = Field(5, ge=1, le=1_000_000)
    """With lower_rate, steps for which the same alarm does not go again."""
    evaluate_every: int | None = Field(5, ge=1, le=1_000_000)
    """Answer held-out prompts every so many steps, before the first and after the last one; null: never."""
    num_prompts: int = Field(64, ge=2, le=100_000)
    """Held-out prompts of these evaluations, at most. They are neither trained on nor asked in the final evaluation;
    where prompts come from a file, at most a fifth of PPO's prompts is held out for them."""
    held_out_model: str | None = None
    """Reward model, a folder or hub id, that looks on and is not trained against; null: none."""
    judge_every: int | None = Field(None, ge=1, le=1_000_000)
    """The judge compares the responses to the held-out prompts with the starting policy's every so many steps; null:
    never. A multiple of evaluate_every."""
    best_metric: BestMetric | None = None
    """What the best policy is highest in. win_rate: the judge's check. held_out: the held-out reward model.
    rlhf_reward: the training reward less the KL penalty. scores: the training reward. null: the first of the first
    three that there is."""
    keep: Literal["best", "last"] | None = None
    """Which policy the training ends with. null: the best where the judge or a held-out model tells it, else the last:
    the highest of a number that training itself pushes up is high by chance."""

    @model_validator(mode="after")
    def _checks_come_with_evaluations(self) -> Self:
        judge_every, evaluate_every = self.judge_every, self.evaluate_every
        if judge_every is not None and (evaluate_every is None or judge_every % evaluate_every):
            raise ValueError(f"judge_every is {judge_every}, which is no multiple of evaluate_every ({evaluate_every})")
        if self.held_out_model is not None and self.evaluate_every is None:
            raise ValueError("held_out_model looks at evaluations, and evaluate_every is null")
        missing = {
            "win_rate": self.judge_every is None and "judge_every",
            "held_out": self.held_out_model is None and "held_out_model",
        }.get(self.best_metric or "", False)
        if missing:
            raise ValueError(f"best_metric {self.best_metric} needs {missing}")
        if self.evaluate_every is None and (self.keep == "best" or self.best_metric is not None):
            raise ValueError("the best policy is known by evaluations, and evaluate_every is null")
        return self

    @model_validator(mode="after")
    def _options_do_something(self, info: ValidationInfo) -> Self:
        if self.held_out_model is None:
            refuse_idle(self, {"max_held_out_drop": (None,)}, when="without held_out_model", info=info)
        if self.judge_every is None:
            refuse_idle(self, {"max_win_rate_drop": (None,)}, when="without judge_every", info=info)
        if self.held_out_model is None and self.judge_every is None:
            refuse_idle(self, {"patience": ()}, when="without held_out_model or judge_every", info=info)
        if self.evaluate_every is None:
            refuse_idle(self, {"num_prompts": ()}, when="with evaluate_every: null", info=info)
        when = f"with on_alarm: {self.on_alarm}"
        idle = {"stop": ("alarm_factor", "max_roll_backs", "quiet_steps"), "roll_back": ("quiet_steps",)}
        names = idle.get(self.on_alarm, ("max_roll_backs",))
        refuse_idle(self, dict.fromkeys(names, ()), when=when, info=info)
        return self

    @property
    def metric(self) -> BestMetric:
        """What the best policy is highest in."""
        if self.best_metric is not None:
            return self.best_metric
        return "win_rate" if self.judge_every else "held_out" if self.held_out_model else "rlhf_reward"

    @property
    def keeps_best(self) -> bool:
        if self.keep is not None:
            return self.keep == "best"
        return self.metric in ("win_rate", "held_out")
