"""Options of the stages that make preferences: prompts, samples, judgements, preferences."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config
from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.config.models import FRONTDESK, MAX_NEW_TOKENS, ModelConfig, PolicyModelConfig, VllmConfig
from rlaif.config.preferences import PreferencesConfig

__all__ = [
    "FRONTDESK",
    "EndpointConfig",
    "JudgeConfig",
    "JudgeModelConfig",
    "ModelConfig",
    "PolicyModelConfig",
    "PreferencesConfig",
    "PromptsConfig",
    "SamplingConfig",
    "VllmConfig",
]


MAX_DRAWN = 500_000_000
"""Most tokens in a batch of responses: a random number of four bytes is drawn for each."""


class PromptsConfig(Config):
    """Where prompts come from."""

    path: str = FRONTDESK
    """Prompts as a JSONL, JSON, CSV or Parquet file, or the folder or hub id of a data set; `frontdesk`: questions of
    the built-in demo."""
    split: str = "train"
    """Split of a folder or hub data set, such as `train` or `train_sft`; `SUBSET/SPLIT` for one of a subset."""
    column: str = "prompt"
    """Column that holds the prompt: text, chat messages, or a transcript as in HH-RLHF without its last reply."""
    reference_column: str = "reference"
    """Column that holds a known answer as text, which functions that give rewards receive. Rows may lack it."""
    num_prompts: int = Field(500, ge=1, le=10_000_000)
    """Prompts to use, at most; a thousand to a hundred thousand are usual."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most rows of `path` that may be left out because they cannot be read; they are counted as `odd`. With more of
    them nothing is read, and the first few are named."""
    test_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the prompts held out of training, drawn by prompt id."""


class SamplingConfig(Config):
    """How the policy answers each prompt."""

    num_samples: int = Field(4, ge=2, le=1024)
    """Responses per prompt; 2 to 16 are usual."""
    under: Literal["prompt", "principles"] = "prompt"
    """Instructions that responses are drawn under. prompt: none but the prompt. principles: a prompt's responses are
    drawn in turn with each principle as system turn and with its opposite, so that they differ in the manner that the
    principles name, and a reward model learns it from fewer pairs (Liu et al. 2024, arXiv:2402.11907). Every principle
    needs `opposite`."""
    num_pairs: int = Field(3, ge=1, le=1_000_000)
    """Pairs of responses judged per prompt, drawn from all its pairs. A judge that scores or ranks judges all pairs."""
    temperature: float = Field(1.0, ge=0.001, le=100)
    """Sampling temperature; 0.7 to 1 is usual."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling: draw from the likeliest tokens whose probabilities reach this sum. 1: from all tokens."""
    max_new_tokens: Annotated[int, FOLLOWS_POLICY] = Field(512, ge=1, le=MAX_NEW_TOKENS)
    """Longest response in tokens. null: 64 for the front desk's policy, 512 for any other; 256 to 2048 are usual,
    thousands for a policy that thinks."""
    batch_size: int = Field(256, ge=1, le=100_000)
    """Responses sampled together; where memory runs out, smaller batches are tried."""

    @model_validator(mode="after")
    def _a_batch_can_be_drawn(self) -> Self:
        if self.batch_size * self.max_new_tokens > MAX_DRAWN:
            raise ValueError(
                f"batch_size {self.batch_size:,} times max_new_tokens {self.max_new_tokens:,} is more than "
                f"{MAX_DRAWN:,} tokens drawn together: lower batch_size"
            )
        return self
