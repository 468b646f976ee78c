"""Decisions as one HTML page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ledger_world import make_world
from lineage_world import find_preference, keep_round, make_trained

from rlaif.audit.decision_page import DecisionPage, collect_page, render_page
from rlaif.audit.decision_rows import Filter
from rlaif.audit.redaction import plan_redaction, redact
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import Sample

WORLDS = [make_world(0), make_world(1, verdicts=("first", "first"))]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\u202eright\u0000\x1b[31m</p>'\"&"


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for number, world in enumerate(WORLDS):
            keep_round(ledger, world, make_trained(number), number=number)
        yield ledger


def collect(ledger: Ledger, *ids: str, filter: Filter = Filter(), limit: int = 20) -> DecisionPage:  # noqa: B008
    return collect_page(ledger, ids, filter, limit=limit, at="now", find_fraction=lambda run: 0.0)


def test_a_page_of_one_decision_answers_what_was_asked_said_and_made_of_it(ledger: Ledger) -> None:
    page = render_page(collect(ledger, WORLDS[0].comparison.id))
    assert "<h1>The judge prefers A, with 75.0\u202f%</h1>" in page
    for said in (
        "Prefer the shorter reply.", "reply 0-0", "reply 0-1", WORLDS[0].judgements[0].reason,
        "A is preferred, with 75.0", "Proven: sha256 matches", find_preference(WORLDS[0]).id,
        "trained against that reward model",
        ledger.head().hex,
    ):  # fmt: skip
        assert said is not None
        assert said in page


def test_every_id_of_a_decision_and_of_its_label_leads_to_the_same_entry(ledger: Ledger) -> None:
    world = WORLDS[0]
    expected = collect(ledger, world.comparison.id).screens
    for record in (world.judgements[1], world.questions[0], world.failure, find_preference(world)):
        screens = collect(ledger, record.id).screens
        assert [screen.id for screen in screens] == [screen.id for screen in expected]


def test_a_filtered_page_lists_its_decisions_and_says_where_more_pass(ledger: Ledger) -> None:
    both, one = collect(ledger), collect(ledger, limit=1)
    assert [screen.id for screen in both.screens] == [world.comparison.id for world in WORLDS]
    assert f'<a href="#d{WORLDS[1].comparison.id}">' in render_page(both)
    assert (both.num_left, one.num_left) == (0, 1)
    assert "More decisions pass the filter" in render_page(one)
    flipped = collect(ledger, filter=Filter(flipped=True))
    assert [screen.id for screen in flipped.screens] == [WORLDS[1].comparison.id]


def test_a_page_has_no_script_loads_nothing_and_shows_hidden_characters(ledger: Ledger) -> None:
    world = make_world(2)
    sample = world.samples[0].changed(text=HOSTILE)
    question = world.questions[0].changed(sample_ids=(sample.id, world.samples[1].id))
    judgement = world.judgements[0].changed(question_id=question.id, reason=HOSTILE, raw_reply=HOSTILE)
    ledger.append([world.prompt, *world.samples, sample, question, judgement])
    page = render_page(collect(ledger, judgement.id))
    assert "<script" not in page
    assert "<img" not in page
    assert "{{ 7*7 }}" in page
    assert not re.search("[\u202e\u0000\x1b]", page)
    assert 'class="ctl">U+202E</span>' in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page


def test_a_redacted_reply_is_redacted_on_the_page_and_its_reason_is_there(ledger: Ledger) -> None:
    sample = WORLDS[0].samples[0]
    redact(ledger, plan_redaction(ledger, [sample.id], runs_dir=None), reason="a person asked", author="ann")
    page = render_page(collect(ledger, WORLDS[0].comparison.id))
    assert sample.text.splitlines()[0] not in page
    assert "a person asked" in page
    assert '<div class="text" dir="auto">[redacted]</div>' in page


def test_a_decision_that_people_made_is_no_decision_of_a_judge(ledger: Ledger) -> None:
    made = find_preference(WORLDS[0]).changed(source="human", evidence_ids=("0" * 32,))
    ledger.append([made])
    with pytest.raises(InputError, match="people decided"):
        collect(ledger, made.id)


def test_a_filter_that_nothing_passes_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no comparison passes the filter"):
        collect(ledger, filter=Filter(verdict="second"))


def test_a_lone_question_without_a_comparison_has_its_replies_and_no_winner(tmp_path: Path) -> None:
    world = make_world(0)
    with Ledger.open(tmp_path / "lone.sqlite") as ledger:
        ledger.append([world.prompt, *world.samples, world.questions[1], world.failure])
        assert isinstance(ledger.get(Sample, world.samples[0].id), Sample)
        (screen,) = collect(ledger, world.failure.id).screens
    assert screen.title == "No decision came of this question"
    assert [reply.is_better for reply in screen.replies] == [False, False]
