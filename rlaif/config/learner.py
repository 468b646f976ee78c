"""Options that the methods trained by our own steps share: in which batches, at which rate, which weights.

Does not read files.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config, refuse_idle
from rlaif.config.models import MAX_TOKENS
from rlaif.config.ppo_model import LoraConfig, PpoModelConfig


class StepsConfig(Config):
    """How a method takes its steps."""

    num_epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the demonstrations; 1 to 3 are usual."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """Peak learning rate of AdamW. null: 5e-4 for the front desk's policy, 1e-5 for any other; 5e-6 to 2e-5 is
    usual, and ten times as much with train: lora."""
    batch_size: int = Field(16, ge=1, le=100_000)
    """Demonstrations per optimizer step; 16 to 128 are usual."""
    micro_batch_size: int | None = Field(None, ge=1, le=100_000)
    """Demonstrations per forward pass, fewer to save memory; null: the whole batch. The result does not depend on
    it."""
    max_length: int = Field(1024, ge=2, le=MAX_TOKENS)
    """Longest prompt and response together, in tokens; longer ones are dropped and counted, never cut."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises; then it falls linearly to zero."""
    weight_decay: float = Field(0.0, ge=0, le=100)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Largest norm of the gradient; a larger gradient is scaled down to it. 1 is usual."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""


class LearnerConfig(StepsConfig):
    """How a method takes its steps, and on which of the policy's weights."""

    train: Literal["all", "lora", "last_layers"] = "all"
    """Which of the policy's weights are trained. all: every one. lora: adapters on a frozen model. last_layers: the
    upper num_layers layers and what comes after them."""
    num_layers: int = Field(2, ge=1, le=10_000)
    """With train: last_layers, how many layers are trained, counted from the top."""
    lora: LoraConfig = LoraConfig()
    """The adapters of train: lora."""

    @property
    def weights(self) -> PpoModelConfig:
        """The same choice of weights as PPO's options name it."""
        return PpoModelConfig(train=self.train, num_layers=self.num_layers, lora=self.lora)

    @model_validator(mode="after")
    def _weights_options_do_something(self, info: ValidationInfo) -> Self:
        if self.train != "last_layers":
            when = f"with train: {self.train}; it is for train: last_layers"
            refuse_idle(self, {"num_layers": ()}, when=when, info=info)
        if self.train != "lora":
            refuse_idle(self, {"lora": ()}, when=f"with train: {self.train}; it is for train: lora", info=info)
        return self
