"""Which of a policy's weights a method trains: all, adapters, the upper layers, or those of some names.

The same options for every method. Reads nothing and loads nothing.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import Config, refuse_idle


class LoraConfig(Config):
    """Low-rank adapters, for `train: lora`. PPO's policy that starts from an adapter keeps that adapter's rank."""

    rank: int = Field(16, ge=1, le=65_536)
    """Rank of each adapter; 8 to 64 are usual."""
    alpha: int = Field(32, ge=1, le=1_000_000)
    """An adapter's output is scaled by alpha / rank; once or twice the rank is usual."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which layers get an adapter, by the last part of their names, such as [q_proj, v_proj]; all-linear leaves out the
    output layer alone."""
    num_layers: int | None = Field(None, ge=1, le=10_000)
    """How many layers get adapters, counted from the top; null: all. PPO then computes the layers below once for each
    response, which saves most of the update where few layers are trained."""


class WeightsConfig(Config):
    """Which of the policy's weights are trained."""

    train: Literal["all", "lora", "last_layers", "names"] = "all"
    """Which of the policy's weights are trained. all: every one. lora: adapters on a frozen model. last_layers: the
    upper num_layers layers and what comes after them. names: those that the option names matches."""
    num_layers: int = Field(2, ge=1, le=10_000)
    """With train: last_layers, how many layers are trained, counted from the top."""
    names: tuple[str, ...] = ()
    """With train: names, the weights that are trained, as patterns such as [model.layers.3.*, "*.mlp.*"]."""
    lora: LoraConfig = LoraConfig()
    """The adapters of train: lora."""

    @model_validator(mode="after")
    def _weights_options_go_together(self, info: ValidationInfo) -> Self:
        if (self.train == "names") != bool(self.names):
            raise ValueError("`train: names` and a list of names go together")
        if self.train != "last_layers":
            when = f"with train: {self.train}; it is for train: last_layers"
            refuse_idle(self, {"num_layers": ()}, when=when, info=info)
        if self.train != "lora":
            refuse_idle(self, {"lora": ()}, when=f"with train: {self.train}; it is for train: lora", info=info)
        return self
