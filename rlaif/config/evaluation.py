"""Options of the evaluation: the trained policy against the starting one on held-out prompts.

Does not load the measures that it names; `rlaif.evaluation.measures` does.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.generate import JudgeConfig

MeasureSpec = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class EvaluationModelConfig(Config):
    """Another model as the judge of the evaluation; what is null is as in `judge.model`."""

    engine: Literal["transformers", "vllm", "openai", "scripted"] | None = None
    """As in `judge.model`; an endpoint is asked as `judge.endpoint` says."""
    path: str | None = None
    """Model folder, hub id or served name; null: the judge's own."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the computation."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps, or auto."""


class EvaluationJudgeConfig(Config):
    """Another judge for the win rate than the one whose labels the policy was trained on."""

    model: EvaluationModelConfig = EvaluationModelConfig()
    """Who judges; what is null is as in `judge.model`."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/; null: the one of `judge`."""

    def instead_of(self, judge: JudgeConfig) -> JudgeConfig:
        """The judge of the evaluation: `judge` in all that is not said here."""
        said = self.model.model_dump(exclude_none=True)
        kept = judge.model.model_dump(exclude={"revision"} if "path" in said else set())
        changed = {"model": {**kept, **said}, "template": self.template or judge.template}
        return JudgeConfig.model_validate(judge.model_dump() | changed)


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    judge: EvaluationJudgeConfig = EvaluationJudgeConfig()
    """Another judge for the win rate than the one trained on, which the policy may have learnt to please."""
    num_prompts: int = Field(200, ge=2)
    """At most this many held-out prompts; an interval needs two at least."""
    num_samples: int = Field(1, ge=1)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0)
    """What choosing would do without training: the most rewarded of this many responses of the start; 0 or 1: off."""
    measures: tuple[MeasureSpec, ...] = ()
    """Functions `module:function` of (prompt, response) that return named numbers."""
