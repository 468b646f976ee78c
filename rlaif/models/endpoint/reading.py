"""A chat server's answer to a question -> a reply with its cost, or the reason why it cannot be used.

Reads live answers and answers from batches alike, and learns which settings a server refuses. Sends nothing and waits
for nothing.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlaif.config.judge import EndpointConfig
from rlaif.console import say
from rlaif.errors import RlaifError, StageError
from rlaif.models.budget import NOTHING, Budget, Spending
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.given_text import KnownTexts, NotGiven, make_not_given_error, read_given
from rlaif.models.endpoint.guards import BrokenReply, most_reply_chars
from rlaif.models.endpoint.http import RETRIED, Answer
from rlaif.models.endpoint.one_model import OneModel
from rlaif.models.endpoint.prompt import PlainChat, arrange
from rlaif.models.endpoint.rate_limit import RateLimit
from rlaif.models.endpoint.refusal import (
    find_error,
    find_inner_status,
    find_words,
    is_filtered,
    is_too_long,
    show_words,
    without_echo,
)
from rlaif.models.endpoint.reply import ReadReply, Usage, read_choice, read_usage
from rlaif.models.endpoint.settings import Settings, with_less
from rlaif.models.interface import ScoredReply, ScoreRequest
from rlaif.records import FailureCause, Served

NO_LOGPROBS = "the reply has no log-probabilities at its verdict"
BYTES_PER_TOKEN = 4.0
"""Bytes per token of English text; used until the server has counted some prompts."""
CHAT_FORM_TOKENS = 256
"""The most tokens that a server's chat template may add to the texts."""


class ServerDown(StageError):
    """The judge's server failed so many questions in a row that it is taken to be down."""


class Stopped(Exception):
    """No further question can be asked; with `at_once` it is not worth waiting for those under way either."""

    def __init__(self, error: RlaifError, *, at_once: bool, reply: ScoredReply | None = None) -> None:
        """`reply`: the failure of the question that showed it, if that question was sent."""
        super().__init__(error.sentence)
        self.error, self.at_once, self.reply = error, at_once, reply


@dataclass
class ServerState:
    """What is known of a server, kept from one stream of questions to the next."""

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
    """Replies without a verdict, before the first reply with one."""
    counted_bytes: int = 0
    counted_tokens: int = 0
    has_answers_in_use: bool = False
    """Whether answers of this server were in use before any question was sent."""
    refused_first: int = 0
    """Questions that were refused before any was answered."""
    thrown_away: Counter[str] = field(default_factory=Counter)
    """Replies that were paid for and cannot be used, by what is wrong with them."""
    thrown_tokens: int = 0
    has_given_texts: bool = False
    """Whether log-probabilities of a given text came."""
    texts: KnownTexts = field(default_factory=KnownTexts)

    def count_verdict(self, is_read: bool) -> None:
        """Count a reply, and whether a verdict or likelihoods could be read from it."""
        self.has_read_verdict = self.has_read_verdict or is_read
        self.without_verdict += not self.has_read_verdict

    def estimate(self, plain: PlainChat) -> int:
        """Estimated tokens of a prompt, from the counts that the server has given so far."""
        per_token = self.counted_bytes / self.counted_tokens if self.counted_tokens else BYTES_PER_TOKEN
        return max(1, round(plain.num_bytes / per_token))


@dataclass
class SentQuestion:
    """One question, and what was tried for it so far."""

    plain: PlainChat
    reply_limit: int
    settings: Settings
    first_sent: float | None = None
    sent: float = 0.0
    calls: int = 0
    """Requests that reached a server, or may have reached it."""
    retries: int = 0
    lost: Spending = field(default_factory=Spending)
    key: str = ""
    """The question's name in the log of requests."""
    given: Mapping[str, Any] | None = None
    """Fields that ask for log-probabilities of the prompt; None where the reply's are asked for."""
    paid: Spending = field(default_factory=Spending)
    """Cost of requests whose answers are a part of the reply, before the last one."""

    def seconds(self) -> float:
        """Seconds since the question was first sent."""
        return 0.0 if self.first_sent is None else time.monotonic() - self.first_sent


class ReplyReader:
    """Reads what comes back from one server."""

    def __init__(self, *, address: Address, config: EndpointConfig, state: ServerState, request: ScoreRequest) -> None:
        self._address, self._config, self._state, self._request = address, config, state, request

    def read(self, answer: Answer, question: SentQuestion) -> tuple[Answer, ReadReply | None, Usage | None]:
        """The answer, with what is read from it: a reply and its token counts. Without them the answer says why."""
        if answer.is_too_large:
            return self._read_too_large(answer, question)
        if answer.status != 200 or answer.body is None:
            return _with_own_words(answer, question), None, None
        usage = read_usage(answer.body) if isinstance(answer.body, dict) else None
        if (said := find_error(answer.body)) is not None:
            return _with_own_words(self._with_error(answer, said), question), None, usage
        try:
            read = self._read_body(answer.body)
        except BrokenReply as broken:
            return answer._replace(said=self._address.hide(str(broken))[:500]), None, usage
        if len(read.raw_reply) > (most := most_reply_chars(question.reply_limit)):
            said = f"the reply has {len(read.raw_reply)} characters, and {question.reply_limit} tokens were asked for"
            read = ReadReply(read.raw_reply[:most], failure="unparsable", said=said)
        state = self._state
        try:
            strange = state.model.check(self._served_model(answer))
            if warning := state.model.take_warning():
                say(f"judge: {warning}")
        except StageError as error:
            raise Stopped(error, at_once=True) from None
        if strange:
            return answer._replace(said=strange), None, usage
        if read.logprobs or read.failure == "impossible_logprobs":
            state.has_given_logprobs = True
        elif (
            read.failure is None
            and question.settings.top_logprobs
            and (self._config.logprobs == "yes" or state.has_given_logprobs)
        ):
            return answer._replace(said=NO_LOGPROBS), None, usage
        state.has_answered, state.failures_in_a_row = True, 0
        if read.given is None:
            state.count_verdict(read.verdict is not None)
        if usage is None:
            reply_bytes = len(read.raw_reply.encode("utf-8", "replace"))
            usage = Usage(state.estimate(question.plain), max(1, round(reply_bytes / BYTES_PER_TOKEN)), 0, True)
        else:
            state.counted_bytes += question.plain.num_bytes
            state.counted_tokens += usage.prompt_tokens
        return answer, read, usage

    def _read_body(self, body: Any) -> ReadReply:
        """What was asked for in a body; raises `Stopped` where the server gives no log-probabilities of a prompt."""
        if self._request.reads == "verdict":
            return read_choice(body, request=self._request)
        try:
            given = read_given(body)
        except NotGiven as error:
            if self._state.has_given_texts:
                raise BrokenReply(str(error)) from error
            raise Stopped(make_not_given_error(str(error), host=self._address.host), at_once=True) from error
        self._state.has_given_texts = True
        return ReadReply("", given=given)

    def _read_too_large(self, answer: Answer, question: SentQuestion) -> tuple[Answer, ReadReply, Usage]:
        """A reply that was not read to its end: the server was asked for far less, and may charge for all of it."""
        state = self._state
        state.has_answered, state.failures_in_a_row = True, 0
        state.count_verdict(False)
        usage = Usage(state.estimate(question.plain), question.reply_limit, 0, True)
        return answer, ReadReply("", failure="unparsable", said=answer.said), usage

    def _with_error(self, answer: Answer, error: Any) -> Answer:
        """The answer, with the error that came inside it in place of its status."""
        status = find_inner_status(error) or answer.status
        shown = self._address.hide(show_words(error))[:500]
        said = f"HTTP {status} {shown}" if status != answer.status else f"the reply is an error: {shown}"
        return answer._replace(status=status, said=said, words=find_words(error))

    def reply(self, question: SentQuestion, answer: Answer, read: ReadReply, usage: Usage) -> ScoredReply:
        had: Literal["nothing", "verdict", "logprobs"] = "nothing"
        if read.failure is None:
            had = "logprobs" if read.logprobs or read.given is not None else "verdict"
        strike, said = self._address.strike, answer.said or self._address.hide(read.said)
        return ScoredReply(
            strike(read.raw_reply), None if read.reason is None else strike(read.reason),
            tuple(-math.inf if x is None else x for x in read.logprobs),
            prompt_tokens=usage.prompt_tokens, reply_tokens=usage.reply_tokens, failure=read.failure,
            verdict=read.verdict,
            unknown=frozenset(place for place, x in enumerate(read.logprobs) if x is None),
            seconds=question.seconds(), served_model=self._served_model(answer),
            served=self._served(question, answer._replace(said=said), usage, had=had), at_most=read.at_most,
        )  # fmt: skip

    def give_up(self, question: SentQuestion, answer: Answer) -> ScoredReply:
        cause = find_cause(answer)
        self._state.failures_in_a_row += cause == "endpoint"
        question.lost, question.paid = question.lost.plus(question.paid), NOTHING
        return ScoredReply(
            "", None, (), prompt_tokens=0, reply_tokens=0, failure=cause, seconds=question.seconds(),
            served_model=self._served_model(answer),
            served=self._served(question, answer, Usage(0, 0, 0, False), had="nothing"),
        )  # fmt: skip

    def _served(
        self, question: SentQuestion, answer: Answer, usage: Usage, *, had: Literal["nothing", "verdict", "logprobs"]
    ) -> Served:
        spent = self.spending(usage.prompt_tokens, usage.reply_tokens).plus(question.lost)
        return Served(
            host=self._address.host, request_id=answer.request_id, calls=question.calls,
            lost_tokens=question.lost.tokens, cost=spent.cost if self._config.has_prices else None,
            reasoning_tokens=usage.reasoning_tokens, tokens_estimated=usage.is_estimated, had=had,
            temperature=question.settings.temperature, neutralised=question.plain.neutralised,
            detail=answer.said[:500],
        )  # fmt: skip

    def _served_model(self, answer: Answer) -> str:
        model = answer.body.get("model") if isinstance(answer.body, dict) else None
        return self._address.strike(model)[:300] if isinstance(model, str) else ""

    def learn(self, answer: Answer, question: SentQuestion) -> bool:
        """Whether the server refused a setting that can be left out; if so, later requests leave it out."""
        sent, messages = question.settings, arrange(question.plain.messages, question.settings.chat_form)
        if not answer.words or find_cause(answer) != "endpoint":
            return False
        less = with_less(
            sent, answer.words, may_pass=may_pass(answer), roles=[message["role"] for message in messages],
            needs_logprobs=self._config.logprobs == "yes" or self._state.has_given_logprobs,
        )  # fmt: skip
        if less is not None and self._state.settings == sent:
            say(f"judge: the server refuses {sent.describe_change(less)} ({answer.said[:200]})")
            self._state.settings = less
        return less is not None

    def bound(self, plain: PlainChat, reply_limit: int) -> Spending:
        """What a request can cost at most."""
        return self.spending(most_prompt_tokens(plain), reply_limit)

    def spending(self, prompt_tokens: int, reply_tokens: int) -> Spending:
        config = self._config
        cost = (prompt_tokens * (config.prompt_price or 0.0) + reply_tokens * (config.reply_price or 0.0)) / 1e6
        return Spending(1, prompt_tokens + reply_tokens, cost)


def most_prompt_tokens(plain: PlainChat) -> int:
    """The most tokens that a server can make of a prompt."""
    return plain.num_bytes + CHAT_FORM_TOKENS


def _with_own_words(answer: Answer, question: SentQuestion) -> Answer:
    contents = [message["content"] for message in question.plain.messages]
    return answer._replace(words=without_echo(answer.words, contents)) if answer.words else answer


def may_pass(answer: Answer) -> bool:
    """Whether the same request may succeed later, as far as the status says."""
    return answer.status in RETRIED or answer.status in (0, 200)


def find_cause(answer: Answer) -> FailureCause:
    """The cause that the server's words give for a refusal."""
    if answer.words and is_too_long(answer.words, may_pass=may_pass(answer)):
        return "over_length"
    if answer.words and is_filtered(answer.words, may_pass=may_pass(answer)):
        return "filtered"
    return "endpoint"
