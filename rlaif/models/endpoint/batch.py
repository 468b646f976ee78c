"""A server's batch endpoint: files of requests go up, and hours later files of answers come down, for less money.

Talks with the server and reads its words, as client.py does for one request; remembers nothing between calls.
Does not choose the questions and keeps no account of what was sent: judging/batch_api.py does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlencode

from pydantic_core import to_json

from rlaif.config.judge import EndpointConfig
from rlaif.errors import StageError
from rlaif.models.budget import Spending
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.batch_reply import BatchLine, BatchState, read_batch, read_id, read_line
from rlaif.models.endpoint.client import FIRST_WAIT_S, LONGEST_WAIT_S
from rlaif.models.endpoint.guards import MAX_BODY_BYTES, RetryLine, find_id_fault, most_reply_bytes, pause, quote_id
from rlaif.models.endpoint.hopeless import find_unpaid
from rlaif.models.endpoint.http import RETRIED, Answer, describe_fault, exchange, open_session
from rlaif.models.endpoint.prompt import PlainChat, arrange
from rlaif.models.endpoint.reading import ReplyReader, SentQuestion, ServerState, find_cause
from rlaif.models.endpoint.refusal import is_unpaid
from rlaif.models.endpoint.settings import Settings, reply_limit
from rlaif.models.interface import ScoredReply, ScoreRequest, StreamingScorer

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
MAX_REQUESTS, MAX_FILE_BYTES = 50_000, 200_000_000
"""What one batch may hold."""
CHAT_PATH = "/v1/chat/completions"
MAX_PAGES = 10
"""How many pages of the server's list of batches are searched; the newest batches come first."""


class UnknownBatch(StageError):
    """It cannot be found out whether a file was submitted."""

    def __init__(self, host: str, file_id: str) -> None:
        super().__init__(
            f"it is not known whether the server works on {file_id} already: the attempt to submit it was cut off, and "
            "the server lists no batches",
            where=host,
            fix="look for that file there; --resume submits its questions once more",
        )


class BatchServer:
    """Implements what judging/batch_api.py asks of a server; each call opens its own connections."""

    def __init__(
        self, *, address: Address, model: str, config: EndpointConfig, state: ServerState, request: ScoreRequest
    ) -> None:
        """`config`: with the prices of a request that is answered at once."""
        self._address, self._model, self._request, self.state = address, model, request, state
        share = 1 - config.batch_discount
        prices = {
            name: None if (price := getattr(config, name)) is None else price * share
            for name in ("prompt_price", "reply_price")
        }
        self._config = config.model_copy(update=prices)
        self._reader = ReplyReader(address=address, config=self._config, state=state, request=request)
        self._reply_limit = reply_limit(config, request.max_reason_tokens)
        self._base = address.url.removesuffix("/chat/completions")
        self._most_line_bytes = most_reply_bytes(self._reply_limit)
        self.unpaid: StageError | None = None
        """Set once the server refused a question for want of money or quota."""

    @property
    def host(self) -> str:
        return self._address.host

    def line(self, key: str, plain: PlainChat) -> bytes:
        """A request as a line of a batch file."""
        body = self.state.settings.body(
            model=self._model, max_tokens=self._reply_limit, extra=self._config.extra_body
        )  # fmt: skip
        body = {**body, "messages": arrange(plain.messages, self.state.settings.chat_form)}
        return to_json({"custom_id": key, "method": "POST", "url": CHAT_PATH, "body": body}) + b"\n"

    def bound(self, plain: PlainChat) -> Spending:
        """What a request can cost at most."""
        return self._reader.bound(plain, self._reply_limit)

    def read(self, answer: Answer, *, plain: PlainChat, settings: Settings) -> ScoredReply | None:
        """The reply in an answer, or a failure in its place.

        None where the server refused a setting that the next request will leave out, or where the account is empty:
        then `unpaid` is set.
        """
        sent = SentQuestion(plain, self._reply_limit, settings, calls=1)
        answer, read, usage = self._reader.read(answer, sent)
        if read is not None and usage is not None:
            return self._reader.reply(sent, answer, read, usage)
        if usage is not None:
            sent.lost = self._reader.spending(usage.prompt_tokens, usage.reply_tokens)
        if (unpaid := find_unpaid(answer, host=self.host)) is not None:
            self.unpaid = unpaid
            return None
        # An earlier line of the same batch has shown the server refuses a setting: this one is sent again without it.
        if settings != self.state.settings and answer.words and find_cause(answer) == "endpoint":
            return None
        return None if self._reader.learn(answer, sent) else self._reader.give_up(sent, answer)

    def upload(self, path: Path) -> str:
        """Bring a file to the server; returns its id there."""
        import aiohttp

        async def send(session: aiohttp.ClientSession) -> Answer:
            with path.open("rb") as file:
                form = aiohttp.FormData()
                form.add_field("purpose", "batch")
                form.add_field("file", file, filename=path.name, content_type="application/jsonl")
                data = form()
                headers = {"Content-Type": data.content_type}
                return await exchange(
                    session, self._at("files"), method="POST", data=data, headers=headers, timeout=self._patience()
                )

        return read_id(self._run(lambda session: self._retried(lambda: send(session))), address=self._address)

    def create(self, file_id: str, *, label: str, may_exist: bool) -> BatchState:
        """Submit an uploaded file as a batch. A batch of this file that exists already is taken instead.

        `may_exist`: an earlier attempt may have reached the server. `UnknownBatch` where that cannot be found out.
        """
        body = {
            "input_file_id": file_id, "endpoint": CHAT_PATH, "completion_window": "24h",
            "metadata": {"rlaif": label},
        }  # fmt: skip
        unsure = may_exist

        async def send(session: aiohttp.ClientSession) -> Answer:
            nonlocal unsure
            if unsure and (found := await self._find(session, file_id)) is not None:
                return found
            unsure = True  # until the server has answered
            answer = await exchange(
                session, self._at("batches"), method="POST", data=to_json(body), timeout=self._patience()
            )
            unsure = answer.status in (0, *RETRIED) and answer.status != 429 and not answer.unreachable
            return answer

        return self._read_batch(self._run(lambda session: self._retried(lambda: send(session))))

    def look(self, batch_id: str) -> BatchState:
        """How far a batch is."""

        async def send(session: aiohttp.ClientSession) -> Answer:
            where = self._at(f"batches/{quote_id(batch_id)}")
            return await exchange(session, where, method="GET", timeout=self._patience())

        return self._read_batch(self._run(lambda session: self._retried(lambda: send(session))))

    def download(self, file_id: str, path: Path, *, num_questions: int) -> None:
        """Fetch a file of answers to so many questions. A file that is larger than such answers is refused."""
        if fault := find_id_fault(file_id):
            raise self._refused(Answer(200, said=f"the id of its file of answers {fault}"))
        most_bytes = MAX_BODY_BYTES // 16 + num_questions * self._most_line_bytes

        async def send(session: aiohttp.ClientSession) -> Answer:
            where = self._at(f"files/{quote_id(file_id)}/content")
            return await exchange(
                session, where, method="GET", timeout=self._patience(), into=path, most_bytes=most_bytes
            )

        try:
            self._run(lambda session: self._retried(lambda: send(session)))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def lines(self, path: Path) -> Iterator[BatchLine | None]:
        """The answers in a file, in the order in which the server wrote them; None for a line that is no answer, or
        longer than one."""
        most = self._most_line_bytes
        with path.open("rb") as file:
            is_too_long = False
            while line := file.readline(most):
                is_whole = len(line) < most or line.endswith(b"\n")
                if is_too_long or not is_whole:
                    if is_whole:
                        yield None
                    is_too_long = not is_whole
                elif line.strip():
                    yield read_line(line, address=self._address)
            if is_too_long:
                yield None

    async def _find(self, session: aiohttp.ClientSession, file_id: str) -> Answer | None:
        """The batch that works on a file; None where the server knows of none."""
        query = {"limit": "100"}
        for _ in range(MAX_PAGES):
            where = self._at(f"batches?{urlencode(query)}")
            answer = await exchange(session, where, method="GET", timeout=self._patience())
            listed = answer.body.get("data") if isinstance(answer.body, dict) else None
            if answer.status in (0, *RETRIED):
                return answer
            if answer.status != 200 or not isinstance(listed, list):
                raise UnknownBatch(self.host, file_id)
            for batch in listed:
                if isinstance(batch, dict) and batch.get("input_file_id") == file_id:
                    return answer._replace(body=batch)
            last = listed[-1].get("id") if listed and isinstance(listed[-1], dict) else None
            if not answer.body.get("has_more") or not isinstance(last, str):
                return None
            query["after"] = last
        return None

    def _run(self, talk: Callable[[aiohttp.ClientSession], Awaitable[T]]) -> T:
        async def run() -> T:
            async with open_session(self._address, concurrency=4, timeout_s=self._config.timeout_s) as session:
                return await talk(session)

        return asyncio.run(run())

    def _at(self, path: str) -> Address:
        return self._address._replace(url=f"{self._base}/{path}")

    def _read_batch(self, answer: Answer) -> BatchState:
        return read_batch(answer.body, address=self._address)

    def _patience(self) -> aiohttp.ClientTimeout:
        """Time limits of a transfer: none on the whole, as 200 MB take long, but one on each wait for more bytes."""
        import aiohttp

        return aiohttp.ClientTimeout(sock_connect=30.0, sock_read=self._config.timeout_s)

    async def _retried(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """The first successful answer within the configured number of tries; else raises with the server's words."""
        retry = RetryLine()
        for retries in range(self._config.max_retries + 1):
            answer = await send()
            if answer.status in (200, 201) and not answer.is_too_large:
                return answer
            if (answer.status not in RETRIED and answer.status != 0) or is_unpaid(answer.words, status=answer.status):
                break
            if retries < self._config.max_retries:
                wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**retries) * random.uniform(0.5, 1)
                longest, who = self._config.deadline_s, f"judge: {self.host}"
                if not await pause(
                    wait, told_s=answer.retry_after_s, longest_s=longest, who=who, retry=retry,
                    why=describe_fault(answer),
                ):  # fmt: skip
                    break
        raise self._refused(answer)

    def _refused(self, answer: Answer) -> StageError:
        config, fix = self._config, "what was submitted is noted down; continue with --resume"
        if is_unpaid(answer.words, status=answer.status):
            fix = "pay there or raise the account's limit, then --resume"
        elif answer.status == 401:
            fix = f"set {config.api_key_env} to a key that it takes, then --resume"
        elif answer.status in (404, 405, 501):
            fix = f"ask without --batch-api, or fix {config.base_url_env}, which usually ends in /v1"
        elif 300 <= answer.status < 400:
            fix = f"set {config.base_url_env} to the server that answers without a redirect, then --resume"
        elif answer.status == 0:
            fix = f"start the server, or fix {config.base_url_env}; then --resume"
        what = "the judge's server did not take a batch"
        return StageError(f"{what} ({answer.said[:300]})", where=self.host, fix=fix)


@runtime_checkable
class BatchingScorer(StreamingScorer, Protocol):
    """A scorer whose server also takes whole files of questions and answers them hours later, for less."""

    @property
    def uses_batches(self) -> bool:
        """Whether the configuration wants questions to be asked in batches."""

    def batch_server(self, request: ScoreRequest) -> BatchServer:
        """The server's batch endpoint."""
        ...

    def live(self) -> StreamingScorer:
        """This scorer for questions that must be answered at once, whatever is configured."""
        ...
