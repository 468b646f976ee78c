"""A question about likelihoods -> its readings: each a conversation and the response that follows it.

Such a question is one chat in which every reading ends with a message of a response's role. The same response is read
after different conversations, and no model writes anything. Runs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rlaif.models.interface import Chat, ScoredReply
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.records import FailureCause, Segment, SegmentedMessage
from rlaif.records.prompt import ResponseRole

WHOLE: ResponseRole = "response"
CUT_OFF: ResponseRole = "response, cut off"


class Reading(NamedTuple):
    """A conversation and a response to it."""

    chat: tuple[SegmentedMessage, ...]
    response: str
    is_whole: bool
    """Whether the response ends where its model ended it: then the token that ends it is part of it."""


class Tokens(NamedTuple):
    """A reading as token ids."""

    prompt: list[int]
    response: list[int]


def split_readings(chat: Chat) -> list[Reading]:
    """The readings of a question, in its order; none where the chat has no response in it."""
    readings: list[Reading] = []
    before: list[SegmentedMessage] = []
    for message in chat:
        if message.role in (WHOLE, CUT_OFF):
            readings.append(Reading(tuple(before), message.text, message.role == WHOLE))
            before = []
        else:
            before.append(message)
    return readings


def count_read(count: Callable[[Chat], int], chat: Chat) -> int:
    """Tokens of a chat by an engine's `count_tokens`; of a question about likelihoods, those of all its readings."""
    return sum(count(_joined(reading)) for reading in split_readings(chat)) or count(chat)


def count_requests(chat: Chat) -> int:
    """Most requests that a question takes at a server: two for each reading, without and with the response."""
    return 2 * len(split_readings(chat)) or 1


def count_sent(count: Callable[[Chat], int], chat: Chat) -> int:
    """Most tokens of the prompts that a server is sent for a question."""
    return count_read(count, chat) + sum(count(reading.chat) for reading in split_readings(chat))


def _joined(reading: Reading) -> Chat:
    """The conversation with the response at its last message's end, where it has as many tokens as in its place."""
    *before, last = reading.chat
    return (*before, SegmentedMessage(last.role, (*last.segments, Segment(reading.response, False))))


def judge_readings(
    encoder: PromptEncoder,
    chats: Sequence[Chat],
    *,
    context_tokens: int,
    run: Callable[[Sequence[Tokens]], Sequence[float]],
) -> list[ScoredReply]:
    """The reply to each question: the log-likelihoods that `run` gives for its readings, or why there are none."""
    split = [split_readings(chat) for chat in chats]
    encoded = iter(encode_readings(encoder, [reading for readings in split for reading in readings]))
    tokens = [[next(encoded) for _ in readings] for readings in split]
    failures = [_find_failure(rows, context_tokens=context_tokens) for rows in tokens]
    found = iter(run([row for rows, failed in zip(tokens, failures, strict=True) if not failed for row in rows]))
    replies = []
    for rows, failed in zip(tokens, failures, strict=True):
        read = sum(len(row.prompt) + len(row.response) for row in rows)
        reply = ScoredReply("", None, (), prompt_tokens=read, reply_tokens=0, failure=failed)
        if failed is None:
            reply = reply._replace(likelihoods=tuple(next(found) for _ in rows), response_tokens=len(rows[0].response))
        replies.append(reply)
    return replies


def _find_failure(rows: Sequence[Tokens], *, context_tokens: int) -> FailureCause | None:
    if any(len(row.prompt) + len(row.response) > context_tokens for row in rows):
        return "over_length"
    return None if all(row.response for row in rows) else "empty"


def encode_readings(encoder: PromptEncoder, readings: Sequence[Reading]) -> list[Tokens]:
    """Ids of each reading. A response that was cut off has no token that ends it."""
    if not readings:
        return []
    prompts = encoder.encode_batch([reading.chat for reading in readings])
    responses = encoder.encode_responses([reading.response for reading in readings])
    return [
        Tokens(prompt, response if reading.is_whole else response[:-1])
        for reading, prompt, response in zip(readings, prompts, responses, strict=True)
    ]
