"""Options of a local model: where it is, how it is computed, and what runs it. Reads nothing and loads nothing."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

MAX_NEW_TOKENS = 131_072
"""Longest response of any option in tokens: a number is drawn beforehand for each of them."""
MAX_TOKENS = 10_000_000
"""Longest text of any option in tokens; no model reads a longer one."""
_CONTEXT = ("max_position_embeddings", "n_positions")
FRONTDESK = "frontdesk"
"""Stands for what comes with rlaif: the policy, the judge, the visitors' questions."""
_SHIPPED = Path(__file__).parent.parent / FRONTDESK


def is_frontdesk(path: str, *, part: Literal["policy", "judge"]) -> bool:
    """Whether a model is the one that comes with rlaif, a copy of it, or one that was trained from it.

    A folder is known by its tokenizer: nothing else was ever trained with the front desk's.
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
    """The longest text in tokens that the config.json of a model's folder says it reads; None where nothing says so."""
    try:
        config = json.loads((Path(path).expanduser() / "config.json").read_bytes())
        found = [config.get("text_config", {}).get(name, config.get(name)) for name in _CONTEXT]
    except (OSError, ValueError, RuntimeError, AttributeError):  # what is wrong there is said when it is loaded
        return None
    return min((one for one in found if isinstance(one, int) and one > 0), default=None)


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
