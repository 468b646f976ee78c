"""What stands before every page: whom the server answers, what it accepts, and what its answers allow a browser to do.

Text of models and data sets is on these pages, and other sites run in the same browser. So only requests that name this
server's own host are answered, only those with the token of this start see anything, only the server's own forms write,
and no answer lets a browser load or run anything from elsewhere. Knows no page.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024
"""Bytes of a form."""
ENTRY = "/enter"
"""The address that the terminal prints: it turns the token into a cookie."""
LANDING = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>rlaif</title>'
    '<link rel="icon" href="/static/icon.svg"><meta http-equiv="refresh" content="0; url=/"></head>'
    '<body><p><a href="/">To the first page</a></p></body></html>'
)
"""Where the entry leads. A browser that came by a link on another site sends the cookie only from here on."""
STATIC = "/static/"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # under `no-referrer` browsers hide the origin of our own forms too
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Door(NamedTuple):
    """Where a server is, and what opens it."""

    host: str
    port: int
    people: Mapping[str, str]
    """Token -> who has it. A page sees nobody's token but that of the request."""

    @property
    def hosts(self) -> frozenset[str]:
        """What a request's Host may say."""
        names = {self.host, "127.0.0.1", "localhost", "[::1]"} if is_loopback(self.host) else {self.host}
        named = {f"[{name}]" if ":" in name and not name.startswith("[") else name for name in names}
        return frozenset(f"{name}:{self.port}" for name in named) | (
            frozenset(named) if self.port == 80 else frozenset()
        )

    @property
    def cookie(self) -> str:
        """Cookies do not know ports, so that two servers on one machine need two names."""
        return f"rlaif_{self.port}"

    def address(self, token: str) -> str:
        """What the terminal prints for whoever has this token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{ENTRY}?token={token}"

    def find(self, token: str) -> str | None:
        """Who has this token; None where nobody has. Takes the same time for every wrong one."""
        found = [who for known, who in self.people.items() if hmac.compare_digest(known.encode(), token.encode())]
        return found[0] if found else None


def make_token() -> str:
    """128 bits."""
    return secrets.token_hex(16)


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


class Guard:
    """An app that lets through to `app` only what may pass, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = self._answer(scope) or self._admit(scope)
        if answer is None and scope["method"] == "POST":
            body = await _read_body(receive)
            if body is None:
                answer = _refuse(f"a form holds at most {MAX_BODY // 1024} KiB", 413)
            receive = _replay(body or b"")
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """A refusal of what comes from elsewhere; None: it may be looked at."""
        headers = Headers(scope=scope)
        if headers.get("host", "").casefold() not in self._door.hosts:
            return _refuse("this server answers to its own address only: open the one that the terminal printed", 400)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _refuse("only pages are read here and forms sent", 405)
        if scope["method"] == "POST" and not self._is_own(headers):
            return _refuse("the form was sent from another site, and nothing was done", 403)
        return None

    def _is_own(self, headers: Mapping[str, str]) -> bool:
        """Whether a form came from a page of this server, by what the browser says of it."""
        origin = headers.get("origin", "")
        is_own_origin = origin.startswith("http://") and origin.removeprefix("http://").casefold() in self._door.hosts
        return is_own_origin and headers.get("sec-fetch-site", "same-origin") == "same-origin"

    def _admit(self, scope: Scope) -> Response | None:
        if scope["path"].startswith(STATIC):
            return None
        if scope["path"] == ENTRY:
            return self._enter(scope)
        who = self._door.find(_find_cookie(scope, self._door.cookie))
        if who is None:
            return _refuse("open the address that the terminal printed: it holds the token that this page needs", 403)
        scope.setdefault("state", {})["who"] = who
        return None

    def _enter(self, scope: Scope) -> Response:
        """The token of the address as a cookie, and on from an address without it, which a browser may remember."""
        if not scope["query_string"]:
            return HTMLResponse(LANDING)
        given = _query(scope).get("token", "")
        if self._door.find(given) is None:
            return _refuse("this is an old address: open the one that the terminal printed last", 403)
        response = RedirectResponse(ENTRY, status_code=303)
        response.set_cookie(self._door.cookie, given, httponly=True, samesite="strict", path="/")
        return response


def _refuse(sentence: str, status: int) -> Response:
    return PlainTextResponse(sentence + "\n", status_code=status)


def _query(scope: Scope) -> dict[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=20))
    except ValueError:  # more fields than that
        return {}


def _find_cookie(scope: Scope, name: str) -> str:
    try:
        found = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None where it is longer than a form may be."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
