"""A vLLM server that samples for PPO: checked first, then given new weights and asked for responses.

Takes token ids and returns token ids and log-probabilities. A request that failed is sent again; one that keeps failing
is an error, never a sample. Starts no server.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from pydantic_core import to_json

from rlaif.config.ppo_rollout import RolloutServerConfig
from rlaif.errors import TrainingError
from rlaif.models.endpoint.address import find_vllm_address
from rlaif.models.endpoint.guards import MAX_BODY_BYTES, RetryLine, pause, read_count, read_number
from rlaif.models.endpoint.http import RETRIED, Answer, exchange, open_session
from rlaif.models.endpoint.refusal import find_error, show_words
from rlaif.models.interface import DrawnTokens
from rlaif.stats.logits import MAX_LOGPROB

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T", int, float)
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Waits between retries double."""
LONGEST_TOLD_S = 600.0
"""The longest wait that a server may ask for."""
BYTES_PER_TOKEN = 1024
"""The most bytes of a reply for each token of it."""
_START = (
    "start it as VLLM_SERVER_DEV_MODE=1 python -m vllm.entrypoints.openai.api_server --model POLICY "
    "--logprobs-mode processed_logprobs"
)


class _Request(NamedTuple):
    path: str
    body: Mapping[str, Any] | None
    """None for a GET request."""


class VllmServer:
    """Implements `PolicyCopy` with one server; it is noticed when something else gives the server weights."""

    is_shared = True

    def __init__(self, config: RolloutServerConfig, *, environ: Mapping[str, str] = os.environ) -> None:
        self._config = config
        self._retry = RetryLine()
        self._address = find_vllm_address(config.url or "", api_key_env=config.api_key_env, environ=environ)
        self.version = ""
        """The name of the weights that it should have."""

    def check(self, *, max_tokens: int) -> None:
        """Refuse a server that cannot serve PPO. max_tokens: longest prompt and response together."""
        said = self._ask(_Request("/server_info?config_format=json", None), doing="asking what it is")
        try:
            model = said["vllm_config"]["model_config"]
            mode, most = str(model["logprobs_mode"]), int(model["max_model_len"])
        except (KeyError, TypeError, ValueError):
            self._fail("the server does not say how it runs", fix=_START)
        if mode != "processed_logprobs":
            self._fail(
                f"the server gives {mode}, which are not those of the distribution that it samples from", fix=_START
            )
        if max_tokens > most:
            self._fail(
                f"the server takes {most} tokens, and the longest prompt and response are {max_tokens}",
                fix="start it with a larger --max-model-len, or lower ppo.response_length",
            )

    def load_weights(self, folder: Path, *, version: str) -> None:
        """Give the server the weights in a folder that it sees under the same path. version: their name there."""
        doing = f"giving it the weights in {folder}"
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        self._ask(_Request("/collective_rpc", reload), doing=doing)
        if not self._ask(_Request("/reset_prefix_cache", {}), doing=doing).get("success"):
            self._fail(
                "the server did not forget what it had computed with the old weights",
                fix="let nothing else use it while it serves a training",
            )
        self._ask(_Request("/update_weight_version", {"new_version": version}), doing=doing)
        self.version = version

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seeds: Sequence[int],
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
    ) -> list[DrawnTokens]:
        """One response to each prompt from the tempered distribution, all with the same weights."""
        fixed = {
            "max_tokens": max_tokens, "temperature": temperature, "stop_token_ids": list(stop_token_ids),
            "ignore_eos": True,  # nothing ends a response but the tokens that are named
            # A server takes missing options from its model's folder, so all of them are given.
            "top_p": 1.0, "top_k": 0, "min_p": 0.0, "min_tokens": 0, "repetition_penalty": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1,
            "logprobs": 0, "return_token_ids": True, "return_tokens_as_token_ids": True,
        }  # fmt: skip
        requests = [
            _Request("/v1/completions", {**fixed, "prompt": list(ids), "seed": seed})
            for ids, seed in zip(prompts, seeds, strict=True)
        ]
        drawn = asyncio.run(self._exchange(requests, doing="sampling"))
        said = self._ask(_Request("/weight_info", None), doing="asking for its weights' version")
        if said.get("weight_version") != self.version:
            self._fail(
                "the server no longer has the weights that it was given: it was restarted, or something else gave it "
                "others",
                fix="let it serve this training alone, and resume",
            )
        return [_read_tokens(body) for body in drawn]

    def close(self) -> None:
        """Nothing: the server is not ours."""

    def _ask(self, request: _Request, *, doing: str) -> dict[str, Any]:
        (body,) = asyncio.run(self._exchange([request], doing=doing))
        return body

    async def _exchange(self, requests: Sequence[_Request], *, doing: str) -> list[dict[str, Any]]:
        config = self._config
        limit = asyncio.Semaphore(config.concurrency)
        async with open_session(
            self._address, concurrency=config.concurrency, timeout_s=config.timeout_s
        ) as session:  # fmt: skip
            asked = [
                asyncio.create_task(self._until_answered(session, request, limit, doing=doing)) for request in requests
            ]
            try:
                return await asyncio.gather(*asked)
            finally:  # the first request that keeps failing ends the others
                for task in asked:
                    task.cancel()

    async def _until_answered(
        self, session: aiohttp.ClientSession, request: _Request, limit: asyncio.Semaphore, *, doing: str
    ) -> dict[str, Any]:
        wait = FIRST_WAIT_S
        for tries_left in reversed(range(self._config.max_retries + 1)):
            async with limit:
                answer = await self._send(session, request)
            fault = _find_fault(answer, request)
            if not fault:
                body: dict[str, Any] = answer.body if isinstance(answer.body, dict) else {}
                return body
            if answer.status == 404:
                self._fail(f"the server has no {request.path.partition('?')[0]} ({fault})", fix=_START)
            if tries_left == 0 or answer.status not in (0, 200, *RETRIED):
                break
            longest, who = LONGEST_TOLD_S, f"the vLLM server at {self._address.host}"
            if not await pause(
                wait, told_s=answer.retry_after_s, longest_s=longest, who=who, retry=self._retry, why=fault
            ):
                break
            wait = min(2 * wait, LONGEST_WAIT_S)
        self._fail(
            f"{doing} failed: {fault}",
            fix="see the server's log, restart it, and resume: training continues from its last checkpoint",
        )

    async def _send(self, session: aiohttp.ClientSession, request: _Request) -> Answer:
        address = self._address._replace(url=self._address.url + request.path)
        import aiohttp

        method, data = ("GET", None) if request.body is None else ("POST", to_json(request.body))
        asked = (request.body or {}).get("max_tokens", 0) + len((request.body or {}).get("prompt", ()))
        return await exchange(
            session, address, method=method, data=data, timeout=aiohttp.ClientTimeout(total=self._config.timeout_s),
            most_bytes=MAX_BODY_BYTES + BYTES_PER_TOKEN * asked,
        )  # fmt: skip

    def _fail(self, what: str, *, fix: str) -> NoReturn:
        raise TrainingError(self._address.hide(what), where=f"the vLLM server at {self._address.host}", fix=fix)


def _find_fault(answer: Answer, request: _Request) -> str:
    """The reason why an answer cannot be used; empty where it can be."""
    if answer.status != 200:
        return answer.said or f"HTTP {answer.status}"
    if request.body is None or request.path != "/v1/completions":
        return answer.said if answer.body is None and answer.said and request.path != "/collective_rpc" else ""
    try:
        drawn = _read_tokens(answer.body)
    except (KeyError, TypeError, ValueError, IndexError):
        error = find_error(answer.body)
        said = "" if error is None else f" ({_shown(error)})"
        return f"the reply has not the token ids and log-probabilities that were asked for{said}"
    if len(drawn.ids) > request.body["max_tokens"]:
        return f"the reply has {len(drawn.ids)} tokens, and {request.body['max_tokens']} were asked for at most"
    if not drawn.ids or len(drawn.ids) != len(drawn.logprobs) or not all(map(math.isfinite, drawn.logprobs)):
        return f"the reply has {len(drawn.ids)} tokens and {len(drawn.logprobs)} log-probabilities, or one is no number"
    if (highest := max(drawn.logprobs)) > MAX_LOGPROB:
        return f"the reply has {highest:g} as a log-probability, and none is above 0"
    return ""


def _shown(error: Any) -> str:
    return "".join(c if c.isprintable() else " " for c in show_words(error))[:300]


def _read_tokens(body: Any) -> DrawnTokens:
    (choice,) = body["choices"]
    ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    return DrawnTokens([_known(read_count(id)) for id in ids], [_known(read_number(x)) for x in logprobs])


def _known(number: T | None) -> T:
    if number is None:
        raise ValueError("a number of the server is none")
    return number
