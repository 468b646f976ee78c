"""Options of reward learning from demonstrations, with an implicit reward (irft) and with an explicit one (rft).

Does not read files.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import FOLLOWS_POLICY, refuse_idle
from rlaif.config.learner import LearnerConfig, StepsConfig


class IrftConfig(LearnerConfig):
    """Reward learning from demonstrations without a reward model: the policy learns to tell demonstrations from its own
    responses, which are drawn again and again."""

    beta: float = Field(0.1, gt=0, le=1000)
    """How many units of reward a nat is worth. An inner loop that runs to its end makes the policy proportional to
    p * (demonstrations / p)^(1 / beta), where p is the policy that the loop began with: 1 lands on the demonstrations,
    and smaller values go beyond them unless the loop stops early."""
    num_sections: int = Field(5, ge=1, le=100_000)
    """Into how many sections a pass cuts the demonstrations. Before each one, responses are drawn with the newest
    policy. 1: once a pass, which is SPIN."""
    inner_epochs: int = Field(2, ge=1, le=10_000)
    """Most passes over a section's demonstrations and responses before new responses are drawn."""
    validation_fraction: float = Field(0.1, ge=0, le=0.9)
    """Share of the demonstrations that are never learnt from. When they become less likely an inner loop ends, and the
    weights under which they were likeliest are kept. 0, or so few demonstrations that none is left out: no inner loop
    ends early."""
    check_every: int = Field(5, ge=1, le=1_000_000)
    """Steps of an inner loop between two measurements of the demonstrations that were left out."""

    @model_validator(mode="after")
    def _checks_have_something_to_measure(self, info: ValidationInfo) -> IrftConfig:
        if self.validation_fraction == 0:
            refuse_idle(self, {"check_every": ()}, when="with validation_fraction: 0", info=info)
        return self


class RftConfig(StepsConfig):
    """Reward learning from demonstrations with a reward model: its training and PPO's alternate. The group `ppo` says
    how the policy learns; the options here are for the reward model."""

    num_epochs: int = Field(1, ge=1, le=10_000)
    """Passes of the reward model over the demonstrations in each alternation; 1 is usual, since the reward has to
    follow the policy and not to be fitted."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """Peak learning rate of the reward model's AdamW. null: 1e-3 for the front desk's policy, 1e-5 for any other."""
    num_alternations: int = Field(5, ge=1, le=100_000)
    """How often responses are drawn, the reward model takes its steps on them, and then the policy takes its own."""
    policy_steps: int = Field(10, ge=1, le=1_000_000)
    """PPO's steps in each alternation, in the place of ppo.num_steps."""
    reward_loss: Literal["likelihood", "pairwise"] = "likelihood"
    """What the reward model minimises. likelihood: the responses' mean reward less the demonstrations', the gradient of
    the demonstrations' likelihood. pairwise: -log sigmoid of a demonstration's reward less a response's, as the paper's
    code does; it leaves the policy between the starting one and the demonstrations."""
    reward_range: float = Field(4.0, gt=0, le=1e6)
    """Largest difference of two rewards. A policy can become exp(reward_range / ppo.kl_coef) times likelier than it was
    for some response, and no more."""
