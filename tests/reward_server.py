"""A real reward server on localhost that answers, breaks, hangs or lies, as the test chooses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Behaviour = Callable[[list[dict[str, Any]], int], Any]
"""(items of a request, how many requests came before) -> rewards, a whole body, a status, or "hang"."""


class RewardServer:
    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = len(self.requests)
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        answer = self.behave(body["items"], number)
        if answer == "hang":
            await asyncio.sleep(30)
        if isinstance(answer, int):
            return web.Response(status=answer, text="server trouble")
        text = answer if isinstance(answer, str) else json.dumps({"rewards": answer})
        return web.Response(text=text, content_type="application/json")


@contextmanager
def running(behave: Behaviour) -> Iterator[RewardServer]:
    """The server on a free port, in a thread."""
    server, loop, started = RewardServer(behave), asyncio.new_event_loop(), threading.Event()
    app = web.Application()
    app.router.add_post("/score", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/score"
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
