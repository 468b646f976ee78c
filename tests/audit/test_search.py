"""Decisions found by words in their texts and by what judge and people said of them, and the index behind that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest
from ledger_world import keep_world, make_world

from rlaif.audit.search import Search, check_search, find_decisions
from rlaif.audit.search_index import count_new, discard_index, index_path, open_index, read_state, update_index
from rlaif.errors import InputError, LedgerError
from rlaif.ledger.store import Ledger
from rlaif.records import Use

WORLDS = [make_world(number, verdicts=("first", "first" if number % 2 else "second")) for number in range(6)]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for world in WORLDS:
            keep_world(ledger, world)
        for number, world in enumerate(WORLDS):
            use = Use(
                run="001", round=number // 3, stage="3_judgements", record_table="comparisons",
                record_id=world.comparison.id,
            )  # fmt: skip
            ledger.append([use])
        yield ledger


def found(ledger: Ledger, **wanted: str) -> list[int]:
    """The numbers of the worlds whose decision is found."""
    ids = [world.comparison.id[:12] for world in WORLDS]
    return [ids.index(row[1]) for row in find_decisions(ledger, Search(**wanted)).listing.rows]


def test_words_are_found_in_conversation_replies_and_reasons(ledger: Ledger) -> None:
    update_index(ledger)
    assert found(ledger, text="desk 4") == [4]
    assert found(ledger, text="reply 2") == [2]
    reason = (WORLDS[0].judgements[0].reason or "").split()[0]
    assert found(ledger, text=reason) == list(range(6))
    assert found(ledger, text="desk nowhere") == []


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "desk OR 1",
        "NEAR(a b)",
        "re*",
        "upstairs AND",
        "{ }",
        "-desk",
        "conversation:desk",
        "';--",
        "\x00",
        "desk\x00nowhere",
    ],
)
def test_what_is_typed_is_never_read_as_a_query(ledger: Ledger, text: str) -> None:
    update_index(ledger)
    assert found(ledger, text=text) == [] or text in ("-desk", "\x00")


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"principle": "brief"}, [0, 1, 2, 3, 4, 5]),
        ({"principle": "kind"}, []),
        ({"flipped": "yes"}, [1, 3, 5]),
        ({"flipped": "no"}, [0, 2, 4]),
        ({"sureness": "75-90"}, [0, 1, 2, 3, 4, 5]),
        ({"sureness": "50-60"}, []),
        ({"people": "agree"}, [0, 1, 2, 3, 4, 5]),
        ({"people": "disagree"}, []),
        ({"mode": "pair"}, [0, 1, 2, 3, 4, 5]),
        ({"mode": "score"}, []),
        ({"run": "001", "round": "1"}, [3, 4, 5]),
        ({"round": "0"}, [0, 1, 2, 3, 4, 5]),
        ({"run": "002"}, []),
        ({"judge": WORLDS[0].judge.id, "flipped": "yes", "text": "desk 3"}, [3]),
        ({"text": "desk", "run": "001", "round": "1"}, [3, 4, 5]),
        ({"text": "desk", "round": "1", "flipped": "yes"}, [3, 5]),
        ({"text": "desk", "run": "002"}, []),
    ],
)
def test_every_filter_leaves_out_what_it_should(ledger: Ledger, wanted: dict[str, str], numbers: list[int]) -> None:
    update_index(ledger)
    assert found(ledger, **wanted) == numbers


def test_a_decision_that_two_runs_used_is_found_once(ledger: Ledger) -> None:
    used = {"stage": "3_judgements", "record_table": "comparisons", "record_id": WORLDS[1].comparison.id}
    ledger.append([Use(run="002", round=0, **used), Use(run="002", round=1, **used)])
    update_index(ledger)
    assert found(ledger, run="002") == [1] == found(ledger, run="002", text="desk")


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"text": "desk"},
        {"run": "001"},
        {"round": "1"},
        {"run": "001", "round": "1"},
        {"text": "desk", "round": "1"},
        {"text": "desk", "run": "001", "people": "agree"},
        {"judge": "another"},
        {"mode": "score"},
        {"principle": "kind"},
    ],
)
def test_a_page_is_read_in_the_order_of_its_places_and_not_sorted(
    ledger: Ledger, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    update_index(ledger)
    with apsw.Connection(str(index_path(ledger.path))) as index:
        plans: list[str] = []

        def keep_plan(_: object, sql: str, bindings: Any) -> bool:
            if not sql.startswith("EXPLAIN"):
                plans.extend(row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {sql}", bindings))
            return True

        traced = open_index(ledger)
        traced.exec_trace = keep_plan
        monkeypatch.setattr("rlaif.audit.search.open_index", lambda _: traced)
        find_decisions(ledger, Search(**wanted))
    scans = [step for step in plans if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
    assert scans == []
    assert not [step for step in plans if "ORDER BY" in step], plans
    assert len(plans) >= 6


def test_people_who_choose_the_other_reply_are_found_after_their_label_came(ledger: Ledger) -> None:
    update_index(ledger)
    label = next(record for record in WORLDS[2].records if record.table == "human_labels")
    ledger.append([label.changed(choice="second", replaces=label.id, note="seen again")])
    assert found(ledger, people="disagree") == []
    update_index(ledger)
    assert found(ledger, people="disagree") == [2]


def test_pages_follow_one_another(ledger: Ledger) -> None:
    update_index(ledger)
    first = find_decisions(ledger, Search(), limit=4).listing
    assert first.next_key is not None
    rest = find_decisions(ledger, Search(), after=first.next_key, limit=4).listing
    assert (len(first.rows), len(rest.rows), rest.next_key) == (4, 2, None)


def test_the_index_follows_the_ledger_and_reads_a_decision_once(ledger: Ledger) -> None:
    reported: list[int] = []
    assert read_state(ledger) is None
    assert count_new(ledger) == 6
    update_index(ledger, report=reported.append)
    keep_world(ledger, make_world(7))
    assert count_new(ledger) == 1
    update_index(ledger, report=reported.append)
    update_index(ledger, report=reported.append)
    assert reported == [6, 1]


def test_after_a_redaction_the_index_is_made_again_without_the_text(ledger: Ledger) -> None:
    update_index(ledger)
    sample = WORLDS[1].samples[0]
    digest = sample.text_digests["text"]
    assert digest is not None
    ledger.redact_text(digest, reason="private", author="ann", at="2026-01-01T00:00:00Z")
    assert read_state(ledger) is None
    update_index(ledger)
    assert found(ledger, text=sample.text.split("\n")[0]) == []
    assert sample.text.encode() not in index_path(ledger.path).read_bytes()


def test_an_index_of_another_ledger_is_not_used(ledger: Ledger, tmp_path: Path) -> None:
    update_index(ledger)
    with Ledger.open(tmp_path / "other.sqlite") as other:
        keep_world(other, make_world(9))
        index_path(ledger.path).rename(index_path(other.path))
        assert read_state(other) is None
        update_index(other)
        assert len(find_decisions(other, Search()).listing.rows) == 1


@pytest.mark.parametrize("content", [b"my notes, not an index", None])
def test_a_file_of_somebody_else_is_refused_and_kept(ledger: Ledger, content: bytes | None) -> None:
    path = index_path(ledger.path)
    if content is None:
        import apsw

        with apsw.Connection(str(path)) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    for act in (read_state, update_index):
        with pytest.raises(LedgerError):
            act(ledger)
    with pytest.raises(LedgerError):
        discard_index(ledger.path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "wanted",
    [{"people": "x"}, {"sureness": "1"}, {"longer": "x"}, {"flipped": "1"}, {"round": "-1"}, {"text": "a " * 21}],
)
def test_a_value_that_no_filter_has_is_refused(wanted: dict[str, str]) -> None:
    with pytest.raises(InputError):
        check_search(Search(**wanted))
