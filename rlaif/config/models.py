"""Options of a local model: where it is, how it is computed, and what runs it. Reads nothing and loads nothing."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

MAX_NEW_TOKENS = 131_072
"""Longest response that an option may ask for, in tokens: a random number is drawn beforehand for each of them."""
MAX_TOKENS = 10_000_000
"""Longest text that an option may ask for, in tokens; no model reads a longer one."""
_CONTEXT = ("max_position_embeddings", "n_positions")
FRONTDESK = "frontdesk"
"""Name of what comes with rlaif: the policy, the judge, the visitors' questions."""
_SHIPPED = Path(__file__).parent.parent / FRONTDESK


def is_frontdesk(path: str, *, part: Literal["policy", "judge"]) -> bool:
    """Whether a model is the one that comes with rlaif, a copy of it, or one that was trained from it.

    A folder is recognised by its tokenizer: no other model has the front desk's.
    """
    if path == FRONTDESK:
        return True
    shipped = _SHIPPED / part / "tokenizer.json"
    try:
        return filecmp.cmp(Path(path).expanduser() / "tokenizer.json", shipped, shallow=False)
    except (OSError, ValueError, RuntimeError):  # no folder, no path at all, no such user
        return False


def resolve_path(path: str, *, part: Literal["policy", "judge"]) -> str:
    """The folder or hub id of a model: `frontdesk` is the folder of the model that comes with rlaif."""
    return str(_SHIPPED / part) if path == FRONTDESK else path


def read_context(path: str) -> int | None:
    """A model's context length in tokens, from the config.json of its folder; None where it is not given there."""
    try:
        config = json.loads((Path(path).expanduser() / "config.json").read_bytes())
        found = [config.get("text_config", {}).get(name, config.get(name)) for name in _CONTEXT]
    except (OSError, ValueError, RuntimeError, AttributeError):  # a broken folder is reported when it is loaded
        return None
    return min((one for one in found if isinstance(one, int) and one > 0), default=None)


class ModelConfig(Config):
    """A Hugging Face model with a chat template."""

    path: str = FRONTDESK
    """Model folder or hub id; `frontdesk` is the small model that comes with rlaif."""
    revision: str | None = None
    """Commit or tag of a hub model; null: its newest."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights. A policy that is trained keeps float32 weights; for its arithmetic there is
    ppo.model.compute_dtype."""
    device: str = "auto"
    """Device to compute on: cpu, cuda, cuda:1, mps, or auto, which takes an accelerator where there is one."""


RESERVED_ENGINE_ARGS = (
    "dtype", "enable_prefix_caching", "generation_config", "gpu_memory_utilization", "logprobs_mode",
    "max_model_len", "model", "revision", "runner", "seed", "skip_tokenizer_init", "tensor_parallel_size", "tokenizer",
    "tokenizer_revision", "trust_remote_code",
)  # fmt: skip
"""Arguments of vLLM that have an option here, that rlaif sets itself, or that would run a model's own code."""


class VllmConfig(Config):
    """How vLLM runs a model; only for `engine: vllm`."""

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes for the weights and its cache; it must be free when vLLM starts."""
    tensor_parallel_size: int = Field(1, ge=1, le=1024)
    """Number of GPUs over which each layer is spread."""
    max_model_len: int | None = Field(None, ge=16, le=MAX_TOKENS)
    """Longest prompt and reply together, in tokens; null: the model's own limit."""
    engine_args: dict[str, Any] = {}
    """Further arguments of vllm.LLM, such as {quantization: fp8}; with other arguments it counts as another model."""

    @model_validator(mode="after")
    def _arguments_are_free(self) -> Self:
        if taken := sorted(set(self.engine_args) & set(RESERVED_ENGINE_ARGS)):
            raise ValueError(f"engine_args may not hold {', '.join(taken)}: it has an option, or rlaif sets it itself")
        return self


class PolicyModelConfig(ModelConfig):
    """The policy. It is always trained by transformers."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples the responses that are judged. transformers: this process. vllm: vLLM in a separate process, which
    ends before training begins; needs the extra `vllm` (docs/scale.md)."""
    vllm: VllmConfig = VllmConfig()
    """How vLLM runs the policy; only for `engine: vllm`."""
