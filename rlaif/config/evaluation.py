"""Options of the evaluation: the trained policy against the starting one on held-out prompts.

Does not load the measures that it names; `rlaif.evaluation.measures` does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.generate import ModelConfig

MeasureSpec = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class EvaluationJudgeConfig(Config):
    """Another judge than the one whose labels the policy was trained on; asked as `judge` says in all else."""

    model: ModelConfig | None = None
    """Who judges. Without these lines: the model of `judge`."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/; null: the one of `judge`."""


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    judge: EvaluationJudgeConfig | None = None
    """Another judge for the win rate than the one trained on, which the policy may have learnt to please.
    Without these lines: the same judge."""

    num_prompts: int = Field(200, ge=2)
    """At most this many held-out prompts; an interval needs two at least."""
    num_samples: int = Field(1, ge=1)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0)
    """What choosing would do without training: the most rewarded of this many responses of the start; 0 or 1: off."""
    measures: tuple[MeasureSpec, ...] = ()
    """Functions `module:function` of (prompt, response) that return named numbers."""
