"""Options of supervised fine-tuning on demonstrations.

Does not read files.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rlaif.config.base import Config
from rlaif.config.learner import StepsConfig
from rlaif.config.weights import WeightsConfig


class DemonstrationsConfig(Config):
    """Which demonstrations there are, for every method that learns from them."""

    demonstrations: str | None = None
    """Prompts with written responses, as a JSONL, JSON, CSV or Parquet file, a folder or a hub id; null: no supervised
    fine-tuning."""
    split: str | None = None
    """Split of a folder or hub data set, such as `train_sft`, or `SUBSET/SPLIT`; null: `train`."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most demonstrations that may be left out because they cannot be read; they are counted as `odd`."""
    test_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the prompts whose demonstrations are held out: the loss on them is measured, before and after."""

    @model_validator(mode="after")
    def _split_has_demonstrations(self) -> Self:
        if self.split is not None and self.demonstrations is None:
            raise ValueError("a split is given and no demonstrations: name them by sft.demonstrations")
        return self


class SftConfig(WeightsConfig, StepsConfig, DemonstrationsConfig):
    """Supervised fine-tuning: the policy learns responses that somebody wrote."""

    micro_batch_size: int | None = Field(None, ge=1, le=100_000)
    """Demonstrations per forward pass, fewer to save memory; null: the whole batch. Must divide batch_size."""

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        return self
