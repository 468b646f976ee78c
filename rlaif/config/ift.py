"""Options of intuitive fine-tuning.

Does not read files.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import refuse_idle
from rlaif.config.learner import LearnerConfig


class IftConfig(LearnerConfig):
    """Intuitive fine-tuning: the policy learns demonstrations while it reads its own guesses among their words."""

    lam: float = Field(0.5, ge=0, le=1)
    """How much of each of the response's input embeddings is the policy's own guess of that token, the paper's lambda.
    0: none, and one of two forward passes is saved. The paper has 0.2, which did worse than 0 in our measurements."""
    gamma: float = Field(0.95, ge=0, le=1)
    """Decay of the relation between tokens. paper: how fast a token's weight stops growing with its position.
    repository: how far a token answers for the losses after it. 0: all tokens weigh the same; lam: 0 and gamma: 0 are
    supervised fine-tuning."""
    propagation: Literal["paper", "repository"] = "paper"
    """How tokens are weighted. paper: each token's loss counts once for every position up to it, so later tokens weigh
    more. repository: as the paper's authors' code does, each token weighs as much as the losses from it on, so early
    tokens weigh more. The weights of a response add up to its length either way."""

    @model_validator(mode="after")
    def _propagation_has_a_decay(self, info: ValidationInfo) -> Self:
        if self.gamma == 0:
            refuse_idle(self, {"propagation": ()}, when="with gamma: 0", info=info)
        return self
