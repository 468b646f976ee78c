"""A judge behind a server with the OpenAI chat API: questions in, replies out as they finish.

Many questions are under way at once; new ones are taken no faster than others are answered. client.py sees one
question through. Keeps nothing: the caller stores what it is given.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

from rlaif.config.judge import JudgeConfig
from rlaif.console import say
from rlaif.errors import StageError
from rlaif.models.budget import Budget
from rlaif.models.endpoint.address import find_address
from rlaif.models.endpoint.batch import BatchServer
from rlaif.models.endpoint.client import MAX_FAILURES_IN_A_ROW, EndpointClient
from rlaif.models.endpoint.http import open_session
from rlaif.models.endpoint.likelihood import LikelihoodClient
from rlaif.models.endpoint.one_model import OneModel
from rlaif.models.endpoint.prompt import to_plain_chat
from rlaif.models.endpoint.rate_limit import RateLimit
from rlaif.models.endpoint.reading import ServerDown, ServerState, Stopped
from rlaif.models.endpoint.reply import HOW_TO_ANSWER
from rlaif.models.endpoint.settings import first_settings
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, SendingLog
from rlaif.records import Model, ModelObserved

MOST_ALONE = 3
"""How many questions are asked alone, one after another, while none is answered."""
MAX_WITHOUT_VERDICT = 16
"""After so many replies, none with a verdict, the judge or its template is taken to be wrong."""


class OpenAIEngine:
    """Implements `BatchingScorer`, and with `score` also `TokenScorer`."""

    context_tokens = 2**31
    """The real limit is not known: the server refuses a prompt that is too long."""

    def __init__(self, config: JudgeConfig, *, budget: Budget, environ: Mapping[str, str] | None = None) -> None:
        """`environ`: environment variables with the address and the key."""
        self._config, self._model = config.endpoint, config.model.path
        self._address = find_address(
            base_url_env=config.endpoint.base_url_env,
            api_key_env=config.endpoint.api_key_env,
            environ=os.environ if environ is None else environ,
        )
        self.fingerprint = fingerprint_served(config)
        limit = RateLimit(
            requests_per_minute=config.endpoint.requests_per_minute,
            tokens_per_minute=config.endpoint.tokens_per_minute,
            clock=time.monotonic,
        )
        self._state = ServerState(
            first_settings(config.endpoint), limit, budget, random.Random(), OneModel(config.model.path)
        )

    @property
    def host(self) -> str:
        return self._address.host

    @property
    def num_votes(self) -> int:
        return self._config.num_votes

    @property
    def budget(self) -> Budget:
        return self._state.budget

    @property
    def uses_batches(self) -> bool:
        return self._config.batch_api

    def batch_server(self, request: ScoreRequest) -> BatchServer:
        """The server's batch endpoint; it shares budget and learnt settings with this engine."""
        return BatchServer(
            address=self._address, model=self._model, config=self._config, state=self._state, request=request
        )

    def live(self) -> OpenAIEngine:
        """This engine for questions that must be answered at once, whatever is configured."""
        other = copy.copy(self)
        other._config = self._config.model_copy(update={"batch_api": False})
        return other

    def expect_model(self, served_model: str) -> None:
        """Raise if another model than this one has answered, or answers later: its answers are in use already."""
        self._state.has_answers_in_use = True
        self._state.model.expect(served_model)

    @property
    def decoding(self) -> str:
        """The settings of a request that may change its answer."""
        names = ("temperature", "logprobs", "max_reply_tokens", "extra_body")
        return json.dumps({name: getattr(self._config, name) for name in names}, sort_keys=True)

    def count_tokens(self, chat: Chat) -> int:
        """An estimate: the tokenizer is the server's."""
        return self._state.estimate(to_plain_chat(chat))

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        """All replies, in the order of the chats."""
        replies = dict(self.stream(((str(n), chat) for n, chat in enumerate(chats)), request=request))
        return [replies[str(n)] for n in range(len(chats))]

    def stream(
        self, asked: Iterable[tuple[str, Chat]], *, request: ScoreRequest, log: SendingLog | None = None
    ) -> Generator[tuple[str, ScoredReply], None, None]:
        """Each key with its reply as it comes. Requests make progress while the caller waits for the next reply."""
        with asyncio.Runner() as runner:  # its end cancels what is still under way
            loop = runner.get_loop()
            stream = _Stream(iter(asked))
            everything = loop.create_task(self._ask_all(stream, request, log))
            everything.add_done_callback(lambda _: stream.changed.set())
            try:
                while not everything.done():
                    loop.run_until_complete(stream.changed.wait())
                    stream.changed.clear()
                    while stream.replies:
                        yield stream.replies.popleft()
            except KeyboardInterrupt:
                # The interrupt may hit a task of the transport, which then would log that it was cut short.
                loop.set_exception_handler(lambda loop, context: None)
                raise
            finally:
                _let_stop(loop, everything)
            everything.result()

    def close(self) -> None:
        """Nothing: connections are open only while questions are asked."""

    async def _ask_all(self, stream: _Stream, request: ScoreRequest, log: SendingLog | None) -> None:
        config, state = self._config, self._state
        async with open_session(self._address, concurrency=config.concurrency, timeout_s=config.timeout_s) as session:
            requests = EndpointClient(
                session, address=self._address, model=self._model, config=config, state=state, request=request, log=log
            )
            is_likelihood = request.reads == "likelihood"
            client = LikelihoodClient(requests, state=state) if is_likelihood else requests
            workers: list[asyncio.Task[None]] = []

            async def work(*, most: int | None = None) -> None:
                num_asked = 0
                while stream.stopped is None and num_asked != most:
                    following = next(stream.asked, None)
                    if following is None:
                        return
                    try:
                        reply = await client.ask(following[1], key=following[0])
                    except Stopped as stop:
                        if stop.reply is not None:
                            stream.give(following[0], stop.reply)
                        stream.stop(stop, workers)
                        return
                    stream.give(following[0], reply)
                    num_asked += 1
                    if state.failures_in_a_row >= max(MAX_FAILURES_IN_A_ROW, config.concurrency):
                        stream.stop(self._is_down(reply), workers)
                    if state.without_verdict >= MAX_WITHOUT_VERDICT:
                        stream.stop(self._gives_no_verdict(reply, request), workers)

            for _ in range(MOST_ALONE):  # an error that every request would meet is met, and paid for, once
                if not state.has_answered and stream.stopped is None:
                    await work(most=1)
            workers += [asyncio.create_task(work()) for _ in range(config.concurrency)]
            await asyncio.gather(*workers, return_exceptions=True)
            for worker in workers:
                if not worker.cancelled() and (error := worker.exception()) is not None:
                    raise error
        self._say_thrown_away()
        if stream.stopped is not None:
            raise stream.stopped.error

    def _say_thrown_away(self) -> None:
        """Say how many replies were paid for and not used, since it was last said."""
        state = self._state
        if state.thrown_away:
            why = ", ".join(f"{reason} {count}" for reason, count in state.thrown_away.most_common(3))
            num = state.thrown_away.total()
            say(f"judge: {num} replies were paid for and thrown away ({why}), {state.thrown_tokens} tokens")
            state.thrown_away.clear()
            state.thrown_tokens = 0

    def _gives_no_verdict(self, last: ScoredReply, request: ScoreRequest) -> Stopped:
        self._state.without_verdict = 0
        if request.reads == "likelihood":
            return self._reads_other_texts(last)
        fix = "choose a template that this judge follows, see `rlaif constitution show`"
        if last.failure == "truncated":
            fix = "raise judge.endpoint.max_reply_tokens: judges that think need thousands"
        detail = last.served.detail if last.served is not None else ""
        if detail:
            fix = f"{HOW_TO_ANSWER}, or {fix}"
        error = StageError(
            f"none of the judge's first {MAX_WITHOUT_VERDICT} replies holds a verdict after "
            f'"{request.marker.strip()}" ({last.failure}); the last one: {last.raw_reply[-200:]!r}'
            f"{'; ' if detail else ''}{detail}",
            where=self.host,
            fix=fix,
        )
        return Stopped(error, at_once=True)

    def _reads_other_texts(self, last: ScoredReply) -> Stopped:
        error = StageError(
            f"none of the first {MAX_WITHOUT_VERDICT} responses could be found in what the server read"
            f" ({last.served.detail if last.served is not None else ''})",
            where=self.host,
            fix="turn thinking off in judge.endpoint.extra_body, such as {chat_template_kwargs: {enable_thinking: "
            "false}}, serve the model with another chat template, or run it here with `engine: transformers`",
        )
        return Stopped(error, at_once=True)

    def _is_down(self, last: ScoredReply) -> Stopped:
        detail = last.served.detail if last.served is not None else ""
        error = ServerDown(
            f"the judge's server failed {self._state.failures_in_a_row} questions in a row ({detail})",
            where=self.host,
            fix="every answer is kept; continue with the same command and --resume once it is back",
        )
        self._state.failures_in_a_row = 0
        return Stopped(error, at_once=True)


def _let_stop(loop: asyncio.AbstractEventLoop, everything: asyncio.Task[None]) -> None:
    """Prepare the loop to be closed after an interrupt.

    subtle: Ctrl-C may come when what `run_until_complete` waited for is done, but before the loop has stopped for it.
    That stop is then still pending and would end the next run, in which the tasks are cancelled; one idle turn of the
    loop uses it up.
    """
    if everything.done():
        if not everything.cancelled():
            everything.exception()  # retrieved, or asyncio would log that it never was
        return
    loop.call_soon(loop.stop)
    loop.run_forever()


class _Stream:
    """One stream of questions: those to come, the replies not yet taken, and why it ended early."""

    def __init__(self, asked: Iterator[tuple[str, Chat]]) -> None:
        self.asked = asked
        self.replies: deque[tuple[str, ScoredReply]] = deque()
        self.changed = asyncio.Event()
        self.stopped: Stopped | None = None

    def give(self, key: str, reply: ScoredReply) -> None:
        self.replies.append((key, reply))
        self.changed.set()

    def stop(self, why: Stopped, workers: Sequence[asyncio.Task[None]]) -> None:
        """Ask nothing more; with `at_once`, do not wait for the questions under way either."""
        self.stopped = self.stopped or why
        if why.at_once:
            for worker in workers:
                if worker is not asyncio.current_task():
                    worker.cancel()


def fingerprint_served(config: JudgeConfig) -> Model:
    """The record that names a served model, by the user's name for it; each answer has the server's name."""
    path, revision = config.model.path, config.model.revision
    return Model(
        engine="openai", weights=path if revision is None else f"{path}@{revision}", observed=ModelObserved(name=path)
    )
