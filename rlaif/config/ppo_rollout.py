"""Options of PPO's rollouts: what samples the policy's responses, and with whose weights.

There is no top_p, no top_k and no penalty: the probability ratio holds only for responses that come from the policy
itself, at its temperature.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.addresses import find_address_fault
from rlaif.config.base import FOLLOWS_POLICY, Config, refuse_idle
from rlaif.config.models import MAX_TOKENS, VllmConfig

BENDING_ENGINE_ARGS = (
    "enable_sleep_mode", "hf_overrides", "load_format", "logits_processors", "override_generation_config",
    "quantization", "speculative_config", "worker_cls", "worker_extension_cls",
)  # fmt: skip
"""Arguments of vLLM that would change what is sampled, or with which it could not take new weights."""


class RolloutVllmConfig(VllmConfig):
    """How vLLM runs its copy of the policy; only for `engine: vllm`."""

    gpu_memory_utilization: float = Field(0.3, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes beside the training; it must be free when vLLM starts."""
    max_model_len: int | None = Field(None, ge=16, le=MAX_TOKENS)
    """Longest prompt and response together, in tokens; null: as long as the run's own are."""
    engine_args: dict[str, Any] = {}
    """Further arguments of vllm.LLM, such as {max_num_seqs: 512}; those that change what is sampled are refused."""

    @model_validator(mode="after")
    def _samples_the_policy_itself(self) -> Self:
        if bending := sorted(set(self.engine_args) & set(BENDING_ENGINE_ARGS)):
            raise ValueError(
                f"engine_args may not hold {', '.join(bending)}: the responses must come from the policy itself"
            )
        return self


class RolloutServerConfig(Config):
    """A vLLM server that samples; only for `engine: vllm_server`."""

    url: str | None = None
    """The server's address, such as http://localhost:8000. It must run with VLLM_SERVER_DEV_MODE=1, see
    docs/rollouts.md."""
    weights_dir: str | None = None
    """Folder through which the server gets the policy's weights; its path must be the same there as here. null: a
    folder on this machine's disk."""
    api_key_env: str = "VLLM_API_KEY"
    """Environment variable that holds the server's key, if it needs one."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Requests sent at once, one for each response."""
    timeout_s: float = Field(600.0, gt=0, le=7 * 24 * 3600.0)
    """Seconds that one response, or taking new weights, may take."""
    max_retries: int = Field(5, ge=0, le=1000)
    """How often a request that failed is sent again; then training stops."""


class RolloutConfig(Config):
    """What samples the policy's responses during PPO."""

    engine: Literal["transformers", "vllm", "vllm_server"] = "transformers"
    """What samples the responses. transformers: the model in training itself. vllm: a copy that vLLM runs in a separate
    process on this machine and that gets the new weights before each rollout; needs the extra `vllm` (docs/scale.md).
    vllm_server: such a copy in a vLLM server that is running already."""
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], FOLLOWS_POLICY] = "float32"
    """Number format of vLLM's copy, and of the weights that are sent to it. null: bfloat16 with `engine: vllm` and a
    policy that is not the front desk's, else float32."""
    device: str | None = None
    """Device of `engine: vllm`, such as cuda:1; null: the one on which the policy is trained."""
    vllm: RolloutVllmConfig = RolloutVllmConfig()
    """How vLLM runs its copy of the policy; only for `engine: vllm`."""
    sleep: bool = False
    """Let vLLM give back its GPU memory between rollouts (its sleep level 1); only for `engine: vllm` on a GPU."""
    server: RolloutServerConfig = RolloutServerConfig()
    """The server of `engine: vllm_server`."""
    one_step_off: bool = False
    """Sample the next step's responses while this step's update runs, with the weights from before the update. With
    vLLM both happen at once. The responses are one update old; the importance weights correct for that."""
    max_importance_weight: float | None = Field(2.0, ge=1, le=1e6)
    """Largest importance weight of a token's loss: its probability under the policy in training, divided by its
    probability when it was sampled. null: no importance weights."""
    max_logprob_gap: float = Field(0.05, gt=0, le=1000)
    """Training stops where the engine's log-probabilities differ by more than this, in nats per token, from those of
    the policy whose weights it was sent: it does not have these weights. In float32, 0.001 is enough."""

    @property
    def drawn_as(self) -> RolloutConfig:
        """The options that decide what is sampled. The others, where and how fast, may change when training resumes."""
        kept = self.model_dump(exclude={"device", "vllm", "sleep", "server"})
        return RolloutConfig.model_construct(**kept)

    @model_validator(mode="after")
    def _engine_has_what_it_needs(self) -> Self:
        if self.engine == "vllm_server" and self.server.url is None:
            raise ValueError("engine: vllm_server needs server.url, such as http://localhost:8000")
        if self.server.url is not None and (fault := find_address_fault(self.server.url.strip())):
            raise ValueError(f"server.url {fault}: write it as http://localhost:8000")
        if self.sleep and self.engine != "vllm":
            raise ValueError("sleep is for engine: vllm")
        if self.sleep and self.one_step_off:
            raise ValueError("with one_step_off vLLM samples while the policy is updated and cannot sleep meanwhile")
        return self

    @model_validator(mode="after")
    def _options_do_something(self, info: ValidationInfo) -> Self:
        idle = {"transformers": ("dtype", "device", "vllm", "server"), "vllm": ("server",)}
        names = idle.get(self.engine, ("device", "vllm"))
        refuse_idle(self, dict.fromkeys(names, ()), when=f"with engine: {self.engine}", info=info)
        return self
