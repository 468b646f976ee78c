"""Prompts -> trajectories: the policy's own sampled responses, as token ids and as text.

Randomness is keyed by (seed, step, prompt, sample), so a response does not depend on the batch it was
sampled in. Does not train.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

from torch import nn
from transformers import PreTrainedModel

from rlaif.errors import DataError
from rlaif.models.decode import decode, row_uniforms
from rlaif.models.interface import Chat
from rlaif.models.linear_head import find_linear_head
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.rewards import Episode, Scored, ScoreScale, WeightedReward, score_episodes
from rlaif.records import Prompt


class Encoder(Protocol):
    """Text <-> token ids; `rlaif.models.prompt_tokens.PromptEncoder` is one."""

    @property
    def stop_token_ids(self) -> tuple[int, ...]: ...

    @property
    def pad_token_id(self) -> int: ...

    def encode(self, chat: Chat, /) -> list[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


class EncodedPrompt(NamedTuple):
    prompt: Prompt
    token_ids: list[int]


class TokenNumbers(NamedTuple):
    """What the pass that drew a response said of each of its tokens."""

    logprobs: list[float]
    values: list[float]
    entropies: list[float]


class Trajectory(NamedTuple):
    """One response of the policy."""

    prompt: Prompt
    tokens: TokenSequence
    finished: bool
    """True where it ended with a stop token, False where it ran out of tokens."""
    response: str
    numbers: TokenNumbers | None
    """None where no value head read along."""


def encode_prompts(
    prompts: Sequence[Prompt], encoder: Encoder, *, response_length: int, context_tokens: int | None
) -> list[EncodedPrompt]:
    """All prompts as token ids; one that leaves no room for a response is refused."""
    if not prompts:
        raise DataError("there are no prompts to train the policy on", fix="give at least one prompt")
    encoded = [EncodedPrompt(prompt, encoder.encode(prompt.as_segments())) for prompt in prompts]
    for prompt, token_ids in encoded:
        if context_tokens is not None and len(token_ids) + response_length > context_tokens:
            raise DataError(
                f"a prompt of {len(token_ids)} tokens and a response of {response_length} "
                f"do not fit into the model's {context_tokens}",
                where=f"prompt {prompt.id}",
                fix="drop the prompt or lower ppo.response_length",
            )
    return encoded


def sample_trajectories(
    model: PreTrainedModel,
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    *,
    num_samples: int,
    response_length: int,
    temperature: float,
    key: tuple[int, ...],
    value_head: nn.Module | None = None,
) -> list[Trajectory]:
    """`num_samples` responses to each prompt, prompt by prompt; `key` fixes all that is drawn.

    `value_head` reads along, where the model lets it.
    """
    if find_linear_head(model) is None:
        value_head = None
    repeated = [prompt for prompt in prompts for _ in range(num_samples)]
    keys = [(*key, place, sample) for place in range(len(prompts)) for sample in range(num_samples)]
    decoded = decode(
        model,
        [prompt.token_ids for prompt in repeated],
        max_new_tokens=response_length,
        temperature=temperature,
        uniforms=row_uniforms(keys, response_length),
        stop_ids=encoder.stop_token_ids,
        pad_id=encoder.pad_token_id,
        value_head=value_head,
    )
    numbers: Iterable[TokenNumbers | None] = repeat(None, len(repeated))
    if value_head is not None:
        numbers = map(TokenNumbers, decoded.logprobs, decoded.values, decoded.entropies)
    return [
        Trajectory(
            prompt.prompt,
            TokenSequence(prompt.token_ids, ids),
            finished,
            encoder.decode(ids[:-1] if finished else ids),
            said,
        )
        for prompt, ids, finished, said in zip(repeated, decoded.token_ids, decoded.finished, numbers, strict=True)
    ]


def score_trajectories(
    rewards: Sequence[WeightedReward],
    trajectories: Sequence[Trajectory],
    *,
    scales: Mapping[str, ScoreScale],
    max_failed: float,
    where: str,
) -> Scored:
    """Their scores by the reward sources, which see texts only."""
    episodes = [Episode(trajectory.prompt, trajectory.response) for trajectory in trajectories]
    return score_episodes(rewards, episodes, scales=scales, max_failed=max_failed, where=where)
