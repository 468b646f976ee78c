"""A text that must go: out of the ledger's bytes, and named wherever it still is."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledger_world import make_world
from lineage_world import keep_round, make_trained

from rlaif.audit.decision import DecisionView, find_view
from rlaif.audit.listing import list_decisions
from rlaif.audit.redaction import plan_redaction, redact
from rlaif.audit.text_files import find_files, find_parts
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import Sample, digest_text

SECRET = 'my number is 4711-0815, call "Anne" & Bob\nafter five o\'clock é'
WORLD = make_world(0)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_round(ledger, WORLD, make_trained(0), number=0)
        yield ledger


def bytes_of(ledger: Ledger) -> bytes:
    return b"".join(path.read_bytes() for path in ledger.path.parent.glob("ledger.sqlite*"))


@pytest.mark.parametrize("length", [40, 511, 512, 5_000, 90_000])
def test_no_byte_of_a_redacted_text_is_left_in_the_ledger_or_its_log(ledger: Ledger, length: int) -> None:
    text = "".join(f"{number:x}." for number in range(10**9, 10**9 + length))[:length]
    samples = [
        Sample(prompt_id="p", policy_id="q", index=at, finish_reason="stop", text=f"{at} {'x' * at}" if at else text)
        for at in range(300)
    ]
    for at in range(0, len(samples), 10):
        ledger.append(samples[at : at + 10])
    plan = plan_redaction(ledger, [samples[0].id], runs_dir=None)
    done = redact(ledger, plan, reason="private", author="ann")
    assert done.is_out_of_log
    left = bytes_of(ledger)
    assert not any(text[at : at + 30].encode() in left for at in range(0, length - 30, max(1, length // 20)))
    assert verify(ledger).ok
    assert ledger.get(Sample, samples[0].id).text == "[redacted]"  # type: ignore[union-attr]


def test_a_reader_beside_it_is_named_as_the_reason_why_the_log_may_hold_the_text(ledger: Ledger) -> None:
    plan = plan_redaction(ledger, [WORLD.samples[0].id], runs_dir=None)
    with Ledger.open(ledger.path, read_only=True) as reader, reader.snapshot():
        reader.head()
        ledger._connection.set_busy_timeout(10)
        assert not redact(ledger, plan, reason="private", author="ann").is_out_of_log


def test_a_record_is_named_by_its_id_and_loses_all_of_its_texts(ledger: Ledger) -> None:
    judgement = WORLD.judgements[0]
    plan = plan_redaction(ledger, [judgement.id[:16]], runs_dir=None)
    assert [text.digest for text in plan.texts] == list(judgement.text_digests.values())
    redact(ledger, plan, reason="names a person", author="ann")
    assert list_decisions(ledger, "judgements").rows[0][-1] == "[redacted]"


def test_the_view_of_a_decision_says_what_was_redacted_by_whom_and_why(ledger: Ledger) -> None:
    digest = WORLD.prompt.text_digests["messages"] or ""
    redact(ledger, plan_redaction(ledger, [digest], runs_dir=None), reason="a person asked", author="ann")
    view = find_view(ledger, WORLD.comparison.id)
    assert isinstance(view, DecisionView)
    (fact,) = [fact for fact in view.head.facts if fact.name == "redacted"]
    assert fact.text.startswith(f"text {digest}, by ann at 20")
    assert fact.text.endswith(": a person asked")
    assert {order.proof.outcome for order in view.orders} == {"redacted"}


def test_texts_that_repeat_it_and_records_that_hold_it_themselves_are_named(ledger: Ledger) -> None:
    sample = Sample(prompt_id="p", policy_id="q", finish_reason="stop", text=SECRET)
    quoting = WORLD.judgements[0].changed(question_id="q1", reason=f"it says {SECRET}", raw_reply="none of it")
    prompt = WORLD.prompt.changed(messages=({"role": "user", "content": "hello"},), reference=SECRET)
    ledger.append([sample, quoting, prompt])
    plan = plan_redaction(ledger, [sample.id], runs_dir=None)
    assert [(one.where, one.what) for one in plan.repeats] == [
        (f"judgements {quoting.id}: reason", quoting.text_digests["reason"])
    ]
    assert [(one.where, one.what) for one in plan.fixed] == [(f"prompts {prompt.id}", "content")]


def test_models_that_were_trained_on_it_are_named(ledger: Ledger) -> None:
    plan = plan_redaction(ledger, [WORLD.samples[0].id], runs_dir=None)
    assert [one.kind for one in plan.models] == ["reward model", "policy"]
    assert plan_redaction(ledger, [WORLD.judgements[0].id], runs_dir=None).models == ()


def test_sheets_that_show_it_are_named(ledger: Ledger) -> None:
    plan = plan_redaction(ledger, [WORLD.prompt.id], runs_dir=None)
    assert [one.where for one in plan.sheets] == [f"sheet {'0' * 32}", f"sheet {'1' * 32}"]


def test_files_that_hold_it_in_any_of_their_ways_are_named_and_not_changed(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([Sample(prompt_id="p", policy_id="q", finish_reason="stop", text=SECRET)])
    runs = tmp_path / "runs" / "001"
    runs.mkdir(parents=True)
    (runs / "a.jsonl").write_text(json.dumps({"text": SECRET}) + "\n")
    (runs / "b.json").write_text(json.dumps({"text": SECRET}, ensure_ascii=False))
    (runs / "c.html").write_text(SECRET.replace("&", "&amp;").replace('"', "&#34;").replace("'", "&#39;"))
    (runs / "d.txt").write_text(f"drew: {SECRET}")
    pq.write_table(pa.table({"chosen": [[{"role": "assistant", "content": SECRET}]]}), runs / "e.parquet")
    pq.write_table(pa.table({"metadata": [json.dumps({"x": SECRET})]}), runs / "f.parquet")
    (runs / "g.txt").write_text("nothing of it")
    (runs / "h.parquet").write_bytes(b"no table")
    before = {path: path.read_bytes() for path in runs.iterdir()}
    plan = plan_redaction(ledger, [digest_text(SECRET)], runs_dir=tmp_path)
    found = {Path(one.where).name: one.what for one in plan.files}
    assert list(found) == ["a.jsonl", "b.json", "c.html", "d.txt", "e.parquet", "f.parquet", "h.parquet"]
    assert "could not be searched" in found.pop("h.parquet")
    assert set(found.values()) == {""}
    redact(ledger, plan, reason="private", author="ann")
    assert before == {path: path.read_bytes() for path in runs.iterdir()}


def test_a_text_that_is_too_short_is_not_searched_for(ledger: Ledger, tmp_path: Path) -> None:
    sample = Sample(prompt_id="p", policy_id="q", finish_reason="stop", text="yes")
    ledger.append([sample])
    (plan,) = plan_redaction(ledger, [sample.id], runs_dir=tmp_path).texts
    assert not plan.is_searched
    assert find_parts("yes\nno") == ()
    assert find_files(tmp_path, ()) == []


def test_what_cannot_be_redacted_is_refused_in_a_sentence(ledger: Ledger) -> None:
    sample = WORLD.samples[0]
    for name, words in (
        ("xyz", "is no id and no digest"),
        ("0" * 64, "no text has this digest"),
        (WORLD.comparison.id, "no record with a text has an id like"),
    ):
        with pytest.raises(InputError, match=words):
            plan_redaction(ledger, [name], runs_dir=None)
    plan = plan_redaction(ledger, [sample.id], runs_dir=None)
    for reason, words in (("  ", "1 to 2000"), ("x" * 2001, "1 to 2000"), (f"it said {sample.text}", "repeats")):
        with pytest.raises(InputError, match=words):
            redact(ledger, plan, reason=reason, author="ann")
    redact(ledger, plan, reason="private", author="ann")
    with pytest.raises(InputError, match="redacted already, by ann at .*: private"):
        plan_redaction(ledger, [sample.id], runs_dir=None)
