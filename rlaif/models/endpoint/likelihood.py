"""A question about likelihoods to a chat server: each reading in a request, and what must be known to read its answer.

The tokens of a conversation are asked for once for all responses to it, and those that close an answer once for each
server. All requests of a question count as its own. given_text.py finds the response; retries are client.py's.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlaif.models.endpoint.client import EndpointClient
from rlaif.models.endpoint.given_text import (
    ANSWERED,
    CONTINUED,
    CONVERSATION,
    Ending,
    Given,
    Response,
    find_ending,
    find_response,
)
from rlaif.models.endpoint.http import Answer
from rlaif.models.endpoint.prompt import PlainChat, arrange, to_plain_chat
from rlaif.models.endpoint.reading import SentQuestion, ServerState
from rlaif.models.endpoint.reply import ReadReply, Usage
from rlaif.models.interface import Chat, ScoredReply
from rlaif.models.readings import Reading, split_readings
from rlaif.records import Segment, SegmentedMessage

_EXAMPLE = (
    SegmentedMessage("user", (Segment("Is it so?", True),)),
    SegmentedMessage("assistant", (Segment("Yes.", True),)),
)
"""A conversation that shows how the template closes an answer."""


class _Unanswered(Exception):
    """A request of the question was given up."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.said)
        self.answer = answer


@dataclass
class _Asked:
    """A question under way."""

    question: SentQuestion
    answer: Answer = field(default_factory=lambda: Answer(0))
    """The answer to its latest request."""
    read: ReadReply = field(default_factory=lambda: ReadReply(""))
    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))
    """Tokens of all its answers so far."""


class LikelihoodClient:
    """Asks questions about likelihoods one by one, through a client that sees single requests through."""

    def __init__(self, client: EndpointClient, *, state: ServerState) -> None:
        self._client, self._state = client, state
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, chat: Chat, *, key: str) -> ScoredReply:
        """The log-likelihood of each reading's response, or a failure in their place."""
        asked = _Asked(self._client.begin(PlainChat([], 0, 0), key=key))
        responses: list[Response] = []
        try:
            for reading in split_readings(chat):
                responses.append(await self._read(reading, asked))
                if responses[-1].failure is not None:
                    break
        except _Unanswered as unanswered:
            return self._client.reader.give_up(asked.question, unanswered.answer)
        failure, said = responses[-1].failure, responses[-1].said
        self._state.count_verdict(failure != "unparsable")
        read = asked.read._replace(failure=failure, said=said)
        reply = self._client.reader.reply(asked.question, asked.answer, read, asked.usage)
        if failure is not None:
            return reply
        return reply._replace(
            likelihoods=tuple(math.fsum(response.logprobs) for response in responses),
            response_tokens=len(responses[0].logprobs),
        )

    async def _read(self, reading: Reading, asked: _Asked) -> Response:
        ending = await self._find_ending(asked)
        if ending is None:
            return Response([], "unparsable", "the server's template writes an open answer unlike a closed one")
        answer = SegmentedMessage("assistant", (Segment(reading.response, False),))
        plain = to_plain_chat((*reading.chat, answer))
        conversation = await self._find_conversation(to_plain_chat(reading.chat), asked)
        given = await self._request(plain, ANSWERED, asked)
        return find_response(
            given, conversation=conversation, ending=ending, response=plain.messages[-1]["content"],
            is_whole=reading.is_whole,
        )  # fmt: skip

    async def _find_ending(self, asked: _Asked) -> Ending | None:
        async with self._locks[""]:
            if self._state.texts.ending is None:
                example = to_plain_chat(_EXAMPLE)
                continued = await self._request(example, CONTINUED, asked)
                self._state.texts.ending = find_ending(continued, await self._request(example, ANSWERED, asked))
            return self._state.texts.ending

    async def _find_conversation(self, plain: PlainChat, asked: _Asked) -> list[int]:
        """Tokens of a conversation with the generation prompt. Of questions that need the same, the first one asks."""
        name = json.dumps(arrange(plain.messages, self._state.settings.chat_form))
        async with self._locks[name]:
            known = self._state.texts.find(name)
            if known is None:
                known = (await self._request(plain, CONVERSATION, asked)).ids
                self._state.texts.keep(name, known)
        self._locks.pop(name, None)
        return known

    async def _request(self, plain: PlainChat, fields: Mapping[str, Any], asked: _Asked) -> Given:
        """The tokens of a prompt, from one request of a question."""
        question = asked.question
        question.plain, question.given, question.retries = plain, fields, 0
        answer, read, usage = await self._client.see_through(question)
        if read is None or usage is None or read.given is None:
            raise _Unanswered(answer)
        question.paid = question.paid.plus(self._client.reader.spending(usage.prompt_tokens, usage.reply_tokens))
        so_far = asked.usage
        asked.answer, asked.read = answer, read
        asked.usage = Usage(
            so_far.prompt_tokens + usage.prompt_tokens, so_far.reply_tokens + usage.reply_tokens,
            so_far.reasoning_tokens + usage.reasoning_tokens, so_far.is_estimated or usage.is_estimated,
        )  # fmt: skip
        return read.given
