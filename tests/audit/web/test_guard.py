"""Whom the pages answer: their own host, the token of this start, their own forms, and no more than a form's size."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_pages import HOME, TOKEN, owner, stranger
from ledger_world import keep_world, make_world

from rlaif.audit.web.guard import HEADERS, MAX_BODY, Door, is_loopback
from rlaif.ledger.store import Ledger

WORLD = make_world()
DISPUTE = f"/decision/{WORLD.comparison.id}/dispute"


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, WORLD)
    return tmp_path


def num_disputes(runs_dir: Path) -> int:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        return int(ledger.rows("SELECT count(*) FROM disputes")[0][0])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:8809", "localhost.evil.example:8808", ""])
def test_another_host_is_refused_so_that_no_name_can_be_bound_to_this_machine(runs_dir: Path, host: str) -> None:
    answer = owner(runs_dir).get("/", headers={"host": host})
    assert answer.status_code == 400
    assert "its own address only" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8808", "localhost:8808", "LOCALHOST:8808", "[::1]:8808"])
def test_its_own_names_are_answered(runs_dir: Path, host: str) -> None:
    client = owner(runs_dir)
    client.cookies.set("rlaif_8808", TOKEN, domain="")
    assert client.get("/", headers={"host": host, "cookie": f"rlaif_8808={TOKEN}"}).status_code == 200


@pytest.mark.parametrize("address", ["/", "/judgements", f"/decision/{WORLD.comparison.id}", "/disputes", "/nowhere"])
def test_without_the_token_nothing_is_seen(runs_dir: Path, address: str) -> None:
    client = stranger(runs_dir)
    for cookie in ("", "rlaif_8808=", f"rlaif_8808={'0' * 32}", f"rlaif_8809={TOKEN}", "rlaif_8808=\u00e9", ";;=;"):
        answer = client.get(address, headers={"cookie": cookie.encode("latin-1")})
        assert answer.status_code == 403
        assert "brief" not in answer.text


def test_the_token_leaves_the_address_at_once(runs_dir: Path) -> None:
    answer = stranger(runs_dir).get(f"/enter?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    old = stranger(runs_dir).get("/enter?token=" + "1" * 32, follow_redirects=False)
    assert (old.status_code, "set-cookie" in old.headers) == (403, False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "https://127.0.0.1:8808"},
        {"origin": "http://127.0.0.1:8809"},
        {"origin": HOME, "sec-fetch-site": "cross-site"},
        {"origin": HOME, "sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_stores_nothing(runs_dir: Path, headers: dict[str, str]) -> None:
    before = num_disputes(runs_dir)
    answer = owner(runs_dir).post(DISPUTE, data={"says": "wrong"}, headers=headers)
    assert answer.status_code == 403
    assert num_disputes(runs_dir) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_only_pages_are_read_and_forms_sent(runs_dir: Path, method: str) -> None:
    assert owner(runs_dir).request(method, "/").status_code == 405


def test_a_long_form_is_refused_however_its_length_is_given(runs_dir: Path) -> None:
    client = owner(runs_dir)
    for content in (b"x" * (MAX_BODY + 1), iter([b"x" * 1024] * 65)):
        answer = client.post(DISPUTE, content=content, headers={"origin": HOME})
        assert answer.status_code == 413


@pytest.mark.parametrize("address", ["/", "/nowhere", "/static/app.css", "/judgements?verdict=x", "/enter?token=x"])
def test_every_answer_forbids_scripts_and_sources_from_elsewhere(runs_dir: Path, address: str) -> None:
    for client in (owner(runs_dir), stranger(runs_dir)):
        headers = client.get(address).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in headers


def test_static_files_are_found_by_name_alone(runs_dir: Path) -> None:
    client = owner(runs_dir)
    assert client.get("/static/app.css").headers["content-type"].startswith("text/css")
    for name in ("../guard.py", "%2e%2e/guard.py", "..%2fguard.py", "nothing.js", "%00", "app.css%00.js"):
        assert client.get(f"/static/{name}").status_code == 404, name


def test_a_door_knows_its_own_names() -> None:
    assert Door("0.0.0.0", 80, {}).hosts == {"0.0.0.0:80", "0.0.0.0"}
    assert Door("::1", 8808, {}).address("t") == "http://[::1]:8808/enter?token=t"
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.1")] == [True] * 3 + [
        False
    ] * 2
