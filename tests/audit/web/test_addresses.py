"""Any address, filter and form: an answer that a browser can show, never a failure, and nothing of it as markup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from audit_pages import HOME, owner
from hypothesis import given, settings
from hypothesis import strategies as st
from label_visits import HOST, Visit, visiting
from ledger_world import keep_world, make_world
from sheets import make_test_sheet
from starlette.testclient import TestClient

from examples import examples
from rlaif.audit.search import OFFERED, Search
from rlaif.audit.search_index import update_index
from rlaif.audit.web.app import App, Audited
from rlaif.audit.web.filters import KINDS
from rlaif.calibration.sheet import write_sheet
from rlaif.ledger.store import Ledger

MARK = "<zz9 onclick=x>"
"""An element that no page of ours has."""
WORLD = make_world(verdicts=("first", "first"))
ROUTES = [route.path for route in App(Audited(Path("runs"), None, None, "ann")).routes]  # type: ignore[attr-defined]
FILTERS = sorted(
    {*Search._fields, "kind", "run", "principle", "verdict", "after", "format", "id", "says", "reason", "token", "with"}
)
VALUES = sorted(
    {*KINDS, *(value for offered in OFFERED.values() for value in offered), "001", "0", "1", "brief", "first", "csv",
     "html", "jsonl", "parquet", "annotated-pairs", "wrong", "length", WORLD.comparison.id, WORLD.judge.id}
)  # fmt: skip
ODD = [
    MARK,
    f'"{MARK}',
    f"'>{MARK}",
    "{{ 7 * 7 }}",
    "../../etc/passwd",
    "%00",
    "\x00",
    "-1",
    "9" * 30,
    "\u202e",
    "٣",
    '"',
    "*",
]
text = st.one_of(st.sampled_from(VALUES), st.sampled_from(ODD), st.text(max_size=30))
names = st.one_of(st.sampled_from(FILTERS), st.sampled_from(ODD), st.text(max_size=10))
raw = st.one_of(text.map(lambda value: quote(value, safe="")), st.binary(max_size=12).map(quote))
"""A part of an address as a browser sends it; bytes need be no UTF-8."""
queries = st.lists(st.tuples(names.map(lambda name: quote(name, safe="")), raw), max_size=4)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder = tmp_path_factory.mktemp("addresses")
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        keep_world(ledger, WORLD)
        update_index(ledger)
    return owner(folder)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """A path of the route table with anything in its places, or any path, and a query."""
    path = draw(st.one_of(st.sampled_from(ROUTES), raw.map(lambda part: f"/{part}")))
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + draw(raw) + rest.partition("}")[2]
    query = "&".join(f"{name}={value}" for name, value in draw(queries))
    return f"{path}?{query}" if query else path


@settings(max_examples=examples(250))
@given(address=addresses(), method=st.sampled_from(["GET", "GET", "GET", "HEAD", "PUT"]))
def test_any_address_gives_a_page_and_nothing_of_it_is_markup(client: TestClient, address: str, method: str) -> None:
    answer = client.request(method, f"{HOME}{address}", follow_redirects=False)
    assert answer.status_code in (200, 303, 307, 400, 403, 404, 405), address
    assert "content-security-policy" in answer.headers
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert "<zz9" not in answer.text
        assert "\x00" not in answer.text
        assert "54439" not in answer.text, "what was typed was computed"


LISTS = ("/judgements", "/search", "/search/export", "/export", "/disputes", "/principles", "/spot-checks", "/queues")


@pytest.mark.parametrize("address", LISTS)
def test_every_filter_takes_every_odd_value(client: TestClient, address: str) -> None:
    for name in FILTERS:
        for value in ODD:
            format = "format=csv&" if "export" in address else ""
            found = client.get(f"{HOME}{address}?{format}{name}={quote(value, safe='')}")
            assert found.status_code in (200, 400), (name, value)
            assert "<zz9" not in found.text


@settings(max_examples=examples(80))
@given(
    address=addresses(),
    form=st.dictionaries(st.one_of(st.sampled_from(["says", "reason", "note", "seen_seq", "seen_head"]), text), text),
)
def test_any_form_gives_a_page_and_nothing_of_it_is_markup(
    client: TestClient, address: str, form: dict[str, str]
) -> None:
    fields = {name.encode("utf-8", "replace"): value.encode("utf-8", "replace") for name, value in form.items()}
    body = b"&".join(quote(name).encode() + b"=" + quote(value).encode() for name, value in fields.items())
    sent = {"origin": HOME, "content-type": "application/x-www-form-urlencoded"}
    answer = client.request("POST", f"{HOME}{address}", content=body, headers=sent, follow_redirects=False)
    assert answer.status_code in (200, 303, 307, 400, 403, 404, 405), address
    assert "<zz9" not in answer.text


@given(search=st.builds(Search, **dict.fromkeys(Search._fields, st.one_of(st.just(""), text))))
def test_any_search_gives_a_list_or_a_sentence(client: TestClient, search: Search) -> None:
    given = {name: value.encode("utf-8", "replace") for name, value in search._asdict().items() if value}
    query = "&".join(f"{name}={quote(value)}" for name, value in given.items())
    for address in (f"/search?{query}", f"/search/export?format=jsonl&{query}"):
        answer = client.get(f"{HOME}{address}")
        assert answer.status_code in (200, 400), address
        assert "<zz9" not in answer.text


@pytest.fixture(scope="module")
def annotator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("sheet")
    write_sheet(make_test_sheet(3), folder / "sheet.json")
    with visiting(folder, "ann") as (ann,):
        yield ann


@settings(max_examples=examples(60))
@given(
    path=raw,
    form=st.dictionaries(st.sampled_from(["annotator", "item", "place", "action", "note", MARK]), text),
    is_own=st.booleans(),
)
def test_any_address_and_form_of_the_labelling_page_likewise(
    annotator: Visit, path: str, form: dict[str, str], is_own: bool
) -> None:
    fields = {**form, "annotator": "ann"} if is_own else form
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in fields.items()}
    posted = annotator.client.post("/", data=sent, headers={"host": HOST, "origin": f"http://{HOST}"})
    got = annotator.client.get(f"http://{HOST}/{path}", headers={"host": HOST}, follow_redirects=False)
    for answer in (posted, got):
        assert answer.status_code in (200, 303, 400, 403, 404, 405, 409)
        assert "<zz9" not in answer.text
