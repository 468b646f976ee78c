"""One request to a server and its outcome: a body, a wait, or a refusal in the server's words.

Uses aiohttp with the proxies and CA bundles of the environment. Keys are never shown. Does not retry.
"""

from __future__ import annotations

import email.utils
import os
import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic_core import from_json

from rlaif.errors import ConfigError, InputError
from rlaif.models.endpoint.refusal import find_words, show_words

if TYPE_CHECKING:
    import aiohttp

MAX_BODY_BYTES = 16 << 20
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""


class Address(NamedTuple):
    """A server's address and our key. Never stored; only `host` is recorded."""

    url: str
    host: str
    key: str | None

    def hide(self, text: str) -> str:
        """A server's words on one line, without the key, which some servers repeat, and without terminal codes."""
        shown = "".join(c if c.isprintable() else " " for c in text)
        return shown.replace(self.key, "***") if self.key else shown


def find_address(*, base_url_env: str, api_key_env: str, environ: Mapping[str, str]) -> Address:
    """The server that the environment names."""
    base = environ.get(base_url_env, "").strip()
    if not base:
        raise InputError(
            f"no server is named for the judge: {base_url_env} is not set",
            where="judge.model.engine: openai",
            fix=f"export {base_url_env}=http://localhost:8000/v1, and {api_key_env} if the server wants a key",
        )
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{base_url_env} is no address of a server", fix="write it as http://localhost:8000/v1 or https://HOST/v1"
        )
    if parts.username or parts.query:
        raise InputError(
            f"{base_url_env} holds more than an address",
            fix=f"put the key into {api_key_env}, and nothing after the path",
        )
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return Address(base.rstrip("/") + "/chat/completions", host, environ.get(api_key_env, "").strip() or None)


def find_reward_address(url: str, *, api_key_env: str | None, environ: Mapping[str, str]) -> Address:
    """A reward server's address, with the key from the environment. A named variable must be set."""
    parts = urlsplit(url)
    host = parts.hostname or "" if parts.port is None else f"{parts.hostname}:{parts.port}"
    key = environ.get(api_key_env, "").strip() if api_key_env else ""
    if api_key_env and not key:
        raise ConfigError(
            f"{api_key_env} is not set, and the reward server {host} is to be sent the key in it",
            where="ppo.rewards",
            fix=f"export {api_key_env}, or leave api_key_env out where the server wants none",
        )
    return Address(url, host, key or None)


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    """0: no whole reply came."""
    body: Any = None
    """The parsed body of a reply that is JSON."""
    said: str = ""
    """What went wrong, in the server's words or in ours."""
    request_id: str = ""
    retry_after_s: float | None = None
    unreachable: bool = False
    """True where there is no such server, or its certificate cannot be trusted."""
    timed_out: bool = False
    words: str = ""
    """Everything that the server said in refusing, as it came: for decisions only, see refusal.py."""


def open_session(address: Address, *, concurrency: int, timeout_s: float) -> aiohttp.ClientSession:
    """A pool of connections. Call inside a running loop."""
    import aiohttp

    headers = {"Content-Type": "application/json", "User-Agent": "rlaif"}
    if address.key:
        headers["Authorization"] = f"Bearer {address.key}"
    secure = make_ssl_context(os.environ) if address.url.startswith("https") else True
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, ssl=secure, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(30.0, timeout_s)),
        headers=headers,
        trust_env=True,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def make_ssl_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """A context with the system's certificates and the user's bundle; OpenSSL reads SSL_CERT_FILE and SSL_CERT_DIR."""
    context = ssl.create_default_context()
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if bundle:
        try:
            context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
        except OSError as error:
            raise InputError(
                f"the CA bundle cannot be read: {error.strerror or error}",
                where=bundle,
                fix="fix REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE",
            ) from error
    return context


async def post(session: aiohttp.ClientSession, address: Address, payload: bytes, *, timeout_s: float) -> Answer:
    """Send one request and wait for its whole reply."""
    import aiohttp

    try:
        async with session.post(
            address.url, data=payload, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as response:
            return await read_answer(response, address)
    except TimeoutError:
        return Answer(0, said=f"no whole reply within {timeout_s:.3g} s", timed_out=True)
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
        return Answer(0, said=address.hide(f"{type(error).__name__}: {error}"), unreachable=True)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(0, said=address.hide(f"{type(error).__name__}: {error}"))


async def read_answer(response: aiohttp.ClientResponse, address: Address) -> Answer:
    """A server's answer, with its whole body read."""
    data = await _read(response)
    request_id = response.headers.get("x-request-id", "")[:200]
    retry_after = parse_retry_after(response.headers, now=time.time())
    status = response.status
    try:
        body = from_json(data)
    except ValueError:
        text = data.decode("utf-8", "replace")
        shown = address.hide(show_words(text))[:200]
        said = f"the reply is not JSON {shown}" if status == 200 else f"HTTP {status} {shown}"
        return Answer(
            status, said=said.strip(), request_id=request_id, retry_after_s=retry_after, words=find_words(text)
        )  # fmt: skip
    if not request_id and isinstance(body, dict) and isinstance(body.get("id"), str):
        request_id = body["id"][:200]
    said, words = read_refusal(body, status=status, address=address)
    return Answer(status, body, said, request_id, retry_after, words=words)


def read_refusal(body: Any, *, status: int, address: Address) -> tuple[str, str]:
    """What a refusal says: what is shown of it, and all its words. Both are empty for status 200."""
    if status == 200:
        return "", ""
    return f"HTTP {status} {address.hide(show_words(body))[:500]}".strip(), find_words(body)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise ValueError(f"the reply is larger than {MAX_BODY_BYTES >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait, from `Retry-After` as a number or a date, or from `retry-after-ms`."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        if (date := email.utils.parsedate_tz(value)) is not None and not value.strip()[0].isdigit():
            return max(0.0, email.utils.mktime_tz(date) - now)
        seconds = float(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
