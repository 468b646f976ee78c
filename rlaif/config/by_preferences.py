"""Options of the methods that train the policy on preferences without a reward model: DPO and KTO.

Does not read files.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config
from rlaif.config.models import MAX_TOKENS
from rlaif.config.weights import WeightsConfig


class LearntPreferencesConfig(Config):
    """Which preferences DPO and KTO learn, and in which steps."""

    preferences: str | None = None
    """Preference folder, file or hub id to train on; null: what the reward model trains on, which is the run's own
    preferences or reward_model.preferences."""
    split: str | None = None
    """Split of `preferences` to train on, such as `train_prefs`, or `SUBSET/SPLIT`; null: `train`."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most rows of `preferences` that may be left out because they cannot be read; they are counted as `odd`."""
    labels: Literal["hard", "drawn"] = "hard"
    """How a soft label counts. hard: the likelier response is preferred, and ties are dropped. drawn: in each pass the
    preferred one is drawn by the label, so that on average the loss is that of the soft label; a judge that is unsure
    then teaches less."""
    beta: float = Field(0.1, gt=0, le=1e6)
    """Weight of the KL to the policy that training begins with, the beta of the paper: a small one lets the policy move
    further. 0.01 to 0.5 is usual."""
    num_epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the preferences; 1 to 3 are usual."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-6, gt=0, le=1)
    """Peak learning rate of AdamW. null: 2e-4 for the front desk's policy; for any other 1e-5 where adapters are
    trained (`train: lora`), else 1e-6. 5e-7 to 5e-6 is usual, for adapters ten times as much."""
    batch_size: int = Field(32, ge=2, le=100_000)
    """Pairs, for KTO responses, per optimizer step; 16 to 128 are usual."""
    micro_batch_size: int | None = Field(None, ge=2, le=100_000)
    """Pairs, for KTO responses, per forward pass, fewer to save memory; null: the whole batch. Must divide
    batch_size."""
    max_length: int = Field(1024, ge=2, le=MAX_TOKENS)
    """Longest prompt and response together, in tokens; what is longer is dropped and counted, never cut."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises; then it falls linearly to zero."""
    weight_decay: float = Field(0.0, ge=0, le=100)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Largest norm of the gradient; a larger gradient is scaled down to it. 1 is usual."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a fifth slower."""

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        if self.split is not None and self.preferences is None:
            raise ValueError("a split is given and no preferences: name them by `preferences`")
        return self


class ByPreferencesConfig(WeightsConfig, LearntPreferencesConfig):
    """What DPO and KTO share, and which of the policy's weights they train."""


class DpoConfig(ByPreferencesConfig):
    """Direct preference optimisation: the policy learns pairs."""


class KtoConfig(ByPreferencesConfig):
    """Kahneman-Tversky optimisation: the policy learns single responses, each good or bad."""

    desirable_weight: float = Field(1.0, gt=0, le=1e6)
    """Weight of the loss of good responses. With undesirable_weight it decides what is learnt: responses that are good
    in a share of more than undesirable_weight / (desirable_weight + undesirable_weight) of their thumbs."""
    undesirable_weight: float = Field(1.0, gt=0, le=1e6)
    """Weight of the loss of bad responses. Where one kind is rarer its weight is usually raised, so that weight times
    number is about equal."""
