"""Prompts and responses as texts -> rewards, with the reward model's own tokenizer and chat template.

Takes texts, so that policy and reward model may have different tokenizers. A response that cannot be scored is a named
failure, never a number. Does not standardise rewards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from rlaif.errors import DataError
from rlaif.models.weights.context import NO_LIMIT, context_tokens_of
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Prompt
from rlaif.reward_model.data import encode_example, encode_whole
from rlaif.reward_model.model import compute_rewards

ScoreFailure = Literal["over_length", "non_finite"]


def is_ours(loaded: LoadedModel) -> bool:
    """Whether rlaif trained it: it then reads its score at the token that ends the response."""
    return getattr(loaded.model.config, "reward_mean", None) is not None


class RewardModelScorer:
    """A loaded reward model; `mean` and `std` describe its rewards on the starting policy's samples."""

    def __init__(self, loaded: LoadedModel, *, max_tokens: int | None = None, reads_whole: bool = False) -> None:
        """max_tokens: padded tokens that go through the model at once; None: as many as suit the device.

        reads_whole: the model reads its score where its chat template ends a conversation, not where the response ends.
        """
        self._loaded, self._max_tokens = loaded, max_tokens
        self._encode = encode_whole if reads_whole else encode_example
        config = loaded.model.config
        self._limit = context_tokens_of(loaded.model) or NO_LIMIT
        self.mean: float | None = getattr(config, "reward_mean", None)
        self.std: float | None = getattr(config, "reward_std", None)

    def score(self, examples: Sequence[tuple[Prompt, str]]) -> list[float]:
        """The reward of each response, in the order of `examples`; an error if one cannot be scored."""
        rewards: list[float] = []
        for number, outcome in enumerate(self.score_each(examples), start=1):
            if isinstance(outcome, str):
                raise DataError(
                    f"response {number} of {len(examples)} cannot be scored: {outcome.replace('_', ' ')}",
                    where=self._loaded.path,
                    fix="leave it out, or use a reward model with a longer context",
                )
            rewards.append(outcome)
        return rewards

    def score_each(self, examples: Sequence[tuple[Prompt, str]]) -> list[float | ScoreFailure]:
        """The reward of each response, in the order of `examples`, or why it has none.

        Neither the order nor what else is in the batch changes a reward by more than rounding.
        """
        sequences = [self._encode(prompt, response, encoder=self._loaded.encoder) for prompt, response in examples]
        fitting = [place for place, sequence in enumerate(sequences) if len(sequence) <= self._limit]
        with torch.inference_mode():
            rewards = compute_rewards(
                self._loaded.model, [sequences[place] for place in fitting], max_tokens=self._max_tokens
            ).tolist()
        outcomes: list[float | ScoreFailure] = ["over_length"] * len(sequences)
        for place, reward in zip(fitting, rewards, strict=True):
            outcomes[place] = reward if math.isfinite(reward) else "non_finite"
        return outcomes
