"""Options of the evaluation: the trained policy against the starting one on held-out prompts.

Does not load the measures that it names; `rlaif.evaluation.measures` does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.judge import JudgeConfig, OtherModelConfig

MeasureSpec = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class EvaluationJudgeConfig(Config):
    """Another judge for the win rate than the one whose labels the policy was trained on."""

    model: OtherModelConfig = OtherModelConfig()
    """Who judges; what is null is as in `judge.model`, the first judge of a panel."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/; null: the one of `judge`; `pair` where that is the
    front desk's and this judge is another model."""

    def instead_of(self, judge: JudgeConfig) -> JudgeConfig:
        """The judge of the evaluation: `judge` in all that is not said here."""
        if self == EvaluationJudgeConfig():
            return judge.judges()[0]
        return judge.with_other(self.model, template=self.template)


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    judge: EvaluationJudgeConfig = EvaluationJudgeConfig()
    """Another judge for the win rate than the one trained on, which the policy may have learnt to please."""
    num_prompts: int = Field(200, ge=2, le=1_000_000)
    """At most this many held-out prompts; an interval needs two at least."""
    num_samples: int = Field(1, ge=1, le=1024)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0, le=1024)
    """What choosing would do without training: the most rewarded of this many responses of the start; 0 or 1: off."""
    measures: tuple[MeasureSpec, ...] = ()
    """Functions `module:function` of (prompt, response) that return named numbers."""
