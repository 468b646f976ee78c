"""A chat server on localhost that does what real servers do: it answers, refuses, breaks off and lies.

The prompt alone decides the verdict, so the same question always gets the same one; a function chooses the behaviour
of each request. Runs in a thread of the tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Behaviour = str | dict[str, Any]
"""The name of a case in `ChatServer.reply`, or a whole reply body."""


def p_first(prompt: str) -> float:
    """The server's opinion: a number between .1 and .9 that the prompt decides."""
    return 0.1 + 0.8 * int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def compare_two(prompt: str) -> tuple[str, dict[str, float]]:
    """An opinion on two replies: the word of the marker, and the probability of each choice after it."""
    return "Verdict", {" A": p_first(prompt), " B": 1 - p_first(prompt)}


Opinion = Callable[[str], tuple[str, dict[str, float]]]
"""Prompt -> the word of the marker, and the probability of each choice after it."""


def good_body(
    prompt: str, *, asked: dict[str, Any], reason: str = "A is the better one.", opinion: Opinion = compare_two
) -> dict[str, Any]:
    """A reply with a reason, a verdict, and the log-probabilities that were asked for."""
    marker, probabilities = opinion(prompt)
    likeliest = sorted(probabilities, key=lambda name: -probabilities[name])
    tokens = [*(f"{word} " for word in reason.split()), "\n", marker, ":", likeliest[0]]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(tokens)},
        "finish_reason": "stop",
    }
    if asked.get("logprobs"):
        content = [{"token": t, "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": -0.1}]} for t in tokens[:-1]]
        listed = [{"token": name, "logprob": math.log(probabilities[name])} for name in likeliest]
        choice["logprobs"] = {"content": [*content, {**listed[0], "top_logprobs": listed}]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": len(prompt.split()), "completion_tokens": len(tokens)},
    }


def tokenise(asked: dict[str, Any]) -> list[str]:
    """The prompt's tokens: a header and an end for each message, its words between them, as a template writes them."""
    messages = asked["messages"]
    tokens = [part for one in messages for part in (f"<{one['role']}>", *_words(one["content"]), "<end>", "\n")]
    if asked.get("continue_final_message"):
        return tokens[:-2]
    return [*tokens, "<assistant>"] if asked.get("add_generation_prompt", True) else tokens


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def logprob_of(tokens: list[str], place: int) -> float:
    """The server's log-probability of a token after those before it: between -4 and 0."""
    return -4 * int(hashlib.sha256("|".join(tokens[: place + 1]).encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def given_body(asked: dict[str, Any]) -> dict[str, Any]:
    """vLLM's answer to a request for the log-probabilities of the prompt."""
    tokens = tokenise(asked)
    places: list[Any] = [
        {
            str(zlib.crc32(token.encode()) % 10**6): {
                "logprob": logprob_of(tokens, at),
                "rank": 1,
                "decoded_token": token,
            }
        }
        for at, token in enumerate(tokens)
    ]
    return {
        "id": "chatcmpl-2", "object": "chat.completion", "model": asked["model"],
        "prompt_logprobs": [None, *places[1:]],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": len(tokens), "completion_tokens": 1},
    }  # fmt: skip


class ChatServer:
    """A chat server. `behaviour` gets the body, the prompt and n of the n-th request of a question, n from 0."""

    def __init__(
        self,
        behaviour: Callable[[dict[str, Any], str, int], Behaviour] | None = None,
        *,
        latency_s: float = 0.0,
        opinion: Opinion = compare_two,
    ) -> None:
        self.opinion = opinion
        self.behaviour = behaviour or (lambda asked, prompt, tries: "good")
        self.latency_s = latency_s
        self.requests: Counter[str] = Counter()
        """How often each prompt came."""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.acknowledged: Counter[str] = Counter()
        """How often each prompt was answered to the end."""
        self.under_way = self.most_under_way = 0
        self.url = ""

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/chat/completions", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        prompt = "\n".join(message["content"] for message in asked["messages"])
        tries = self.requests[prompt]
        self.requests[prompt] += 1
        self.bodies.append(asked)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.latency_s)
            behaviour = self.behaviour(asked, prompt, tries)
            response = await self.reply(request, asked, prompt, behaviour)
        finally:
            self.under_way -= 1
        if response.status == 200 and behaviour != "cut":
            self.acknowledged[prompt] += 1
        return response

    async def reply(
        self, request: web.Request, asked: dict[str, Any], prompt: str, behaviour: Behaviour
    ) -> web.StreamResponse:
        body = good_body(prompt, asked=asked, opinion=self.opinion)
        if "prompt_logprobs" in asked:
            body = given_body(asked)
        choice = body["choices"][0]
        verdict = (choice.get("logprobs") or {"content": [{}]})["content"][-1]
        match behaviour:
            case dict():
                body = behaviour
            case "good":
                pass
            case "429":
                return web.json_response(
                    {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0.05"}
                )
            case "500" | "503":
                return web.Response(text="upstream is gone", status=int(behaviour))
            case "400" | "401" | "404":
                return web.json_response(
                    {"error": {"message": f"no: your key {request.headers.get('Authorization', '')[7:]}"}},
                    status=int(behaviour),
                )
            case "too long":
                return web.json_response(
                    {"error": {"message": "This model's maximum context length is 8 tokens"}}, status=400
                )
            case "slow":
                await asyncio.sleep(30)
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": "4000", "Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(json.dumps(body)[:40].encode())
                assert request.transport is not None
                request.transport.close()
                return response
            case "garbage":
                return web.Response(text='{"choices": [{"mess', content_type="application/json")
            case "not json":
                return web.Response(text="<html>welcome</html>")
            case "no choices":
                body = {"error": {"message": "overloaded", "code": 529}}
            case "no logprobs":
                choice.pop("logprobs", None)
            case "empty logprobs":
                choice["logprobs"] = {"content": []}
            case "null logprobs":
                choice["logprobs"] = None
            case "empty top":
                verdict["top_logprobs"] = []
            case "nan":
                for entry in verdict["top_logprobs"]:
                    entry["logprob"] = math.nan
                verdict["logprob"] = math.nan
            case "low mass":
                for entry in verdict["top_logprobs"]:
                    entry["logprob"] = -5.0
                verdict["logprob"] = -5.0
            case "unlisted":
                del verdict["top_logprobs"][1]
            case "wrong model":
                body["model"] = "somebody-else"
            case "refusal":
                choice["message"] = {"role": "assistant", "content": None, "refusal": "I can't judge that."}
            case "sorry":
                choice["message"]["content"] = "I'm sorry, but I can't help with that."
            case "filter":
                choice["finish_reason"] = "content_filter"
            case "truncated":
                choice["message"]["content"], choice["finish_reason"] = "Both replies are", "length"
            case "empty":
                choice["message"]["content"] = ""
            case "no verdict":
                choice["message"]["content"] = "Both are fine."
            case "not given":
                body.pop("prompt_logprobs", None)
            case "refuses to give":
                return web.json_response(
                    {"error": {"message": "Unrecognized request argument supplied: prompt_logprobs"}}, status=400
                )
            case "no usage":
                del body["usage"]
            case "thinking":
                content = choice["message"]["content"]
                choice["message"]["content"] = f"<think>At first sight Verdict: A, or not.</think>\n{content}"
                choice.pop("logprobs", None)
                body["usage"]["completion_tokens"] += 500
                body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 500}
            case _:
                raise ValueError(behaviour)
        return web.Response(text=json.dumps(body), content_type="application/json", headers={"x-request-id": "req-7"})


def make_app(server: ChatServer) -> web.Application:
    app = web.Application(client_max_size=1 << 26)
    server.add_routes(app)
    return app


@contextmanager
def running(server: ChatServer, *, port: int = 0):
    """The server in a thread, on a free port where none is named."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(make_app(server), access_log=None, shutdown_timeout=0.1)
    started = threading.Event()

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        started.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
