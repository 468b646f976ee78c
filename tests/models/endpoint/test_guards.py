"""What a server may do to us is bounded for every client: redirects, sizes, waits, ids, numbers, and our key's echo."""

import asyncio
import base64
import gzip
import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from rlaif.errors import InputError
from rlaif.models.endpoint import guards
from rlaif.models.endpoint.address import Address, find_address, find_vllm_address, read_key
from rlaif.models.endpoint.http import exchange, find_proxy, open_session

KEY = "sk-canary/9f8e+7d6c5b4a"
ADDRESS = Address("http://host:1/account-canary-5b4a/v1/chat/completions", "host:1", KEY)


@contextmanager
def answering(reply):
    """A server that answers each request with (status, headers, body); gives its address and the requests' headers."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()


def fetch(url, *, method="POST", key=None, most_bytes=1 << 20, into=None):
    address = Address(url, "127.0.0.1", key)

    async def talk():
        async with open_session(address, concurrency=1, timeout_s=5) as session:
            return await exchange(
                session, address, method=method, timeout=aiohttp.ClientTimeout(total=5), data=b"{}",
                most_bytes=most_bytes, into=into,
            )  # fmt: skip

    return asyncio.run(talk())


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_names_the_host_alone(method, status):
    with answering((200, {}, b"{}")) as (other, asked):
        location = f"{other}/secret-path"
        with answering((status, {"Location": location}, b"")) as (url, _):
            answer = fetch(url, method=method)
    assert answer.status == status
    assert asked == []
    assert other.removeprefix("http://") in answer.said
    assert "secret-path" not in answer.said


@pytest.mark.parametrize("location", ["", "//[", "javascript:x", "http://user:pw@evil/x", "http://\x7f/"])
def test_a_redirect_to_nowhere_is_a_sentence_too(location):
    with answering((307, {"Location": location}, b"")) as (url, _):
        answer = fetch(url)
    assert answer.status == 307
    assert "not followed" in answer.said
    assert "pw" not in answer.said


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"x" * 3_000_000),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"0" * 50_000_000)),
        ({"Content-Encoding": "deflate"}, gzip.zlib.compress(b"0" * 50_000_000)),
    ],
)
def test_a_body_larger_than_what_was_asked_for_is_refused_whether_packed_or_not(headers, body, tmp_path):
    with answering((200, headers, body)) as (url, _):
        assert fetch(url).is_too_large
        assert fetch(url, into=tmp_path / "file").is_too_large
    assert (tmp_path / "file").stat().st_size <= 1 << 20


def test_a_packed_body_within_its_bound_is_read_and_a_broken_or_unknown_one_is_an_error():
    with answering((200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}'))) as (url, _):
        assert fetch(url).body == {"a": 1}
    for coding in ("gzip", "br"):
        with answering((200, {"Content-Encoding": coding}, b"{}")) as (url, _):
            assert fetch(url).status == 0
            assert "compressed" in fetch(url).said


def test_the_words_of_a_refusal_are_kept_although_its_body_is_too_large():
    with answering((400, {}, b"no logprobs " + b"x" * 3_000_000)) as (url, _):
        answer = fetch(url)
    assert answer.status == 400
    assert answer.said.startswith("HTTP 400 no logprobs")


@pytest.mark.parametrize("key", [None, "sk-of-the-variable"])
def test_a_password_of_netrc_is_never_sent(key, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("default login someone password netrc-password\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with answering((200, {"Set-Cookie": "a=b"}, b"{}")) as (url, seen):
        assert fetch(url, key=key).status == 200
    assert seen[0].get("Authorization") == (f"Bearer {key}" if key else None)


def test_a_proxy_gets_its_password_and_the_server_is_asked_through_it(monkeypatch):
    with answering((200, {}, b"{}")) as (proxy, seen):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://me:p%40ss@"))
        assert fetch("http://judge.invalid/v1").status == 200
    assert seen[0]["Proxy-Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize("proxy", ["socks5://host:1", "http://user:proxy-password@", "http://host:no", "ht tp://x"])
def test_a_proxy_that_cannot_be_used_is_refused_without_repeating_it(proxy, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(InputError, match="http_proxy") as raised:
        find_proxy("http://judge.invalid/v1")
    assert "proxy-password" not in str(raised.value)


@pytest.mark.parametrize(
    "echo",
    [
        KEY, KEY.upper(), quote(KEY, safe=""), json.dumps(KEY), f"Bearer {KEY}",
        base64.b64encode(f"user:{KEY}".encode()).decode(), base64.b64encode(f":{KEY}".encode()).decode(),
        base64.b64encode(KEY.encode()).decode(),
    ],
)  # fmt: skip
def test_the_key_is_struck_out_in_every_form_in_which_servers_repeat_it(echo):
    struck = ADDRESS.strike(f"before {echo} after")
    assert "***" in struck
    assert "9f8e" not in struck.lower()
    assert struck.endswith("after")
    assert KEY[4:12] not in struck


def test_a_word_that_is_no_secret_key_stays_in_texts():
    address = Address("http://host/v1", "host", "x")
    assert address.strike("a box of x") == "a box of x"
    assert address._replace(key="EMPTY").strike("an EMPTYING") == "an EMPTYING"


def test_the_path_of_an_address_is_never_shown_and_lines_stay_one_line():
    shown = ADDRESS.hide(f"no {ADDRESS.url}\x1b[2J\nPOST /account-canary-5b4a/v1: see http://me:pw@proxy:3128/")
    assert "canary" not in shown
    assert "pw" not in shown
    assert "host:1" in shown
    assert shown.isprintable()


@pytest.mark.parametrize("key", ["sk-1 sk-2", "sk-1\nX-Header: y", "sk-é", "sk-\x00", "clé"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key):
    with pytest.raises(InputError, match="KEY holds no key") as raised:
        read_key("KEY", environ={"KEY": key})
    assert "sk-" not in str(raised.value)
    with pytest.raises(InputError, match="KEY holds no key"):
        find_address(base_url_env="B", api_key_env="KEY", environ={"B": "http://host/v1", "KEY": key})
    with pytest.raises(InputError, match="KEY holds no key"):
        find_vllm_address("http://host", api_key_env="KEY", environ={"KEY": key})


@pytest.mark.parametrize(
    "given", ["", None, 7, "../../x", "a/../b", "a\\..\\b", "a b", "a\nb", "x" * 600, ".", "\ud800"]
)
def test_an_id_that_leads_elsewhere_is_refused(given):
    assert guards.find_id_fault(given)


@pytest.mark.parametrize(
    ("given", "quoted"), [("file-1", "file-1"), ("batches/7", "batches%2F7"), ("a?b#c", "a%3Fb%23c"), ("%2e", "%252e")]
)
def test_an_id_is_one_part_of_an_address(given, quoted):
    assert not guards.find_id_fault(given)
    assert guards.quote_id(given) == quoted


def test_numbers_of_a_server_are_numbers_of_a_size_that_can_be():
    assert [guards.read_count(x) for x in (0, 7, -1, True, 1.0, "7", None, 10**400)] == [0, 7, *[None] * 6]
    assert [guards.read_number(x) for x in (True, "1", None, [])] == [None] * 4
    assert math.isnan(guards.read_number(-(10**400)))
    assert guards.read_number(-1e308) == -1e308
    assert [guards.read_time(x) for x in (1.8e9, 1e300, math.nan, -1, math.inf, 10**400)] == [1.8e9, *[None] * 5]


@pytest.mark.parametrize("told", [99999999999.0, math.inf, math.nan])
def test_a_wait_longer_than_allowed_is_not_waited_for(told):
    assert not asyncio.run(guards.pause(0.0, told_s=told, longest_s=600, who="judge"))


def test_no_other_file_opens_connections_of_its_own():
    root = Path(guards.__file__).parents[2]
    named = ("ClientSession(", "urlopen(", "import requests", "http.client", '.get(f"{self._base}', "session.post(")
    using = {path.name for path in root.rglob("*.py") for name in named if name in path.read_text()}
    assert using <= {"http.py"}
