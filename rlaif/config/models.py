"""Options of a local model: where it is, how it is computed, and what runs it. Reads nothing and loads nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

MAX_NEW_TOKENS = 131_072
"""Longest response of any option in tokens: a number is drawn beforehand for each of them."""
MAX_TOKENS = 10_000_000
"""Longest text of any option in tokens; no model reads a longer one."""
FRONTDESK = "frontdesk"
"""Stands for what comes with rlaif: the policy, the judge, the visitors' questions."""


def is_frontdesk(path: str, *, part: Literal["policy", "judge"]) -> bool:
    """Whether a model is the one that comes with rlaif, by its name or by its folder."""
    return path == FRONTDESK or os.path.realpath(path) == str(Path(__file__).resolve().parent.parent / FRONTDESK / part)


class ModelConfig(Config):
    """A Hugging Face model with a chat template."""

    path: str = FRONTDESK
    """Model folder or hub id; `frontdesk` is the small model that comes with rlaif."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights. A policy that is trained keeps float32; ppo.model.compute_dtype makes its
    arithmetic shorter."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto."""


RESERVED_ENGINE_ARGS = (
    "dtype", "enable_prefix_caching", "generation_config", "gpu_memory_utilization", "logprobs_mode",
    "max_model_len", "model", "revision", "runner", "seed", "skip_tokenizer_init", "tensor_parallel_size", "tokenizer",
    "tokenizer_revision", "trust_remote_code",
)  # fmt: skip
"""Arguments of vLLM that have an option here, that rlaif sets itself, or that would run a model's own code."""


class VllmConfig(Config):
    """How vLLM runs a model; only for `engine: vllm`."""

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that it takes, free when it starts, for the weights and its cache of prefixes."""
    tensor_parallel_size: int = Field(1, ge=1, le=1024)
    """GPUs over which each layer is spread."""
    max_model_len: int | None = Field(None, ge=16, le=MAX_TOKENS)
    """Longest prompt and reply together, in tokens; null: as the model says."""
    engine_args: dict[str, Any] = {}
    """Further arguments of vllm.LLM, such as {quantization: fp8}; under other ones it counts as another model."""

    @model_validator(mode="after")
    def _arguments_are_free(self) -> Self:
        if taken := sorted(set(self.engine_args) & set(RESERVED_ENGINE_ARGS)):
            raise ValueError(f"engine_args may not hold {', '.join(taken)}: it has an option, or rlaif sets it itself")
        return self


class PolicyModelConfig(ModelConfig):
    """The policy. It is always trained by transformers."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples its responses. vllm: in a process of its own, which is gone before training begins; needs
    the extra `vllm` (docs/scale.md)."""
    vllm: VllmConfig = VllmConfig()
    """How vLLM runs it; only for `engine: vllm`."""
