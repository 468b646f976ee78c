"""A copy of the policy in training that vLLM samples from, in a separate process on this machine.

Takes token ids and returns token ids and log-probabilities. The first weights start the process, later ones replace
them in it. Knows no text and no reward.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.errors import TrainingError
from rlaif.models.interface import DrawnTokens
from rlaif.models.vllm.engine import read_device
from rlaif.models.vllm.process import VllmProcess, find_vllm


class VllmCopy:
    """Implements `PolicyCopy` with a process on this machine, which each call starts or wakes where it must."""

    is_shared = False

    def __init__(self, config: RolloutConfig, *, device: str, max_tokens: int) -> None:
        """device: used where the options name none. max_tokens: longest prompt and response together."""
        find_vllm()
        if (most := config.vllm.max_model_len or max_tokens) < max_tokens:
            raise TrainingError(
                f"the longest prompt and response are {max_tokens} tokens, and vLLM is to hold {most}",
                where="ppo.rollout.vllm.max_model_len",
                fix="leave it out, or make it larger",
            )
        self._config = config
        self._device = read_device(config.device or device, os.environ)
        self._max_tokens = max_tokens
        self._process: VllmProcess | None = None
        self._is_asleep = False
        self.version = ""
        """The name of the weights that it has."""

    def load_weights(self, folder: Path, *, version: str) -> None:
        """Take the weights in a model's folder, which may be deleted afterwards."""
        self.version = version
        if self._process is None or self._process.pid is None:
            self._process = VllmProcess(
                _arguments(folder, self._config, max_tokens=self._max_tokens),
                environ=self._device.environ,
                device=self._device.kind,
                where="ppo.rollout",
                after_death="training continues from its last checkpoint with --resume",
            )
            self._process.start()
            self._is_asleep = False
            return
        self._wake_up(self._process)
        self._process.ask({"do": "load_weights", "folder": str(folder)})

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seeds: Sequence[int],
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
    ) -> list[DrawnTokens]:
        """One response to each prompt, drawn from the tempered distribution of the latest weights."""
        if self._process is None or self._process.pid is None:
            raise RuntimeError("vLLM has no weights yet")
        self._wake_up(self._process)
        rows = self._process.ask(
            {
                "do": "roll_out", "prompts": prompts, "seeds": seeds, "max_tokens": max_tokens,
                "temperature": temperature, "stop_token_ids": stop_token_ids,
            }
        )  # fmt: skip
        if self._config.sleep:
            self._process.ask({"do": "sleep"})
            self._is_asleep = True
        return [DrawnTokens(row["ids"], row["logprobs"]) for row in rows]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()

    def _wake_up(self, process: VllmProcess) -> None:
        if self._is_asleep:
            process.ask({"do": "wake_up"})
            self._is_asleep = False


def _arguments(folder: Path, config: RolloutConfig, *, max_tokens: int) -> dict[str, Any]:
    """Arguments of vllm.LLM."""
    options = config.vllm
    return {
        **options.engine_args,
        "model": str(folder),
        "load_format": "safetensors",
        "dtype": config.dtype,
        "skip_tokenizer_init": True,
        "max_model_len": options.max_model_len or max_tokens,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",  # tempered, as the distribution that is trained
        "generation_config": "vllm",  # no sampling options from the model's folder
        "trust_remote_code": False,
        "seed": 0,
        **({"enable_sleep_mode": True} if config.sleep else {}),
    }
