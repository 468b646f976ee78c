"""Options of answers that can be verified, and of reinforced fine-tuning (reft), which learns from them.

Reads no files and imports no function.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

Function = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class VerifierConfig(Config):
    """How a response's answer is found, and whether it is right. The method reft and the evaluation read it."""

    answer: Function | None = None
    """A Python function module:function of (prompt, response) that returns the answer which the response gives, as text
    or a number, and None where it gives none. null: nothing is verified."""
    correct: Function | None = None
    """A Python function module:function of (prompt, response, reference) that returns 1 for a right answer and 0 for a
    wrong one. null: an answer is right that equals the known one."""
    tolerance: float = Field(0.01, ge=0, le=1e12)
    """How far two numbers may be apart and still be the same answer; answers that are no numbers are compared as text,
    without case and outer spaces."""

    @property
    def is_given(self) -> bool:
        return self.answer is not None

    @model_validator(mode="after")
    def _answers_are_found(self) -> Self:
        if self.correct is not None and self.answer is None:
            raise ValueError("correct is given and answer is not: name a function that finds a response's answer")
        return self


class ReftConfig(Config):
    """Reinforced fine-tuning: a warm-up on demonstrations by the options of `sft`, then PPO on the same prompts by
    those of `ppo`, where `verifier` says what a response is worth."""

    warmup_epochs: int = Field(2, ge=0, le=10_000)
    """Passes over the demonstrations before PPO, in the place of sft.num_epochs. 0: none, for a policy that has learnt
    them already, as after sft in the list of methods."""
    right: float = Field(1.0, ge=-1e6, le=1e6)
    """Reward of a response whose answer is right."""
    wrong: float = Field(0.1, ge=-1e6, le=1e6)
    """Reward of a response that gives an answer, and a wrong one."""
    no_answer: float = Field(0.0, ge=-1e6, le=1e6)
    """Reward of a response in which no answer is found."""

    @model_validator(mode="after")
    def _right_is_best(self) -> Self:
        if not self.right > max(self.wrong, self.no_answer):
            raise ValueError("right must be above wrong and no_answer, or the policy learns to be wrong")
        return self
