"""Prompts, requests and replies as JSON text, for the way between the driver and its workers.

Every piece of a prompt keeps its mark of trust. Numbers come back bit for bit, also those that are not finite. Sends
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rlaif.models.interface import Chat, Generation, ScoredReply
from rlaif.records import Segment, SegmentedMessage


def dump_chats(chats: Sequence[Chat]) -> str:
    rows = [[[message.role, [[s.text, s.trusted] for s in message.segments]] for message in chat] for chat in chats]
    return json.dumps(rows)  # ASCII: a lone surrogate travels as its escape


def load_chats(text: str) -> list[tuple[SegmentedMessage, ...]]:
    return [
        tuple(
            SegmentedMessage(role, tuple(Segment(piece, trusted) for piece, trusted in segments))
            for role, segments in chat
        )
        for chat in json.loads(text)
    ]


def dump_draws(chats: Sequence[Chat], keys: Sequence[tuple[int, ...]]) -> str:
    """Text of prompts to be answered and of the keys that fix each answer's randomness."""
    return json.dumps([dump_chats(chats), keys])


def load_draws(text: str) -> tuple[list[tuple[SegmentedMessage, ...]], list[tuple[int, ...]]]:
    chats, keys = json.loads(text)
    return load_chats(chats), [tuple(key) for key in keys]


def dump_replies(replies: Sequence[ScoredReply]) -> str:
    """Text of a local engine's replies. A served reply has a record in `served`, which JSON refuses."""
    return json.dumps([reply._asdict() | {"unknown": sorted(reply.unknown)} for reply in replies])


def load_replies(text: str) -> list[ScoredReply]:
    return [_load_reply(row) for row in json.loads(text)]


def _load_reply(row: dict[str, Any]) -> ScoredReply:
    row["logprobs"], row["unknown"] = tuple(row["logprobs"]), frozenset(row["unknown"])
    row["likelihoods"] = tuple(row["likelihoods"])
    return ScoredReply(**row)


def dump_generations(generations: Sequence[Generation]) -> str:
    return json.dumps(generations)


def load_generations(text: str) -> list[Generation]:
    return [
        Generation(response, tuple(token_ids), reason, num) for response, token_ids, reason, num in json.loads(text)
    ]
