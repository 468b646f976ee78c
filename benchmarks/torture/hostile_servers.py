"""A judge behind a server that answers what no server should: each place of a good answer with each hostile value,
refusals of every status and shape, headers that lie, connections that break.
"""

from __future__ import annotations

import copy
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from case import DESK, KEY, Case, Draw, Part, find_faults, find_faults_on_disk, run_command, try_all

BY_SERVER = (
    "--set", "judge.model.engine=openai", "--set", "judge.model.path=m", "--set", "judge.template=pair",
    "--set", "judge.endpoint.max_retries=1",
)  # fmt: skip
Answer = bytes
"""All bytes that go back over the connection, the status line included."""

HUGE, DEEP = "HUGE-NUMBER", "DEEP-LIST"
WRITTEN = {HUGE: "1" + "0" * 400, DEEP: "[" * 3000 + "]" * 3000}
"""Marks in a JSON text, and what replaces them there."""
VALUES = {
    "null": None, "true": True, "minus one": -1, "zero": 0, "1e308": 1e308, "nan": float("nan"), "400 digits": HUGE,
    "a word": "x", "nothing": "", "escapes": "\x1b[2J\x1b]0;t\x07\u202e\x00", "half a pair": "\ud800", "a list": [],
    "an object": {}, "the key": f"it is {KEY}", "a megabyte": "y" * 1_000_000, "a deep list": DEEP,
}  # fmt: skip
STATUSES = (201, 204, 301, 307, 400, 401, 402, 403, 404, 409, 413, 422, 429, 451, 500, 501, 503, 529, 599)
BODIES = {
    "nothing": "", "plain words": "no", "a page": "<html><body>\x1b[31mBad gateway</body></html>",
    "an error": {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}},
    "an error as words": {"error": f"no, {KEY} is wrong"}, "a list": [{"msg": "no"}], "null": None, "a number": 7,
    "detail": {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]},
    "message below message": {"message": {"message": {"message": "temperature is not supported"}}},
    "quota": {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
    "deep": [DEEP], "half": '{"error": {"mess',
}  # fmt: skip
HEADERS = (
    "Retry-After: 99999999999", "Retry-After: -5", "Retry-After: soon", "Retry-After: nan",
    "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "Content-Encoding: gzip", "Content-Encoding: br",
    "Transfer-Encoding: chunked", "Location: http://127.0.0.1:9/", "Location: file:///etc/passwd",
    "Content-Type: text/plain; charset=utf-7", "X-Long: " + "h" * 100_000, "Set-Cookie: a=b",
    "x-ratelimit-remaining-requests: -1", "x-ratelimit-reset-tokens: 9999999h",
)  # fmt: skip


def try_servers(draw: Draw, workers: int) -> Part:
    """Let these servers judge a small run each."""
    with _Serving() as serving:
        cases = [Case(name, serving.make_case(answer)) for name, answer in _all_answers()]
        return try_all("judges behind hostile servers", draw.of(cases), workers=workers)


def _all_answers() -> Iterator[tuple[str, Answer]]:
    for place in _places(_good(), ()):
        for name, value in VALUES.items():
            yield f"{'.'.join(map(str, place))} is {name}", _http(200, _json(_replaced(_good(), place, value)))
    for status in STATUSES:
        for name, body in BODIES.items():
            text = body if isinstance(body, str) else _json(body)
            yield f"status {status} with {name}", _http(status, text)
    for header in HEADERS:
        for status in (200, 302, 429, 503):
            yield f"status {status}, {header[:60]}", _http(status, _json(_good()), header)
    good = _http(200, _json(_good()))
    for share in range(0, 100, 4):
        yield f"the first {share} % of a good answer", good[: len(good) * share // 100]
    bomb = gzip.compress(b" " * 300_000_000, compresslevel=1)
    yield "a gzip bomb", _head(200, len(bomb), "Content-Encoding: gzip") + bomb
    yield "no HTTP", b"\x00\xff\xfe no HTTP\r\n\r\n"
    yield "status 999", b"HTTP/1.1 999 what\r\nContent-Length: 2\r\n\r\n{}"
    yield "another version", b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    yield "more than was announced", _head(200, 10) + _json(_good()).encode()
    yield "less than was announced", _head(200, 10_000_000) + _json(_good()).encode()


def _good() -> dict[str, Any]:
    tokens = ["Both", " are", " fine", ".", "\n", "Verdict", ":"]
    last = [{"token": " A", "logprob": -0.2}, {"token": " B", "logprob": -1.71}]
    content = [{"token": token, "logprob": -0.01, "top_logprobs": []} for token in tokens]
    content.append({**last[0], "top_logprobs": last})
    choice = {"index": 0, "finish_reason": "stop", "logprobs": {"content": content}}
    choice["message"] = {"role": "assistant", "content": "Both are fine.\nVerdict: A"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def _places(value: Any, above: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Paths to every value in a JSON value; of a list only to its last item."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value:
        items = [(len(value) - 1, value[-1])]
    for key, below in items:
        yield (*above, key)
        yield from _places(below, (*above, key))


def _replaced(body: dict[str, Any], place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    made: Any = copy.deepcopy(body)
    at = made
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return made  # type: ignore[no-any-return]


def _json(value: Any) -> str:
    text = json.dumps(value)
    for mark, written in WRITTEN.items():
        text = text.replace(f'"{mark}"', written)
    return text


def _head(status: int, length: int, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", "Content-Type: application/json", f"Content-Length: {length}", "Connection: close"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def _http(status: int, body: str, *more: str) -> bytes:
    data = body.encode("utf-8", "surrogatepass")
    return _head(status, len(data), *more) + data


class _Serving:
    """Answers every request below /NUMBER/ with the bytes of that number."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.wfile.write(answers[int(self.path.split("/")[1])])
                self.close_connection = True

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that hung up

    def __enter__(self) -> _Serving:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def make_case(self, answer: Answer) -> Callable[[Path], list[str]]:
        self._answers.append(answer)
        url = f"http://127.0.0.1:{self._server.server_port}/{len(self._answers) - 1}/v1"
        environ = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}

        def try_in(folder: Path) -> list[str]:
            ran = run_command(["generate-prefs", *DESK, *BY_SERVER], folder=folder, environ=environ)
            return find_faults(ran) + find_faults_on_disk(folder / "runs")

        return try_in
