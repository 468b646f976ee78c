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
    """A judge for the win rate that is not the one whose labels the policy was trained on."""

    model: OtherModelConfig = OtherModelConfig()
    """The model that judges. An option that is null is as in `judge.model`, which is the first judge of a panel."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/. null: the template of `judge`, or `pair` where that one is the
    front desk's and this judge is another model."""

    def instead_of(self, judge: JudgeConfig) -> JudgeConfig:
        """The judge of the evaluation: `judge`, changed by the options that are given here."""
        if self == EvaluationJudgeConfig():
            return judge.judges()[0]
        return judge.with_other(self.model, template=self.template)


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    judge: EvaluationJudgeConfig = EvaluationJudgeConfig()
    """Judge of the win rate. Name another model than the judge whose labels trained the policy: the policy may have
    learnt to please that one."""
    num_prompts: int = Field(200, ge=2, le=1_000_000)
    """Held-out prompts, at most; an interval needs at least two. 200 to 1,000 are usual."""
    num_samples: int = Field(1, ge=1, le=1024)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0, le=1024)
    """Best-of-n, a comparison that needs no training: of this many responses of the starting policy, take the one with
    the highest reward. 0 or 1: off."""
    measures: tuple[MeasureSpec, ...] = ()
    """Functions `module:function` of (prompt, response) that return named numbers, to compare both policies by. One
    that suits any prompts comes with rlaif: `rlaif.evaluation.measures:count_words`."""
