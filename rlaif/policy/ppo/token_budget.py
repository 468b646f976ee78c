"""How many tokens go through a model at once: the options' number, and less once memory has run out.

Knows no model and no loss.
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
"""[M] The CPU's number is per response to a prompt. More tokens at once take more memory and, where no prompt is
shared, no less time; responses that share a prompt are best computed together. An accelerator is best kept busy."""


class TokenBudget:
    """Tokens in a micro-batch, remembered from step to step."""

    def __init__(self, tokens: int | None, *, device: torch.device, num_samples: int = 1, halves: bool = True) -> None:
        """tokens: None for a number that suits the device and `num_samples` responses to a prompt.
        halves: whether to try again with half as many where memory runs out."""
        self.tokens = tokens or (num_samples * CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS)
        self._halves = halves
        self._was_said = False

    def fit(self, run: Callable[[int], Result], sequences: Sequence[TokenSequence]) -> Result:
        """The result of `run`, a function of the number of tokens in a micro-batch, over these sequences.

        `run` is called again with fewer where memory runs out, so it must undo what a failed call did.
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
        if not self._was_said:
            say(f"memory ran out at {tried} tokens at once: now {self.tokens}, and fewer if need be; same result")
            self._was_said = True


def _num_tokens(sequences: Sequence[TokenSequence], group: Sequence[int]) -> int:
    return sum(len(sequences[place].prompt_ids) + len(sequences[place].response_ids) for place in group)
