"""What is shown of a decision, of a label and in a list, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ledger_world import keep_world, make_world

from rlaif.audit.decision import DecisionView, find_view
from rlaif.audit.label import LabelView
from rlaif.audit.listing import list_decisions
from rlaif.audit.screen import find_screen
from rlaif.audit.view import Section
from rlaif.ledger.lineage import list_places
from rlaif.ledger.listing import count_listed
from rlaif.ledger.schema import READ_HEAD
from rlaif.ledger.store import Ledger
from rlaif.records import Preference, Use

WORLD = make_world(verdicts=("first", "first"))
FIRST, SECOND = WORLD.samples


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, WORLD)
        yield ledger


def texts(section: Section, name: str) -> list[str]:
    return [fact.text for fact in section.facts if fact.name == name]


def test_a_decision_holds_both_orders_and_each_has_its_proof(ledger: Ledger) -> None:
    view = find_view(ledger, WORLD.comparison.id)
    assert isinstance(view, DecisionView)
    assert view.head.title == f"comparison {WORLD.comparison.id}"
    assert texts(view.head, "p(first is better)") == ["0.7500, logit +1.0986"]
    assert texts(view.head, "order") == ["flipped the verdict"]
    assert texts(view.head, "principle") == ["brief: Prefer the shorter reply."]
    one, other = view.orders
    assert one.section.title == f"order 1: question {WORLD.questions[0].id}"
    assert (texts(one.section, "shown first"), texts(other.section, "shown first")) == ([FIRST.id], [SECOND.id])
    assert texts(one.section, "log-probabilities") == ["first -0.2500, second -1.5000"]
    assert texts(one.section, "reason") == [WORLD.judgements[0].reason]
    assert [order.proof.outcome for order in view.orders] == ["proven", "proven"]


def test_every_record_of_a_decision_opens_the_same_view(ledger: Ledger) -> None:
    expected = find_view(ledger, WORLD.comparison.id)
    for record in (WORLD.judgements[1], WORLD.questions[0], WORLD.failure):
        assert find_view(ledger, record.id) == expected


def test_a_decision_names_the_labels_that_it_went_into_and_a_label_its_decisions(ledger: Ledger) -> None:
    (preference,) = (record for record in WORLD.records if isinstance(record, Preference))
    decision, label = find_view(ledger, WORLD.comparison.id), find_view(ledger, preference.id)
    assert isinstance(decision, DecisionView)
    assert isinstance(label, LabelView)
    assert [fact.text for fact in decision.labels] == [f"preference {preference.id}, label 0.7500"]
    assert [section.title for section in label.comparisons] == [decision.head.title]
    assert texts(label.comparisons[0], "says") == ["p 0.7500, logit +1.0986"]
    assert label.steps[-1].text == "0.7500"


def test_evidence_that_the_ledger_lost_is_named_in_its_place(tmp_path: Path) -> None:
    preference = Preference(
        prompt_id=WORLD.prompt.id, sample_ids=(FIRST.id, SECOND.id), label=0.75, evidence_ids=("0" * 32,)
    )
    with Ledger.open(tmp_path / "other.sqlite") as ledger:
        ledger.append([preference])
        view = find_view(ledger, preference.id)
    assert isinstance(view, LabelView)
    assert [texts(section, "comparison") for section in view.comparisons] == [[f"{'0' * 32} is not in the ledger"]]


def test_a_list_is_a_table_of_texts_with_the_key_of_its_next_page(ledger: Ledger) -> None:
    page = list_decisions(ledger, "judgements", limit=1)
    assert page.columns == ("key", "judgement", "principle", "verdict", "label mass", "reason")
    assert [row[1:5] for row in page.rows] == [(WORLD.judgements[0].id[:12], "brief", "first", "1.000")]
    last = list_decisions(ledger, "judgements", after=page.next_key or 0)
    assert [row[1] for row in last.rows] == [WORLD.judgements[1].id[:12]]
    assert last.next_key is None


def test_flipped_pairs_and_failed_answers_have_lists_of_their_own(ledger: Ledger) -> None:
    (flipped,) = list_decisions(ledger, "flipped").rows
    assert flipped[1:5] == (WORLD.comparison.id[:12], "brief", "0.750", "+0.50")
    (failed,) = list_decisions(ledger, "failed").rows
    assert failed[1:] == (WORLD.failure.id[:12], "brief", "unparsable", "1", "hm 0")


@pytest.mark.parametrize("is_kept", [True, False], ids=["whole", "without the principle's text"])
def test_a_page_reads_no_table_from_end_to_end(tmp_path: Path, is_kept: bool) -> None:
    statements: list[tuple[str, Any]] = []
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        if is_kept:
            keep_world(ledger, WORLD)
        else:
            ledger.append(WORLD.records)
        connection = ledger._connection
        connection.exec_trace = lambda _, sql, bindings: statements.append((sql, bindings)) or True
        find_screen(ledger, WORLD.comparison.id)
        count_listed(ledger.rows, run="001")
        list_places(ledger, "001")
        connection.exec_trace = None
        for sql, bindings in statements:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
            scans = [step for step in plan if step.startswith("SCAN") and step != "SCAN CONSTANT ROW"]
            # a head is the last row of each table
            assert sql == READ_HEAD or not [step for step in scans if "json_each" not in step], (sql, plan)
    assert len(statements) > 30


def test_the_places_of_a_run_come_once_each_and_in_order(tmp_path: Path) -> None:
    places = [(0, "2_samples"), (0, "3_judgements"), (1, "1_prompts"), (10, "1_prompts"), (2, "3_judgements")]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append(
            Use(run=run, round=number, stage=stage, record_table="judgements", record_id=str(n))
            for run in ("001", "002") for n in range(3) for number, stage in (places if run == "001" else places[:1])
        )  # fmt: skip
        assert [place[1:] for place in list_places(ledger, "001")] == sorted(places)
        assert list_places(ledger, "003") == []
