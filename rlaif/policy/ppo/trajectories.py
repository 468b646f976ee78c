"""Prompts -> trajectories: the policy's sampled responses, as token ids and as text.

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
from rlaif.models.interface import Chat
from rlaif.models.local.decode import decode, row_uniforms
from rlaif.models.local.linear_head import find_linear_head
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.rewards.episodes import Episode, Scored, ScoreScale, WeightedReward, score_episodes
from rlaif.records import Prompt
from rlaif.training.team import ALONE, Team


class Encoder(Protocol):
    """Text <-> token ids; `rlaif.models.tokens.prompt_tokens.PromptEncoder` is one."""

    @property
    def stop_token_ids(self) -> tuple[int, ...]: ...

    @property
    def pad_token_id(self) -> int: ...

    def encode(self, chat: Chat, /) -> list[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


class EncodedPrompt(NamedTuple):
    prompt: Prompt
    token_ids: list[int]


class PendingResponse(NamedTuple):
    """A response to be drawn. Its key alone fixes the random numbers, whatever is drawn beside it."""

    prompt: EncodedPrompt
    key: tuple[int, ...]


class TokenNumbers(NamedTuple):
    """For each token of a response, what the pass that drew it computed."""

    logprobs: list[float]
    values: list[float]
    entropies: list[float]


class Trajectory(NamedTuple):
    """One response of the policy."""

    prompt: Prompt
    tokens: TokenSequence
    finished: bool
    """True where the response ends with a stop token, False where it ran out of tokens."""
    response: str
    numbers: TokenNumbers | None
    """Given where the policy drew the response itself, with the weights that are updated next; else None."""
    version: int = 0
    """Number of updates in the weights that drew the response."""
    engine_logprobs: list[float] | None = None
    """Log-probability of each token by the engine that drew it; None where the engine gives none."""


def encode_prompts(
    prompts: Sequence[Prompt], encoder: Encoder, *, response_length: int, context_tokens: int | None
) -> list[EncodedPrompt]:
    """All prompts as token ids. A prompt that leaves no room for a response is refused."""
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
    version: int = 0,
    team: Team = ALONE,
) -> list[Trajectory]:
    """`num_samples` responses to each prompt, prompt by prompt; `key` fixes all that is drawn.

    Each process of the team draws some, and all get all of them.
    """

    def draw(pending: Sequence[PendingResponse]) -> list[Trajectory]:
        return sample_pending(
            model,
            encoder,
            pending,
            response_length=response_length,
            temperature=temperature,
            value_head=value_head,
            version=version,
        )

    return list(team.in_shares(draw)(plan_responses(prompts, num_samples=num_samples, key=key)))


def plan_responses(
    prompts: Sequence[EncodedPrompt], *, num_samples: int, key: tuple[int, ...]
) -> list[PendingResponse]:
    """`num_samples` responses to be drawn to each prompt, prompt by prompt."""
    return [
        PendingResponse(prompt, (*key, place, sample))
        for place, prompt in enumerate(prompts)
        for sample in range(num_samples)
    ]


def sample_pending(
    model: PreTrainedModel,
    encoder: Encoder,
    pending: Sequence[PendingResponse],
    *,
    response_length: int,
    temperature: float,
    value_head: nn.Module | None = None,
    version: int = 0,
) -> list[Trajectory]:
    """The responses, in order. `value_head` reads values in the same pass where the model allows it."""
    if not pending:
        return []
    if find_linear_head(model) is None:
        value_head = None
    decoded = decode(
        model,
        [prompt.token_ids for prompt, _ in pending],
        max_new_tokens=response_length,
        temperature=temperature,
        uniforms=row_uniforms([key for _, key in pending], response_length),
        stop_ids=encoder.stop_token_ids,
        pad_id=encoder.pad_token_id,
        value_head=value_head,
    )
    numbers: Iterable[TokenNumbers | None] = repeat(None, len(pending))
    if value_head is not None:
        numbers = map(TokenNumbers, decoded.logprobs, decoded.values, decoded.entropies)
    return [
        Trajectory(
            prompt=prompt.prompt,
            tokens=TokenSequence(prompt.token_ids, ids),
            finished=finished,
            response=encoder.decode(ids[:-1] if finished else ids),
            numbers=of_tokens,
            version=version,
            engine_logprobs=logprobs,
        )
        for (prompt, _), ids, finished, of_tokens, logprobs in zip(
            pending, decoded.token_ids, decoded.finished, numbers, decoded.logprobs, strict=True
        )
    ]


def score_trajectories(
    rewards: Sequence[WeightedReward],
    trajectories: Sequence[Trajectory],
    *,
    scales: Mapping[str, ScoreScale],
    max_failed: float,
    where: str,
) -> Scored:
    """Scores of the trajectories by the reward sources, which see texts only."""
    episodes = [Episode(one.prompt, one.response, is_whole=one.finished) for one in trajectories]
    return score_episodes(rewards, episodes, scales=scales, max_failed=max_failed, where=where)
