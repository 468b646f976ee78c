"""Options of supervised fine-tuning on demonstrations.

Does not read files.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config
from rlaif.config.models import MAX_TOKENS


class SftConfig(Config):
    """Supervised fine-tuning: the policy learns responses that somebody wrote."""

    demonstrations: str | None = None
    """Prompts with written responses, as a JSONL, JSON, CSV or Parquet file, a folder or a hub id; null: no supervised
    fine-tuning."""
    split: str | None = None
    """Split of a folder or hub data set, such as `train_sft`, or `SUBSET/SPLIT`; null: `train`."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most demonstrations that may be left out because they cannot be read; they are counted as `odd`."""
    test_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the prompts whose demonstrations are held out: the loss on them is measured, before and after."""
    num_epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the demonstrations; 1 to 3 are usual."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """Peak learning rate of AdamW. null: 5e-4 for the front desk's policy, 1e-5 for any other; 5e-6 to 2e-5 is
    usual."""
    batch_size: int = Field(16, ge=1, le=100_000)
    """Demonstrations per optimizer step; 16 to 128 are usual."""
    micro_batch_size: int | None = Field(None, ge=1, le=100_000)
    """Demonstrations per forward pass, fewer to save memory; null: the whole batch. Must divide batch_size."""
    max_length: int = Field(1024, ge=2, le=MAX_TOKENS)
    """Longest prompt and response together, in tokens; longer ones are dropped and counted, never cut."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises; then it falls linearly to zero."""
    weight_decay: float = Field(0.0, ge=0, le=100)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Largest norm of the gradient; a larger gradient is scaled down to it. 1 is usual."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a fifth slower."""

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        if self.split is not None and self.demonstrations is None:
            raise ValueError("a split is given and no demonstrations: name them by sft.demonstrations")
        return self
