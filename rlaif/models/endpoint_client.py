"""One question to a chat server until it is answered or nothing more is worth trying: retries, limits, caps, account.

A question in, a reply out; what went wrong is a named failure in it, never a number. Raises `Stopped` where no further
question can be asked. Chooses no questions and keeps no replies.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic_core import to_json

from rlaif.config.judge import EndpointConfig
from rlaif.console import say
from rlaif.errors import RlaifError, StageError
from rlaif.models.budget import Budget, Spending
from rlaif.models.endpoint_http import RETRIED, Address, Answer, post
from rlaif.models.endpoint_prompt import PlainChat, to_plain_chat
from rlaif.models.endpoint_reply import BrokenReply, ReadReply, Usage, read_choice, read_usage
from rlaif.models.endpoint_settings import Settings, reply_limit, with_less
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.models.one_model import OneModel
from rlaif.models.rate_limit import RateLimit
from rlaif.records import FailureCause, Served

if TYPE_CHECKING:
    import aiohttp

MAX_FAILURES_IN_A_ROW = 32
"""After so many questions without a reply, or as many as are under way at once, the server is taken to be down."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Waits between retries double; each is drawn between its half and its whole."""
CHAT_FORM_TOKENS = 256
"""At most so many tokens does a server's chat template add to the texts."""
_TOO_LONG = ("context_length", "context length", "maximum context", "too long", "too many tokens")
_FILTERED = ("content_filter", "content filter", "content management", "safety", "moderation")
BYTES_PER_TOKEN = 4.0
"""Of English text, until the server has counted some."""


class Stopped(Exception):
    """No further question can be asked; `at_once`: nor is it worth waiting for those under way."""

    def __init__(self, error: RlaifError, *, at_once: bool, reply: ScoredReply | None = None) -> None:
        """`reply`: the failure of the question at which this was found out, where it had been sent already."""
        super().__init__(error.sentence)
        self.error, self.at_once, self.reply = error, at_once, reply


@dataclass
class ServerState:
    """What holds from one stream of questions to the next."""

    settings: Settings
    limit: RateLimit
    budget: Budget
    jitter: random.Random
    model: OneModel
    has_answered: bool = False
    has_given_logprobs: bool = False
    failures_in_a_row: int = 0
    has_read_verdict: bool = False
    without_verdict: int = 0
    """Replies in which none was found, before the first in which one was."""
    counted_bytes: int = 0
    counted_tokens: int = 0

    def estimate(self, plain: PlainChat) -> int:
        """Tokens of a prompt, by those that the server has counted so far."""
        per_token = self.counted_bytes / self.counted_tokens if self.counted_tokens else BYTES_PER_TOKEN
        return max(1, round(plain.num_bytes / per_token))


@dataclass
class _Question:
    """What was tried for one question so far."""

    plain: PlainChat
    reply_limit: int
    settings: Settings
    first_sent: float | None = None
    sent: float = 0.0
    calls: int = 0
    retries: int = 0
    lost: Spending = field(default_factory=Spending)

    def seconds(self) -> float:
        """Since it was first sent."""
        return 0.0 if self.first_sent is None else time.monotonic() - self.first_sent


class EndpointClient:
    """Bound to one running loop and its connections."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        address: Address,
        model: str,
        config: EndpointConfig,
        state: ServerState,
        request: ScoreRequest,
    ) -> None:
        self._session, self._address, self._model = session, address, model
        self._config, self._state, self._request = config, state, request
        self._reply_limit = reply_limit(config, request.max_reason_tokens)
        self._settled = asyncio.Event()

    async def ask(self, chat: Chat) -> ScoredReply:
        """The judge's reply, or the failure that stands for it."""
        question = _Question(to_plain_chat(chat), self._reply_limit, self._state.settings)
        while True:
            question.settings = self._state.settings
            answer, reply = await self._send(question)
            if reply is not None:
                return reply
            if self._learn(answer, question.settings):
                continue
            self._stop_where_hopeless(answer)
            wait = self._next_wait(question, answer)
            if wait is None:
                return self._give_up(question, answer)
            await asyncio.sleep(wait)

    async def _send(self, question: _Question) -> tuple[Answer, ScoredReply | None]:
        """One request within caps and limits: what came back, and the reply where it can be used."""
        state = self._state
        bound = self._spending(question.plain.num_bytes + CHAT_FORM_TOKENS, question.reply_limit)
        while not state.budget.reserve(bound):
            if not state.budget.is_waited_for:
                error = state.budget.refusal(bound)
                sent = self._give_up(question, Answer(0, said=error.what)) if question.calls else None
                raise Stopped(error, at_once=False, reply=sent)
            await self._settled.wait()
        expected = state.estimate(question.plain) + question.reply_limit
        used = bound  # until it is known that less was charged
        try:
            await state.limit.take(tokens=expected)
            answer, read, usage = self._read(await self._post(question), question)
            if answer.status not in (0, 200) or answer.unreachable:
                used = Spending(calls=1)
            elif usage is not None:
                used = self._spending(usage.prompt_tokens, usage.reply_tokens)
        finally:
            state.budget.settle(bound, used=used)
            state.limit.give_back(tokens=expected - used.tokens)
            self._settled.set()
            self._settled = asyncio.Event()
        if read is None or usage is None:
            question.lost = question.lost.plus(used)
            return answer, None
        return answer, self._reply(question, answer, read, usage)

    async def _post(self, question: _Question) -> Answer:
        question.sent = time.monotonic()
        if question.first_sent is None:
            question.first_sent = question.sent
        question.calls += 1
        body = question.settings.body(
            model=self._model, max_tokens=question.reply_limit, extra=self._config.extra_body
        )  # fmt: skip
        left = self._config.deadline_s - question.seconds()
        return await post(
            self._session, self._address, to_json({**body, "messages": question.plain.messages}),
            timeout_s=max(0.01, min(self._config.timeout_s, left)),
        )  # fmt: skip

    def _read(self, answer: Answer, question: _Question) -> tuple[Answer, ReadReply | None, Usage | None]:
        """What a whole reply says; one that is worth asking for again says why not."""
        if answer.status != 200 or answer.body is None:
            return answer, None, None
        usage = read_usage(answer.body) if isinstance(answer.body, dict) else None
        try:
            read = read_choice(answer.body, request=self._request)
        except BrokenReply as error:
            return answer._replace(said=self._address.hide(str(error))), None, usage
        state = self._state
        try:
            strange = state.model.check(_served_model(answer))
        except StageError as error:
            raise Stopped(error, at_once=True) from None
        if strange:
            return answer._replace(said=strange), None, usage
        if read.logprobs:
            state.has_given_logprobs = True
        elif (
            read.failure is None
            and question.settings.top_logprobs
            and (self._config.logprobs == "yes" or state.has_given_logprobs)
        ):
            return answer._replace(said="the reply has no log-probabilities at its verdict"), None, usage
        state.has_answered, state.failures_in_a_row = True, 0
        state.has_read_verdict = state.has_read_verdict or read.verdict is not None
        state.without_verdict += not state.has_read_verdict
        if usage is None:
            reply_bytes = len(read.raw_reply.encode("utf-8", "replace"))
            usage = Usage(state.estimate(question.plain), max(1, round(reply_bytes / BYTES_PER_TOKEN)), 0, True)
        else:
            state.counted_bytes += question.plain.num_bytes
            state.counted_tokens += usage.prompt_tokens
        return answer, read, usage

    def _reply(self, question: _Question, answer: Answer, read: ReadReply, usage: Usage) -> ScoredReply:
        had: Literal["nothing", "verdict", "logprobs"] = "nothing"
        if read.failure is None:
            had = "logprobs" if read.logprobs else "verdict"
        return ScoredReply(
            read.raw_reply, read.reason, tuple(-math.inf if x is None else x for x in read.logprobs),
            usage.prompt_tokens, usage.reply_tokens, read.failure, verdict=read.verdict,
            unknown=frozenset(place for place, x in enumerate(read.logprobs) if x is None),
            seconds=question.seconds(), served_model=_served_model(answer),
            served=self._served(question, answer, usage, had=had),
        )  # fmt: skip

    def _give_up(self, question: _Question, answer: Answer) -> ScoredReply:
        cause = _cause(answer)
        self._state.failures_in_a_row += cause == "endpoint"
        return ScoredReply(
            "", None, (), 0, 0, cause, seconds=question.seconds(), served_model=_served_model(answer),
            served=self._served(question, answer, Usage(0, 0, 0, False), had="nothing"),
        )  # fmt: skip

    def _served(
        self, question: _Question, answer: Answer, usage: Usage, *, had: Literal["nothing", "verdict", "logprobs"]
    ) -> Served:
        spent = self._spending(usage.prompt_tokens, usage.reply_tokens).plus(question.lost)
        return Served(
            host=self._address.host, request_id=answer.request_id, calls=question.calls,
            lost_tokens=question.lost.tokens, cost=spent.cost if self._config.has_prices else None,
            reasoning_tokens=usage.reasoning_tokens, tokens_estimated=usage.is_estimated, had=had,
            temperature=question.settings.temperature, neutralised=question.plain.neutralised,
            detail=answer.said[:500],
        )  # fmt: skip

    def _learn(self, answer: Answer, sent: Settings) -> bool:
        """Whether the server refused a setting that can be left out; later requests do without it."""
        if answer.status not in (400, 422):
            return False
        less = with_less(sent, answer.said, needs_logprobs=self._config.logprobs == "yes")
        if less is not None and self._state.settings == sent:
            say(f"judge: the server refuses {sent.difference(less)}, so it is asked without ({answer.said[:200]})")
            self._state.settings = less
        return less is not None

    def _stop_where_hopeless(self, answer: Answer) -> None:
        config, host = self._config, self._address.host
        if answer.status == 401:
            what, fix = "the judge's server refused the key", f"set {config.api_key_env} to a key that it takes"
        elif self._state.has_answered:
            return
        elif answer.unreachable:
            what, fix = "the judge's server cannot be reached", f"start it, or mend {config.base_url_env}"
        elif answer.status == 404:
            what = f'the judge\'s server has no model "{self._model}", or no chat API at this address'
            fix = f"mend judge.model.path or {config.base_url_env}, which usually ends in /v1"
        elif answer.status == 403 or 300 <= answer.status < 400:
            what, fix = "the judge's server does not serve us", f"check {config.base_url_env} and {config.api_key_env}"
        else:
            return
        raise Stopped(StageError(f"{what} ({answer.said[:300]})", where=host, fix=fix), at_once=True)

    def _next_wait(self, question: _Question, answer: Answer) -> float | None:
        """How long until the next try; None where there is none."""
        may_pass = answer.status in RETRIED or answer.status in (0, 200)
        if not may_pass or question.retries >= self._config.max_retries:
            return None
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**question.retries) * self._state.jitter.uniform(0.5, 1)
        if answer.retry_after_s is not None:
            wait = answer.retry_after_s
            if question.seconds() + wait < self._config.deadline_s:
                self._state.limit.pause(wait)
        question.retries += 1
        return wait if question.seconds() + wait < self._config.deadline_s else None

    def _spending(self, prompt_tokens: int, reply_tokens: int) -> Spending:
        config = self._config
        cost = (prompt_tokens * (config.prompt_price or 0.0) + reply_tokens * (config.reply_price or 0.0)) / 1e6
        return Spending(1, prompt_tokens + reply_tokens, cost)


def _served_model(answer: Answer) -> str:
    model = answer.body.get("model") if isinstance(answer.body, dict) else None
    return model[:300] if isinstance(model, str) else ""


def _cause(answer: Answer) -> FailureCause:
    """What a refusal means, where the server's words say it."""
    said = answer.said.lower()
    if answer.status in (400, 413, 422):
        if any(words in said for words in _TOO_LONG):
            return "over_length"
        if any(words in said for words in _FILTERED):
            return "filtered"
    return "endpoint"
