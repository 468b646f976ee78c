"""One request to a server and its outcome: a body, a wait, or a refusal in the server's words.

All connections to servers are made here, with the proxies and CA bundles of the environment and nothing else of the
machine: no ~/.netrc, no cookies. Redirects are not followed, and every body has a bound. Keys are never shown. Does not
retry.
"""

from __future__ import annotations

import base64
import email.utils
import os
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic_core import from_json

from rlaif.config.addresses import find_address_fault, format_host
from rlaif.errors import InputError
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.guards import MAX_BODY_BYTES, format_bytes, format_wait
from rlaif.models.endpoint.refusal import find_words, show_words

if TYPE_CHECKING:
    import aiohttp

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""
_LONG_WAIT_S = 60.0
"""A longer wait that a server wants is part of what it said."""
_LONGEST_ID = 200
_ANSWERED = (200, 201, 203)
"""Statuses of an answer; some gateways say that it was created, or that they passed it on."""


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
    is_too_large: bool = False
    """True where the body was larger than anything that was asked for; then it was not read to its end."""
    words: str = ""
    """Everything that the server said in refusing, as it came: for decisions only, see refusal.py."""


def describe_fault(answer: Answer) -> str:
    """What went wrong with one request, in a few words."""
    return answer.said or (f"status {answer.status}" if answer.status else "no reply")


def open_session(address: Address, *, concurrency: int, timeout_s: float) -> aiohttp.ClientSession:
    """A pool of connections. Call inside a running loop."""
    import aiohttp

    headers = {"Content-Type": "application/json", "User-Agent": "rlaif", "Accept-Encoding": "identity"}
    if address.key:
        headers["Authorization"] = f"Bearer {address.key}"
    find_proxy(address.url)
    secure = make_ssl_context(os.environ) if address.url.startswith("https") else True
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, ssl=secure, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(30.0, timeout_s)),
        headers=headers,
        trust_env=False,  # it would also send the passwords of ~/.netrc; proxies are found below
        auto_decompress=False,  # its bound on what comes out is not ours
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class Proxy(NamedTuple):
    """A proxy's address, without the user and password that go into a header."""

    url: str
    authorization: str | None


def find_proxy(url: str) -> Proxy | None:
    """The proxy that the environment names for an address; None where it names none."""
    parts = urlsplit(url)
    variable = f"{parts.scheme}_proxy"
    given = getproxies().get(parts.scheme, "").strip()
    if not given or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    before, _, host = (given if "://" in given else f"http://{given}").partition("://")
    user, _, host = host.rpartition("@")
    plain = f"{before}://{host}".rstrip("/")
    if fault := find_address_fault(plain):
        raise InputError(
            f"the proxy in {variable} {fault}", fix=f"write it as http://HOST:PORT, or unset {variable}"
        )  # fmt: skip
    credentials = base64.b64encode(unquote(user).encode()).decode() if user else ""
    return Proxy(plain, f"Basic {credentials}" if user else None)


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


async def post(
    session: aiohttp.ClientSession,
    address: Address,
    payload: bytes,
    *,
    timeout_s: float,
    most_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """Send one request and wait for its whole reply."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=timeout_s)
    return await exchange(session, address, method="POST", data=payload, timeout=timeout, most_bytes=most_bytes)


async def exchange(
    session: aiohttp.ClientSession,
    address: Address,
    *,
    method: str,
    timeout: aiohttp.ClientTimeout,
    data: Any = None,
    headers: Mapping[str, str] | None = None,
    into: Path | None = None,
    most_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """One request and its outcome, whatever goes wrong. into: the file that takes the body of a reply with status 200;
    most_bytes: the most that this body may have."""
    import aiohttp

    proxy, sent = find_proxy(address.url), dict(headers or {})
    proxy_headers = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
    if not address.url.startswith("https"):  # then the request itself goes to the proxy
        sent |= proxy_headers
    try:
        async with session.request(
            method, address.url, data=data, headers=sent, allow_redirects=False, timeout=timeout,
            proxy=proxy.url if proxy else None, proxy_headers=proxy_headers if proxy else None,
        ) as response:  # fmt: skip
            if 300 <= response.status < 400:
                return _redirected(response, address)
            if into is not None and response.status == 200:
                with into.open("wb") as file:
                    async for chunk in _read(response, most_bytes=most_bytes):
                        file.write(chunk)
                return Answer(200)
            return await _read_answer(response, address, most_bytes=most_bytes)
    except TimeoutError:
        seconds = timeout.total or timeout.sock_read or 0.0
        return Answer(0, said=f"no whole reply within {seconds:.3g} s", timed_out=True)
    except _TooLarge as error:
        return Answer(200, said=str(error), is_too_large=True)
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
        return Answer(0, said=address.hide(f"{type(error).__name__}: {error}"), unreachable=True)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(0, said=address.hide(f"{type(error).__name__}: {error}"))


def _redirected(response: aiohttp.ClientResponse, address: Address) -> Answer:
    """A redirect, as the refusal that it is: what we ask is for the server that the user named alone."""
    given = response.headers.get("Location", "")
    try:
        target = urljoin(address.url, given)
        fault = find_address_fault(target, with_query=True)
    except ValueError:
        fault = "cannot be read"
    where = "to no address" if fault or not given else f"to {format_host(target)}"
    said = f"HTTP {response.status}: the server redirects {where}, and redirects are not followed"
    return Answer(response.status, said=address.hide(said))


async def _read_answer(response: aiohttp.ClientResponse, address: Address, *, most_bytes: int) -> Answer:
    """A server's answer, with its whole body read."""
    status = 200 if response.status in _ANSWERED else response.status
    data = b""
    try:
        async for chunk in _read(response, most_bytes=most_bytes):
            data += chunk
    except _TooLarge:
        if status == 200:
            raise
    request_id = _read_id(response.headers.get("x-request-id"), address)
    retry_after = parse_retry_after(response.headers, now=time.time())
    wants = f"; it asks to wait {format_wait(retry_after)}" if retry_after and retry_after > _LONG_WAIT_S else ""
    try:
        body = from_json(data)
    except ValueError:
        text = data.decode("utf-8", "replace")
        shown = address.hide(show_words(text))[:200]
        said = f"the reply is not JSON {shown}" if status == 200 else f"HTTP {status} {shown}".strip() + wants
        return Answer(
            status, said=said.strip(), request_id=request_id, retry_after_s=retry_after, words=find_words(text)
        )  # fmt: skip
    if not request_id and isinstance(body, dict):
        request_id = _read_id(body.get("id"), address)
    said, words = read_refusal(body, status=status, address=address)
    return Answer(status, body, said + wants if said else "", request_id, retry_after, words=words)


def _read_id(given: Any, address: Address) -> str:
    """The name of a request in the server's log, as it is stored."""
    return address.hide(given)[:_LONGEST_ID] if isinstance(given, str) else ""


def read_refusal(body: Any, *, status: int, address: Address) -> tuple[str, str]:
    """What a refusal says: what is shown of it, and all its words. Both are empty for status 200."""
    if status == 200:
        return "", ""
    return f"HTTP {status} {address.hide(show_words(body))[:500]}".strip(), find_words(body)


class _TooLarge(ValueError):
    """A body is larger than anything that was asked for."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the reply is larger than {format_bytes(most_bytes)}, which is more than was asked for")


async def _read(response: aiohttp.ClientResponse, *, most_bytes: int) -> AsyncIterator[bytes]:
    """The parts of a body, uncompressed; raises before more than `most_bytes` are held."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise ValueError("the reply is compressed in a way that was not asked for")
    unpacker = zlib.decompressobj(wbits=47) if coding not in ("", "identity") else None
    size = 0
    try:
        async for raw in response.content.iter_any():
            chunk = raw if unpacker is None else unpacker.decompress(raw, most_bytes - size + 1)
            size += len(chunk)
            if size > most_bytes:
                raise _TooLarge(most_bytes)
            yield chunk
    except zlib.error as error:
        raise ValueError(f"the reply is compressed and broken ({error})") from error


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait, from `Retry-After` as a number or a date, or from `retry-after-ms`."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (value := headers.get("retry-after")) is None:
            return None
        elif (date := email.utils.parsedate_tz(value)) is not None and not value.strip()[0].isdigit():
            seconds = max(0.0, email.utils.mktime_tz(date) - now)
        else:
            seconds = float(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
