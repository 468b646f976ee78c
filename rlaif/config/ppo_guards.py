"""Options of what is watched while PPO trains: alarms, evaluation on held-out prompts, which policy is kept.

Read by `rlaif.policy.ppo`, which gets the judges and models of an evaluation from its caller.
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
    """Alarm when responses are longer or shorter than the first step's by more than this factor; null: off."""
    max_eos_drop: float | None = Field(0.4, gt=0, lt=1)
    """Alarm when the share of responses that the policy ends itself is below the first step's by more than this; null:
    off."""
    max_repetition_rise: float | None = Field(0.4, gt=0, lt=1)
    """Alarm when the share of three-token sequences that repeat within a response is above the first step's by more
    than this; null: off."""
    max_held_out_drop: float | None = Field(0.2, ge=0, le=1e6)
    """Alarm when the held-out reward model's mean has lost more than this share of its gain, and more than twice its
    standard error, while the training reward rose; null: off. Needs held_out_model."""
    max_win_rate_drop: float | None = Field(0.1, ge=0, lt=1)
    """Alarm when the judge's win rate over the start is below its best by more than this, and by more than twice the
    standard error of their difference; null: off. Needs judge_every."""
    patience: int = Field(2, ge=1, le=100_000)
    """Evaluations in a row that must show a drop before it raises an alarm."""
    on_alarm: Literal["stop", "roll_back", "lower_rate"] = "stop"
    """What an alarm does. stop: return to the best policy so far and end training. roll_back: return to it and continue
    more slowly. lower_rate: continue from the current policy with a lower learning rate. The best policy is that of
    best_metric; without evaluations it is the newest checkpoint before the alarm."""
    alarm_factor: float = Field(0.5, gt=0, lt=1)
    """Factor on the learning rate after an alarm that does not end training; roll_back also divides kl_coef by it."""
    max_roll_backs: int = Field(2, ge=1, le=1000)
    """With on_alarm: roll_back, how often training may roll back; the next alarm ends it."""
    quiet_steps: int = Field(5, ge=1, le=1_000_000)
    """With on_alarm: lower_rate, steps after an alarm in which the same alarm is not raised again."""
    evaluate_every: int | None = Field(5, ge=1, le=1_000_000)
    """Steps between two evaluations on held-out prompts; the policy is also evaluated before the first step and after
    the last. null: never."""
    num_prompts: int = Field(64, ge=2, le=100_000)
    """Held-out prompts of these evaluations, at most. Neither training nor the final evaluation uses them; where
    prompts come from a file, at most a fifth of PPO's prompts is held out."""
    held_out_model: str | None = None
    """Folder or hub id of a reward model that scores these evaluations and is not trained against; null: none."""
    judge_every: int | None = Field(None, ge=1, le=1_000_000)
    """Steps between two checks in which the judge compares the responses to held-out prompts with the starting
    policy's. Must be a multiple of evaluate_every; null: never."""
    best_metric: BestMetric | None = None
    """Number by which the best policy is chosen, the highest wins. win_rate: in the judge's checks. held_out: score of
    the held-out reward model. rlhf_reward: the training reward less the KL penalty. scores: the training reward. null:
    win_rate, else held_out, else rlhf_reward, whichever is measured."""
    keep: Literal["best", "last"] | None = None
    """Policy that training ends with. best: the best by best_metric. last: that of the last step. null: the best where
    best_metric is win_rate or held_out, else the last: the highest training reward is partly high by chance."""

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
        """The number by which the best policy is chosen."""
        if self.best_metric is not None:
            return self.best_metric
        return "win_rate" if self.judge_every else "held_out" if self.held_out_model else "rlhf_reward"

    @property
    def keeps_best(self) -> bool:
        if self.keep is not None:
            return self.keep == "best"
        return self.metric in ("win_rate", "held_out")
