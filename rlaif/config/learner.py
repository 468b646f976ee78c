"""Options that methods trained on demonstrations share: in which batches, at which rate, which weights.

Does not read files.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlaif.config.base import FOLLOWS_POLICY, Config
from rlaif.config.models import MAX_TOKENS
from rlaif.config.weights import WeightsConfig


class StepsConfig(Config):
    """How a method takes its steps."""

    num_epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the demonstrations; 1 to 3 are usual."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """Peak learning rate of AdamW. null: 5e-4 for the front desk's policy (2e-4 for irft); for any other 1e-4 where
    adapters are trained (`train: lora`), else 1e-5. 5e-6 to 2e-5 is usual, for adapters ten times as much."""
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


class LearnerConfig(WeightsConfig, StepsConfig):
    """How a method takes its steps, and on which of the policy's weights."""
