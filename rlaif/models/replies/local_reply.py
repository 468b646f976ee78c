"""A local judge's questions and replies as token ids, the same for every local engine.

Encodes prompts and finds those that fit; reads a reason or a named failure from the ids that the judge wrote. Runs no
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.models.replies.verdict_text import reader_for
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.records import FailureCause


class Encoded(NamedTuple):
    """Questions as token ids, and those of them that the model has room for."""

    prompts: list[list[int]]
    fitting: list[int]
    """Rows of the questions that fit and are to be asked."""
    replies: list[ScoredReply]
    """A reply per row: the failure for a prompt that is too long, to be replaced for the rows that fit."""


def encode_questions(
    encoder: PromptEncoder, chats: Sequence[Chat], *, request: ScoreRequest, context_tokens: int
) -> Encoded:
    """Encode the prompts, with the marker after them where no reason is to be written."""
    prompts = encoder.encode_batch(chats)
    if request.max_reason_tokens == 0:
        prompts = [prompt + encoder.encode_response_start(request.marker) for prompt in prompts]
    room = context_tokens - request.max_reason_tokens - 1
    replies = [
        ScoredReply("", None, (), prompt_tokens=len(prompt), reply_tokens=0, failure="over_length")
        for prompt in prompts
    ]
    return Encoded(prompts, [row for row, prompt in enumerate(prompts) if len(prompt) <= room], replies)


def read_reply(
    encoder: PromptEncoder,
    ids: Sequence[int],
    *,
    request: ScoreRequest,
    logprobs: tuple[float, ...] | None,
    is_finished: bool,
    prompt_tokens: int,
) -> ScoredReply:
    """The reply in `ids`, which end with the marker if the judge wrote it.

    logprobs: of the choices right after the marker; None without a marker. is_finished: the model ended the reply.
    """
    text = encoder.decode(ids)
    if request.max_reason_tokens == 0 and logprobs is not None:
        return ScoredReply(text, None, logprobs, prompt_tokens, 1)
    if logprobs is not None:
        reason = reader_for(request.marker, request.choices).reason_before(text).strip()
        return ScoredReply(text, reason, logprobs, prompt_tokens, len(ids) + 1)
    failure: FailureCause = "unparsable" if is_finished else "truncated"
    if not text.strip():
        failure = "empty"
    return ScoredReply(text, None, (), prompt_tokens=prompt_tokens, reply_tokens=len(ids), failure=failure)
