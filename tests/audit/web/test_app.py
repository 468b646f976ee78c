"""The pages of the audit app, over a ledger with one disputed decision and over a judged run."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audit_pages import owner, post
from ledger_world import World, keep_world, make_world
from recorded_run import make_recorded_run

from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import Dispute, Prompt, Sample, SignOff

WORLD = make_world(verdicts=("first", "first"))


def store(folder: Path, world: World) -> Path:
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        keep_world(ledger, world)
    return folder


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return store(tmp_path, WORLD)


def words(page: str) -> str:
    """The text that a page shows."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def test_a_decision_answers_four_questions_on_one_page(runs_dir: Path) -> None:
    page = owner(runs_dir).get(f"/decision/{WORLD.comparison.id}").text
    said = words(page)
    for question in (
        "What was asked?",
        "What did each order say?",
        "How did the label come about?",
        "Where did it go?",
    ):
        assert question in said
    assert "The judge prefers A, with 75.0" in said
    assert "changes its mind with the order" in said
    assert said.count("Proven: sha256 matches") == 2
    assert "Prefer the shorter reply." in said
    assert "ann chose A" in said, "a label drawn blind"
    assert "ann : wrong, length decided" in said, "a dispute"
    assert "is preferred, with 75.0" in said, "its label"


@pytest.mark.parametrize("number", range(4))
def test_every_record_of_a_decision_opens_it(runs_dir: Path, number: int) -> None:
    record = (WORLD.judgements[0], WORLD.judgements[1], WORLD.questions[1], WORLD.failure)[number]
    assert "The judge prefers A" in words(owner(runs_dir).get(f"/decision/{record.id[:16]}").text)


def test_a_dispute_is_kept_with_author_time_and_the_head_that_was_seen(runs_dir: Path) -> None:
    client = owner(runs_dir, author="bea")
    address = f"/decision/{WORLD.comparison.id}"
    page = client.get(address).text
    form = {"says": "wrong", "reason": "backwards", "note": "it asks for <b>brevity</b>"}
    after = post(client, f"{address}/dispute", form | {n: hidden(page, n) for n in ("seen_seq", "seen_head")})
    assert "bea : wrong, read it backwards" in words(after)
    assert "it asks for &lt;b&gt;brevity&lt;/b&gt;" in after
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        ids = [row[0] for row in ledger.rows("SELECT id FROM disputes ORDER BY seq")]
        stored = ledger.find(Dispute, ids)[ids[-1]]
        assert verify(ledger).ok
        assert ledger.head_at(stored.seen_seq) == stored.seen_head == hidden(page, "seen_head")
    assert (stored.author, stored.says, stored.reason) == ("bea", "wrong", "backwards")
    assert stored.observed.at


def test_disputes_are_found_by_what_they_say_and_count_for_principles(runs_dir: Path) -> None:
    client = owner(runs_dir)
    said = words(client.get("/disputes?says=wrong&reason=length").text)
    assert WORLD.comparison.id[:12] in said
    assert "brief 0 1 0" in said
    assert "Nobody has disputed a decision with these traits" in words(client.get("/disputes?says=right").text)


def test_the_first_page_says_which_rows_somebody_signed_and_that_nobody_vouches_for_the_rest(runs_dir: Path) -> None:
    assert "Nobody vouches for any row" in words(owner(runs_dir).get("/").text)
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        seq, head = ledger.head()
        ledger.append([SignOff(seq=seq, head=head, signer="<bob>", at="2026", text="t", signature="s")])
    said = owner(runs_dir).get("/").text
    assert f"rows 1 to {seq} by &lt;bob&gt;" in said
    assert f"Nobody vouches for rows after {seq}" in words(said)


def test_decisions_are_searched_once_an_index_is_made(runs_dir: Path) -> None:
    client = owner(runs_dir)
    assert "There is no index yet" in words(client.get("/search").text)
    post(client, "/search/index", {})
    said = words(client.get("/search?text=desk&people=agree&flipped=yes").text)
    assert WORLD.comparison.id[:12] in said
    assert "No decision has these traits" in words(client.get("/search?text=nowhere").text)
    assert "Make it by rlaif audit search" not in said
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        keep_world(ledger, make_world(3))
    assert "1 decision came since" in words(client.get("/search").text)
    assert "came since" not in words(post(client, "/search/index", {}))


@pytest.mark.parametrize("name", ["csv", "jsonl", "annotated-pairs", "parquet"])
def test_the_comparisons_of_a_list_are_a_file_in_each_format(runs_dir: Path, name: str) -> None:
    client = owner(runs_dir)
    (address,) = re.findall(rf'href="(/export[^"]*format={name})"', client.get("/judgements?kind=flipped").text)
    answer = client.get(html.unescape(address))
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="comparisons.')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert WORLD.samples[0].id.encode() in answer.content or name == "annotated-pairs"


def test_a_decision_is_one_file_for_a_colleague(runs_dir: Path) -> None:
    client = owner(runs_dir)
    answer = client.get(f"/decision/{WORLD.comparison.id}/page")
    assert answer.headers["content-disposition"] == f'attachment; filename="decision-{WORLD.comparison.id[:12]}.html"'
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "Prefer the shorter reply." in answer.text


def test_agreement_shows_the_rounds_card_and_opens_the_decisions_behind_each_count(runs_dir: Path) -> None:
    client = owner(runs_dir)
    said = words(client.get("/agreement").text)
    assert "A calibration that no round used" in said
    assert "The judge as it was, with the simulated annotator 50.0" in said
    post(client, "/search/index", {})
    page = client.get("/agreement").text
    assert "brief 1 0 0" in words(page)
    opened = client.get(html.unescape(re.findall(r'href="(/search\?people=agree[^"]*)"', page)[0])).text
    assert WORLD.comparison.id[:12] in opened


def test_a_principle_has_its_wordings_and_what_was_decided_under_it(runs_dir: Path) -> None:
    said = words(owner(runs_dir).get("/principles").text)
    assert "brief Decisions 1 Changed with the order 1 Failed answers 1 Called wrong, of those disputed 1 of 1" in said
    assert "Prefer the shorter reply." in said
    assert "short, weight 1, file" in said
    assert "certified as better by people (1 of 1 flips labelled, run 001)" in said


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"says": "maybe"}, '"maybe" is nothing that a dispute can say'),
        ({"says": "wrong", "reason": "mood"}, '"mood" is no reason of a dispute'),
        ({"says": "wrong", "note": "x" * 2001}, "a note holds at most 2000 characters"),
        ({"says": "wrong", "seen_head": "0" * 64}, "the page was made from another ledger"),
        ({}, "is nothing that a dispute can say"),
    ],
)
def test_a_form_that_no_page_has_is_refused_in_a_sentence(runs_dir: Path, form: dict[str, str], sentence: str) -> None:
    client = owner(runs_dir)
    address = f"/decision/{WORLD.comparison.id}"
    page = client.get(address).text
    whole = {n: hidden(page, n) for n in ("seen_seq", "seen_head")} | form
    answer = client.post(f"{address}/dispute", data=whole, headers={"origin": "http://127.0.0.1:8808"})
    assert answer.status_code == 400
    assert sentence in words(answer.text)


def test_without_an_author_nothing_can_be_stored(runs_dir: Path) -> None:
    client = owner(runs_dir, author="")
    address = f"/decision/{WORLD.comparison.id}"
    assert "<form method=" not in client.get(address).text
    answer = client.post(f"{address}/dispute", data={"says": "wrong"}, headers={"origin": "http://127.0.0.1:8808"})
    assert "nothing can be written here" in words(answer.text)


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/judgements?colour=red", 400, 'there is no filter "colour"'),
        ("/judgements?kind=all", 400, 'there is no list "all"'),
        ("/judgements?verdict=third", 400, '"third" is no verdict'),
        ("/judgements?kind=failed&verdict=tie", 400, "a failed answer has no verdict"),
        ("/judgements?after=-1", 400, '"-1" is no place in the list'),
        ("/judgements?after=99999999999999999999", 400, "is no place in the list"),
        ("/judgements?principle=kind", 400, 'no decision in this ledger has the principle "kind"'),
        ("/judgements?run=009", 400, 'no decision in this ledger has the run "009"'),
        ("/decision/ffff", 400, "no comparison, judgement or question has an id that begins with ffff"),
        ("/decision/%3Cscript%3E", 400, '"<script>" is no id'),
        ("/decision?id=", 400, "no id was given"),
        ("/export?format=doc", 400, "a file has one of these formats"),
        ("/export?format=csv&kind=failed", 400, "failed answers are no comparisons"),
        ("/export?format=csv&principle=kind", 400, "no comparison passes the filter"),
        ("/search?colour=red", 400, 'there is no filter "colour"'),
        ("/search?people=x", 400, '"x" is no value of the filter people'),
        ("/search?after=x", 400, '"x" is no place in the list'),
        ("/principles?run=009", 400, 'no run "009" used a decision in this ledger'),
        ("/runs/none", 400, 'there is no run "none"'),
        ("/disputes?colour=red", 400, 'there is no filter "colour"'),
        ("/disputes?says=maybe", 400, '"maybe" is nothing that a dispute says'),
        ("/disputes?reason=taste", 400, '"taste" is no reason of a dispute'),
        ("/disputes?before=x", 400, '"x" is no place in the list'),
        ("/nowhere", 404, "there is no such page"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_what_to_do(
    runs_dir: Path, address: str, status: int, sentence: str
) -> None:
    answer = owner(runs_dir).get(address)
    assert answer.status_code == status
    assert sentence in words(answer.text)
    assert "To the first page" in answer.text


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a judged one, whose responses and verdicts were brought along."""
    return make_recorded_run(tmp_path_factory.mktemp("judged"))


def test_lists_have_an_address_for_each_page(judged: Path) -> None:
    client = owner(judged)
    first = client.get("/judgements?run=001").text
    ids = re.findall(r'href="/decision/([0-9a-f]{12})"', first)
    assert len(ids) == 50
    following = re.search(r'<a href="([^"]*)" rel="next">', first)
    assert following is not None
    second = client.get(html.unescape(following[1])).text
    assert not set(ids) & set(re.findall(r'href="/decision/([0-9a-f]{12})"', second))
    assert client.get(f"/decision/{ids[0]}").status_code == 200


def test_runs_are_listed_with_what_each_stage_kept_and_a_damaged_one_hides_no_other(
    judged: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(judged, tmp_path / "runs")
    client = owner(folder)
    assert "judgements" in words(client.get("/runs/001").text)
    (folder / "002").mkdir()
    (folder / "002" / "order").write_text("2")
    (folder / "002" / "config.json").write_text("{")
    said = words(client.get("/").text)
    assert "001" in said
    assert "002" in said


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}\u202e\x1b[31m\x00"


def test_texts_of_models_and_data_sets_are_shown_and_never_run(tmp_path: Path) -> None:
    prompt = Prompt(messages=(WORLD.prompt.messages[0].model_copy(update={"content": HOSTILE}),))
    store(tmp_path, WORLD)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        one, other = (
            sample.changed(prompt_id=prompt.id, text=f"{n} {HOSTILE}") for n, sample in enumerate(WORLD.samples)
        )
        assert isinstance(one, Sample)
        pair = sorted((one.id, other.id))
        comparison = WORLD.comparison.changed(prompt_id=prompt.id, sample_ids=pair)
        questions = [
            q.changed(prompt_id=prompt.id, sample_ids=p)
            for q, p in zip(WORLD.questions, (pair, pair[::-1]), strict=True)
        ]
        judgements = [
            j.changed(question_id=q.id, reason=f'it says "{HOSTILE[:20]}"', raw_reply=HOSTILE)
            for j, q in zip(WORLD.judgements, questions, strict=True)
        ]
        comparison = comparison.changed(judgement_ids=[j.id for j in judgements])
        ledger.append([prompt, one, other, *questions, *judgements, comparison])
    page = owner(tmp_path).get(f"/decision/{comparison.id}").text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    for hidden_character in ("\u202e", "\x1b", "\x00"):
        assert hidden_character not in page
    assert "U+202E" in page


def test_the_app_loads_no_training_library() -> None:
    loaded = "import sys, rlaif.audit.web.app; print(*{'torch', 'transformers', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [], "they take three times the memory that pages need"
