"""Options of the stages that make preferences: prompts, samples, judgements, preferences."""

from __future__ import annotations

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.config.models import FRONTDESK, ModelConfig, PolicyModelConfig, VllmConfig
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


class PromptsConfig(Config):
    """Where prompts come from."""

    path: str = FRONTDESK
    """JSONL, JSON, CSV or Parquet file, folder or hub id of a `datasets` set; `frontdesk` draws visitors' questions."""
    split: str = "train"
    """Split of a folder or hub data set: `train`, or its full name, such as `train_sft`; `SUBSET/SPLIT` of a subset."""
    column: str = "prompt"
    """Column that holds the prompt: text, chat messages, or a transcript as in HH-RLHF, its last reply left off."""
    reference_column: str = "reference"
    """Column that holds a known answer as text; functions that give rewards are handed it. Rows may lack it."""
    num_prompts: int = Field(500, ge=1)
    """At most this many prompts."""
    test_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the prompts held out of training, drawn by prompt id."""


class SamplingConfig(Config):
    """How the policy answers each prompt."""

    num_samples: int = Field(4, ge=2)
    """Responses per prompt."""
    num_pairs: int = Field(3, ge=1)
    """Pairs judged per prompt, drawn from all of its responses'; a judge that scores or ranks gives them all."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling."""
    max_new_tokens: int = Field(64, ge=1)
    """Longest response in tokens."""
    batch_size: int = Field(256, ge=1)
    """Responses sampled together."""
