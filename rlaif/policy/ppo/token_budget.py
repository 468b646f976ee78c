"""How many tokens go through a model at once: what the options say, and less once memory has run out.

Says a number and tries; knows no model and no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from rlaif.console import say
from rlaif.errors import ModelError
from rlaif.models.local.halving import is_out_of_memory
from rlaif.models.weights.loading import free_memory
from rlaif.policy.ppo.batching import TokenSequence, micro_batches

Result = TypeVar("Result")
CPU_TOKENS, DEVICE_TOKENS = 512, 16_384
"""[M] On a CPU for each response to a prompt: more at once take more memory and, where no prompt is shared, no
less time; a shared prompt wants its responses beside it. An accelerator wants to be kept busy."""


class TokenBudget:
    """Tokens in a micro-batch, remembered from step to step."""

    def __init__(self, tokens: int | None, *, device: torch.device, num_samples: int = 1, halves: bool = True) -> None:
        """tokens: None for what suits the device and `num_samples` responses to a prompt.
        halves: goes on with fewer where memory has run out."""
        self.tokens = tokens or (num_samples * CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS)
        self._halves = halves
        self._is_told = False

    def fit(self, run: Callable[[int], Result], sequences: Sequence[TokenSequence]) -> Result:
        """What `run` makes of the sequences, with so many tokens in a micro-batch.

        `run` begins anew with fewer where memory runs out, so it must undo what it did before.
        """
        while True:
            groups = micro_batches(sequences, max_tokens=self.tokens)
            try:
                return run(self.tokens)
            except (RuntimeError, MemoryError) as cause:
                if not is_out_of_memory(cause):
                    raise
                if not self._halves:
                    raise ModelError(
                        f"memory ran out at {self.tokens} tokens at once, and of several processes none can take "
                        "fewer by itself",
                        where="ppo.micro_batch_tokens",
                        fix="lower it",
                    ) from cause
                if all(len(group) == 1 for group in groups):
                    longest = max(_num_tokens(sequences, group) for group in groups)
                    raise ModelError(
                        f"one prompt and its response, {longest} tokens, do not fit into memory",
                        fix="lower ppo.response_length, set ppo.model.gradient_checkpointing, or train fewer weights",
                    ) from cause
            # outside the handler: its traceback would keep the failed batch's tensors alive
            free_memory()
            self._halve(max(_num_tokens(sequences, group) for group in groups))

    def _halve(self, tried: int) -> None:
        self.tokens = max(1, min(self.tokens, tried) // 2)
        if not self._is_told:
            say(f"memory ran out at {tried} tokens at once: now {self.tokens}, and fewer if need be; same result")
            self._is_told = True


def _num_tokens(sequences: Sequence[TokenSequence], group: Sequence[int]) -> int:
    return sum(len(sequences[place].prompt_ids) + len(sequences[place].response_ids) for place in group)
