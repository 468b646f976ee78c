"""A chat server with 64 slots of 50 ms, so 1,280 replies a second at most, that counts by content what it is asked.

Every reply is the same verdict with its reason and log-probabilities; a model's name chooses other words for programs
that read other verdicts. Runs in a process of its own. Decides nothing by the prompt.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SLOTS, LATENCY_S = 64, 0.050
DESCRIPTION = {"slots": SLOTS, "latency_s": LATENCY_S, "most_replies_per_s": SLOTS / LATENCY_S}
_REASON = ("Reply", "A", "says", "the", "same", "in", "fewer", "words", "than", "reply", "B")
WORDS: dict[str, tuple[list[str], str, str]] = {
    "stub": ([*(f"{word} " for word in _REASON), "\nVerdict", ":"], " A", " B"),
    "stub-grade": ([*(f"{word} " for word in _REASON), "\nGRADE", ":"], " C", " I"),
    "stub-result": (["Feedback:", *(f" {word}" for word in _REASON), " [RESULT]"], " A", " B"),
    "stub-letter": ([], "m", "M"),
}
"""Model -> the tokens before its verdict, the verdict, and the other one."""


def make_body(model: str, *, logprobs: bool) -> bytes:
    """A reply as the chat API gives it."""
    tokens, verdict, other = WORDS[model]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join([*tokens, verdict])},
        "finish_reason": "stop",
    }
    if logprobs:
        content = [{"token": t, "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": -0.1}]} for t in tokens]
        listed = [{"token": verdict, "logprob": -0.3}, {"token": other, "logprob": -1.4}]
        choice["logprobs"] = {"content": [*content, {**listed[0], "top_logprobs": listed}]}
    usage = {"prompt_tokens": 260, "completion_tokens": len(tokens) + 1, "total_tokens": 261 + len(tokens)}
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
        "usage": usage,
    }  # fmt: skip
    return json.dumps(body).encode()


def content_key(messages: list[dict[str, Any]]) -> str:
    """What a request asks, whatever else it holds."""
    return hashlib.sha256("\n".join(str(message["content"]) for message in messages).encode()).hexdigest()[:32]


def serve(port: Any) -> None:
    """Until the process is ended; sends its port when it is ready."""
    from aiohttp import web

    bodies = {(model, logprobs): make_body(model, logprobs=logprobs) for model in WORDS for logprobs in (True, False)}
    requests: Counter[str] = Counter()

    async def main() -> None:
        slots = asyncio.Semaphore(SLOTS)

        async def reply(request: web.Request) -> web.Response:
            asked = json.loads(await request.read())
            requests[content_key(asked["messages"])] += 1
            async with slots:
                await asyncio.sleep(LATENCY_S)
            model = asked["model"] if asked["model"] in WORDS else "stub"
            return web.Response(body=bodies[model, bool(asked.get("logprobs"))], content_type="application/json")

        async def counts(_: web.Request) -> web.Response:
            return web.json_response(requests)

        async def reset(_: web.Request) -> web.Response:
            requests.clear()
            return web.json_response({})

        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", reply)
        app.router.add_get("/counts", counts)
        app.router.add_post("/reset", reset)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


class Stub:
    """A running stub server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._base = f"http://127.0.0.1:{port}"

    def counts(self) -> Counter[str]:
        """How often each content came."""
        with urllib.request.urlopen(f"{self._base}/counts") as response:
            return Counter(json.load(response))

    def reset(self) -> None:
        urllib.request.urlopen(f"{self._base}/reset", data=b"").close()


@contextmanager
def running_stub() -> Iterator[Stub]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    server = context.Process(target=serve, args=(sending,), daemon=True)
    server.start()
    try:
        yield Stub(receiving.recv())
    finally:
        server.terminate()
        server.join()
