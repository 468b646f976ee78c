"""What a local judge wrote, as token ids -> its reply as every local engine records it.

Prompts in and what fits out, ids in and reason or named failure out: the same whichever engine computes. Runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.models.replies.verdict_text import reader_for
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.records import FailureCause


class Asked(NamedTuple):
    """Questions as token ids, and which of them the model has room for."""

    prompts: list[list[int]]
    fitting: list[int]
    """Rows that are asked."""
    replies: list[ScoredReply]
    """A row each: too long, until it is answered."""


def encode_questions(
    encoder: PromptEncoder, chats: Sequence[Chat], *, request: ScoreRequest, context_tokens: int
) -> Asked:
    """The prompts, with the marker put after them where no reason is to be written."""
    prompts = encoder.encode_batch(chats)
    if request.max_reason_tokens == 0:
        prompts = [prompt + encoder.encode_response_start(request.marker) for prompt in prompts]
    room = context_tokens - request.max_reason_tokens - 1
    replies = [
        ScoredReply("", None, (), prompt_tokens=len(prompt), reply_tokens=0, failure="over_length")
        for prompt in prompts
    ]
    return Asked(prompts, [row for row, prompt in enumerate(prompts) if len(prompt) <= room], replies)


def read_reply(
    encoder: PromptEncoder,
    ids: Sequence[int],
    *,
    request: ScoreRequest,
    logprobs: tuple[float, ...] | None,
    is_finished: bool,
    prompt_tokens: int,
) -> ScoredReply:
    """The reply in `ids`, which end with the marker where it came.

    logprobs: of the choices at the next position; None where the marker never came. is_finished: the model ended it.
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
    return ScoredReply(text, None, (), prompt_tokens, len(ids), failure)
