"""One question to a chat server until it is answered or nothing more is worth trying: retries, limits, caps, costs.

Takes a question and returns a reply; what went wrong is a named failure in the reply, never a number. Raises `Stopped`
where no further question can be asked. Chooses no questions and keeps no replies.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pydantic_core import to_json

from rlaif.config.judge import EndpointConfig
from rlaif.console import say
from rlaif.models.budget import NOTHING, Spending
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.given_text import is_refused, make_not_given_error
from rlaif.models.endpoint.guards import SHOWN_WAIT_S, RetryLine, format_wait, most_reply_bytes
from rlaif.models.endpoint.hopeless import stop_where_hopeless
from rlaif.models.endpoint.http import Answer, describe_fault, post
from rlaif.models.endpoint.prompt import PlainChat, arrange, to_plain_chat
from rlaif.models.endpoint.reading import (
    ReplyReader,
    SentQuestion,
    ServerState,
    Stopped,
    find_cause,
    may_pass,
    most_prompt_tokens,
)
from rlaif.models.endpoint.reply import ReadReply, Usage
from rlaif.models.endpoint.settings import reply_limit
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, SendingLog

if TYPE_CHECKING:
    import aiohttp

MAX_FAILURES_IN_A_ROW = 32
"""The server is taken to be down after so many questions without a reply; more, where more are under way at once."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Waits between retries double; each is drawn from its upper half, so that clients do not retry in step."""

MAX_UNREACHED = 3
"""A server that never answered and cannot be reached is tried again so often: it may be starting, or not be there."""


class EndpointClient:
    """Asks questions one by one, over the connections of one event loop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        address: Address,
        model: str,
        config: EndpointConfig,
        state: ServerState,
        request: ScoreRequest,
        log: SendingLog | None = None,
    ) -> None:
        """`log`: where each request is noted down before it is sent."""
        self._log = log
        self._session, self._address, self._model = session, address, model
        self._config, self._state = config, state
        self.reader = ReplyReader(address=address, config=config, state=state, request=request)
        self._reply_limit = 1 if request.reads == "likelihood" else reply_limit(config, request.max_reason_tokens)
        self._settled = asyncio.Event()
        self._retry = RetryLine()

    async def ask(self, chat: Chat, *, key: str) -> ScoredReply:
        """The judge's reply, or a failure in its place; `key` names the question in the log."""
        question = self.begin(to_plain_chat(chat), key=key)
        answer, read, usage = await self.see_through(question)
        if read is None or usage is None:
            return self.reader.give_up(question, answer)
        return self.reader.reply(question, answer, read, usage)

    def begin(self, plain: PlainChat, *, key: str) -> SentQuestion:
        """A question that is not sent yet."""
        return SentQuestion(plain, self._reply_limit, self._state.settings, key=key)

    async def see_through(self, question: SentQuestion) -> tuple[Answer, ReadReply | None, Usage | None]:
        """The answer to a request, sent until it can be used or nothing more is worth trying; what is read from it."""
        while True:
            question.settings = self._state.settings
            answer, read, usage = await self._send(question)
            if read is not None:
                return answer, read, usage
            self._stop_without_likelihoods(answer, question)
            if self.reader.learn(answer, question):
                continue
            stop_where_hopeless(
                answer, state=self._state, config=self._config, host=self._address.host, model=self._model,
                tries=0 if self._may_look_again(question) else question.retries + 1,
            )  # fmt: skip
            wait = self._next_wait(question, answer)
            if wait is None:
                return answer, None, None
            self._retry.say(f"judge: {self._address.host}", why=describe_fault(answer), wait=wait)
            await asyncio.sleep(wait)

    def _stop_without_likelihoods(self, answer: Answer, question: SentQuestion) -> None:
        """Raise `Stopped` where the server refuses to give log-probabilities of a text."""
        if question.given is None or self._state.has_given_texts or answer.status in (0, 200) or may_pass(answer):
            return
        if find_cause(answer) == "endpoint" and is_refused(answer.words):
            raise Stopped(make_not_given_error(answer.said[:300], host=self._address.host), at_once=True)

    def _may_look_again(self, question: SentQuestion) -> bool:
        """Whether a server that never answered is looked for once more."""
        longest = FIRST_WAIT_S * 2**question.retries
        in_time = question.seconds() + longest < self._config.deadline_s
        return in_time and question.retries < min(MAX_UNREACHED, self._config.max_retries)

    async def _send(self, question: SentQuestion) -> tuple[Answer, ReadReply | None, Usage | None]:
        """One request within caps and limits: what came back, and what is read from it where it can be used."""
        state = self._state
        bound = self.reader.bound(question.plain, question.reply_limit)
        while not state.budget.reserve(bound):
            if not state.budget.is_waited_for:
                error = state.budget.refusal(bound)
                sent = self.reader.give_up(question, Answer(0, said=error.what)) if question.calls else None
                raise Stopped(error, at_once=False, reply=sent)
            await self._settled.wait()
        expected = state.estimate(question.plain) + question.reply_limit
        used, taken = NOTHING, 0  # until it is sent
        try:
            await state.limit.take(tokens=expected)
            taken = expected
            if self._log is not None:
                self._log.write(question.key, bound)
            used = bound  # until it is known that less was charged
            answer, read, usage = self.reader.read(await self._post(question), question)
            if answer.unreachable:
                used = NOTHING
                self._take_back(question)
            elif usage is not None:
                used = self.reader.spending(usage.prompt_tokens, usage.reply_tokens)
            elif answer.status not in (0, 200):
                used = Spending(calls=1)
        finally:
            state.budget.settle(bound, used=used)
            state.limit.give_back(tokens=taken - used.tokens)
            self._settled.set()
            self._settled = asyncio.Event()
        if read is None or usage is None:
            question.lost = question.lost.plus(used)
            if usage is not None:
                state.thrown_away[answer.said.partition(":")[0]] += 1
                state.thrown_tokens += used.tokens
            return answer, None, None
        return answer, read, usage

    def _take_back(self, question: SentQuestion) -> None:
        """Uncount a request that reached no server."""
        question.calls -= 1
        if self._log is not None:
            self._log.take_back(question.key)

    async def _post(self, question: SentQuestion) -> Answer:
        question.sent = time.monotonic()
        if question.first_sent is None:
            question.first_sent = question.sent
        question.calls += 1
        body = question.settings.body(
            model=self._model, max_tokens=question.reply_limit, extra=self._config.extra_body, given=question.given
        )  # fmt: skip
        messages = arrange(question.plain.messages, question.settings.chat_form)
        left = self._config.deadline_s - question.seconds()
        return await post(
            self._session, self._address, to_json({**body, "messages": messages}),
            timeout_s=max(0.01, min(self._config.timeout_s, left)),
            most_bytes=most_reply_bytes(
                question.reply_limit, given_tokens=0 if question.given is None else most_prompt_tokens(question.plain)
            ),
        )  # fmt: skip

    def _next_wait(self, question: SentQuestion, answer: Answer) -> float | None:
        """Seconds until the next try; None where trying again is not allowed or would not help."""
        if not may_pass(answer) or find_cause(answer) != "endpoint" or question.retries >= self._config.max_retries:
            return None
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**question.retries) * self._state.jitter.uniform(0.5, 1)
        if answer.retry_after_s is not None:
            wait = answer.retry_after_s
            if question.seconds() + wait < self._config.deadline_s:
                self._pause_all(wait)
        question.retries += 1
        return wait if question.seconds() + wait < self._config.deadline_s else None

    def _pause_all(self, seconds: float) -> None:
        """Send nothing for so long, because the server said so; a long pause is shown once."""
        if self._state.limit.pause(seconds) and seconds >= SHOWN_WAIT_S:
            say(f"judge: {self._address.host} asks to wait {format_wait(seconds)}")
