"""Options of the evaluation: the trained policy against the starting one on held-out prompts.

Does not load the measures that it names; `rlaif.evaluation.measures` does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlaif.config.base import Config

MeasureSpec = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    num_prompts: int = Field(200, ge=2)
    """At most this many held-out prompts; an interval needs two at least."""
    num_samples: int = Field(1, ge=1)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0)
    """What choosing would do without training: the most rewarded of this many responses of the start; 0 or 1: off."""
    measures: tuple[MeasureSpec, ...] = ()
    """Functions `module:function` of (prompt, response) that return named numbers."""
