"""The owner's pages: sheets with what is certain by now, queues, a search as a file, and a reason that contradicts."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from pathlib import Path

import pytest
from audit_pages import owner, post
from ledger_world import keep_world, make_world
from spot_checks import answer, draw

from rlaif.audit.queue_index import QUEUES
from rlaif.ledger.store import Ledger


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_page_of_sheets_shows_answers_a_bar_and_what_remains(judged: Path) -> None:
    client = owner(Path("runs"))
    assert "No sheet was drawn yet" in words(client.get("/spot-checks").text)
    sheet = draw("--items", "20")
    answer(sheet, choices="1" * 12)
    page = client.get("/spot-checks").text
    said = words(page)
    assert f"Sheet {sheet.id[:12]}" in said
    assert "ann: 12 answered" in said
    assert "Certain by now:" in said
    assert "8 items have no label yet" in said
    assert "12 answers are not in the ledger yet" in said
    assert "rlaif spot-check status sheet.json" in said
    assert 'href="/agreement"' in page
    bar = re.search(r'<rect class="sure open" x="([\d.]+)%" y="8" width="([\d.]+)%"', page)
    assert bar is not None
    low, width = map(float, bar.groups())
    certain = re.search(r"from (\d+\.\d)% to (\d+\.\d)%", said)
    assert certain is not None
    assert low == pytest.approx(float(certain[1]), abs=0.06)
    assert low + width == pytest.approx(float(certain[2]), abs=0.11)


def test_sheets_of_one_run_and_an_unknown_run(judged: Path) -> None:
    sheet = draw("--items", "5", name="<b>.json")
    client = owner(Path("runs"))
    page = client.get("/spot-checks?run=001").text
    assert sheet.id[:12] in page
    assert "<b>.json" not in page
    assert sheet.id[:12] not in client.get("/spot-checks?run=002").text
    assert client.get("/spot-checks?run=009").status_code == 400
    assert client.get("/spot-checks?colour=red").status_code == 400


def test_queues_have_counts_that_are_the_lengths_of_the_lists_behind_them_and_a_command(judged: Path) -> None:
    client = owner(Path("runs"))
    assert "which is not made yet" in words(client.get("/queues").text)
    post(client, "/search/index", {})
    for run in ("", "?run=001", "?run=002"):
        page = client.get(f"/queues{run}").text
        rows = re.findall(r'<a href="(/search\?queue=[^"]*)">(.*?)</a>.*?data-label="Decisions">(\d+)<', page, re.S)
        assert [title for _, title, _ in rows] == [queue.title for queue in QUEUES.values()]
        for address, _, count in rows:
            found = client.get(html.unescape(address)).text
            assert len(re.findall(r'href="/decision/[0-9a-f]{12}"', found)) == int(count)
    assert "rlaif spot-check draw order-flips.json --queue order-flips --items 60 --run 002" in words(page)


def test_what_a_search_finds_is_a_file_in_each_format(judged: Path) -> None:
    client = owner(Path("runs"))
    refused = client.get("/search/export?format=csv")
    assert refused.status_code == 400
    assert "there is no search index" in words(refused.text)
    post(client, "/search/index", {})
    page = client.get("/search?sureness=90-100&run=001").text
    count = len(re.findall(r'href="/decision/', page))
    assert count > 3
    files = dict(re.findall(r'<a href="(/search/export[^"]*format=(?:[a-z-]+))">([a-z-]+)</a>', page))
    got = {name: client.get(html.unescape(address)) for address, name in files.items()}
    assert list(got) == ["csv", "jsonl", "annotated-pairs", "parquet", "html"]
    for answered in got.values():
        assert answered.status_code == 200, words(answered.text)
        assert answered.headers["content-disposition"].startswith("attachment; ")
        assert answered.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(got["csv"].text)))
    assert len(rows) == count
    assert {row["flipped"] for row in rows} == {"false"}
    assert [json.loads(line)["comparison_id"] for line in got["jsonl"].text.splitlines()] == [
        row["comparison_id"] for row in rows
    ]
    assert got["html"].text.count("<section id=") == count
    assert "found by sureness 90-100, run 001" in words(got["html"].text)
    assert "<script" not in got["html"].text


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/search/export?format=doc", "a file has one of these formats"),
        ("/search/export?format=csv&after=3", 'there is no filter "after"'),
        ("/search/export?format=csv&text=nowhere-at-all", "no decision has these traits"),
        ("/search/export?format=html&queue=mine", "no value of the filter queue"),
    ],
)
def test_a_file_that_cannot_be_is_refused(judged: Path, address: str, sentence: str) -> None:
    client = owner(Path("runs"))
    post(client, "/search/index", {})
    refused = client.get(address)
    assert refused.status_code == 400
    assert sentence in words(refused.text)


def test_more_decisions_than_a_file_holds_are_refused_or_cut(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.audit.web.downloads.MAX_EXPORTED", 10)
    monkeypatch.setattr("rlaif.audit.web.search_pages.MAX_DECISIONS", 3)
    client = owner(Path("runs"))
    post(client, "/search/index", {})
    assert "are too many for one answer" in words(client.get("/search/export?format=csv").text)
    page = client.get("/search/export?format=html").text
    assert page.count('<section id="d') == 3
    assert "More decisions pass the filter than this page holds." in page


def test_a_reason_for_the_other_reply_is_a_red_line_on_the_decision_and_an_honest_one_is_none(tmp_path: Path) -> None:
    world, honest = make_world(0), make_world(1)
    turned = [one.changed(reason="Reply B is <b>better</b>. Reply B is better.") for one in world.judgements]
    comparison = world.comparison.changed(judgement_ids=[one.id for one in turned])
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, honest)
        ledger.put_texts([world.template.source])
        ledger.append([world.prompt, *world.samples, world.judge, *world.questions, *turned, comparison])
    client = owner(tmp_path)
    page = client.get(f"/decision/{comparison.id}").text
    (line,) = re.findall(r'<p class="contradiction.*?</p>', page)
    assert "The reason of question 1 argues for B, and its verdict is A." in words(line)
    assert "contradiction" not in client.get(f"/decision/{honest.comparison.id}").text
    assert "argues for B" in client.get(f"/decision/{comparison.id}/page").text


def test_a_question_that_led_to_no_decision_is_shown_and_has_no_dispute(tmp_path: Path) -> None:
    world = make_world(0)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.put_texts([world.template.source, *(p.text for p in world.constitution.principles)])
        ledger.append([world.prompt, *world.samples, world.judge, world.questions[1], world.failure])
    client = owner(tmp_path)
    page = client.get(f"/decision/{world.failure.id}").text
    assert "No decision came of this question" in page
    assert "reply 0-0" in page
    assert 'id="dispute"' not in page
    form = {"says": "wrong", "seen_seq": "0", "seen_head": "0" * 64}
    answered = client.post(
        f"/decision/{world.failure.id}/dispute", data=form, headers={"origin": "http://127.0.0.1:8808"}
    )
    assert answered.status_code == 400
