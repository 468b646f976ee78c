"""Every filter finds its rows through an index; the listing is that of the rows, however they were appended."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from ledger_world import keep_world, make_judgement, make_world

from rlaif.ledger.listing import Group, count_listed
from rlaif.ledger.queries import list_comparisons, list_failures, list_judgements
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import FailedJudgement, PrincipleKey, Question, Record, Use, Verdict

VERDICTS: tuple[Verdict, ...] = ("first", "second", "tie")


def make_records(number: int, *, principles: tuple[str, ...], rng: random.Random) -> list[Record]:
    """A question, its answer or failure, a comparison, and now and then their use by a run."""
    world = make_world()
    asked = tuple(PrincipleKey(id=name, text_digest=name) for name in principles)
    question = world.questions[0].changed(draw=number, principles=asked)
    if rng.random() < 0.2:
        cause = rng.choice(("empty", "refused"))
        return [question, FailedJudgement(question_id=question.id, cause=cause)]
    judgement = make_judgement(question.id, rng.choice(VERDICTS))
    comparison = world.comparison.changed(
        judgement_ids=(judgement.id,), principle=asked[0], p_first=rng.choice((0.2, 0.5, 0.9)),
        flipped=rng.choice((True, False, None)),
    )  # fmt: skip
    records: list[Record] = [question, judgement, comparison]
    if rng.random() < 0.5:
        run = rng.choice(("001", "002"))
        records += [Use(run=run, round=0, stage="s", record_table=r.table, record_id=r.id) for r in records[1:]]
    return records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 decisions, appended in groups of any size, some across two openings."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    rng = random.Random(3)
    names = (("brief",), ("kind",), ("brief", "kind"))
    records = [r for n in range(300) for r in make_records(n, principles=rng.choice(names), rng=rng)]
    while records:
        with Ledger.open(path) as ledger:
            for _ in range(8):
                size = rng.randint(1, 30)
                ledger.append(records[:size])
                records = records[size:]
    return path


FILTERS = [
    dict(zip(("principle", "verdict", "run"), values, strict=True))
    for values in itertools.product((None, "brief", "kind", "none"), (None, *VERDICTS), (None, "001", "002", "003"))
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_every_combination_of_filters_lists_what_a_plain_search_finds(path: Path, filters: dict[str, Any]) -> None:
    with Ledger.open(path, read_only=True) as ledger:
        everything = list_judgements(ledger, limit=1000).lines
        used = set(ledger.rows("SELECT run, record_id FROM uses"))
        expected = [
            line.key
            for line in everything
            if line.question is not None
            and filters["principle"] in (None, *(principle.id for principle in line.question.principles))
            and filters["verdict"] in (None, line.judgement.verdict)
            and (filters["run"] is None or (filters["run"], line.judgement.id) in used)
        ]
        found, after = [], 0
        while (page := list_judgements(ledger, **filters, after=after, limit=7)).lines:
            found += [line.key for line in page.lines]
            after = page.lines[-1].key
            assert page.next_key == (after if len(page.lines) == 7 else None)
    assert found == expected


def test_flipped_comparisons_and_causes_are_listed_as_a_plain_search_finds_them(path: Path) -> None:
    with Ledger.open(path, read_only=True) as ledger:
        every = [line.comparison for line in list_comparisons(ledger, limit=1000).lines]
        for flipped, verdict in itertools.product((None, True, False), (None, *VERDICTS)):
            found = [c.comparison for c in list_comparisons(ledger, flipped=flipped, verdict=verdict, limit=1000).lines]
            assert found == [
                c
                for c in every
                if flipped in (None, c.flipped)
                and verdict in (None, "tie" if c.p_first == 0.5 else "first" if c.p_first > 0.5 else "second")
            ]
        failures = [line.failure for line in list_failures(ledger, limit=1000).lines]
        found_failures = [line.failure for line in list_failures(ledger, cause="empty", limit=1000).lines]
        assert found_failures == [failure for failure in failures if failure.cause == "empty"]
        assert 0 < len(found_failures) < len(failures)


def test_no_filter_makes_a_statement_scan_a_table(path: Path) -> None:
    with Ledger.open(path, read_only=True) as ledger:
        statements: list[tuple[str, Any]] = []
        connection = ledger._connection
        prompt_id = make_world().prompt.id
        for table_of in (list_judgements, list_comparisons, list_failures):
            connection.exec_trace = lambda _, sql, bindings: statements.append((sql, bindings)) or True
            for filters in ({}, {"principle": "brief"}, {"run": "001", "principle": "kind"}, {"prompt_id": prompt_id}):
                table_of(ledger, **filters)
            connection.exec_trace = None
        for sql, bindings in statements:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
            scans = [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
            # the groups are few, and a page without filters walks along its table's own key
            walks = re.search(r"FROM (judgements|comparisons|failed_judgements) WHERE seq > \? ORDER BY seq", sql)
            assert not scans or walks or all(step == "SCAN CONSTANT ROW" for step in scans), (sql, plan)
    assert len(statements) > 30


def test_an_answer_that_came_before_its_question_is_listed_under_no_principle(tmp_path: Path) -> None:
    world = make_world()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([world.judgements[0], world.questions[0]])
        assert list_judgements(ledger, principle="brief").lines == []
        assert len(list_judgements(ledger, verdict="first").lines) == 1
        assert verify(ledger).ok


def test_a_commit_that_failed_leaves_nothing_in_the_listing(tmp_path: Path) -> None:
    world = make_world()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        with apsw.Connection(str(tmp_path / "ledger.sqlite")) as other:
            other.execute("CREATE TRIGGER no BEFORE INSERT ON uses BEGIN SELECT raise(ABORT, 'no'); END")
        use = Use(run="001", round=0, stage="s", record_table="judgements", record_id=world.judgements[0].id)
        with pytest.raises(Exception, match="no"):
            ledger.append([world.questions[0], world.judgements[0], use])
        with apsw.Connection(str(tmp_path / "ledger.sqlite")) as other:
            other.execute("DROP TRIGGER no")
        ledger.append([world.judgements[0], use])
        assert list_judgements(ledger, principle="brief").lines == [], "its question was rolled back"
        assert len(list_judgements(ledger, run="001").lines) == 1
        assert verify(ledger).ok


def remove_listing(path: Path) -> None:
    file = apsw.Connection(str(path))
    file.execute("DROP TABLE listing; DROP TABLE listing_groups; DROP TABLE listing_counts")
    file.close()


def remove_counts(path: Path) -> None:
    file = apsw.Connection(str(path))
    file.execute("DROP TABLE listing_counts; DROP TRIGGER listing_counted; DROP TRIGGER listing_groups_counted")
    file.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_an_older_ledger_is_listed_when_it_is_opened(path: Path, tmp_path: Path, read_only: bool) -> None:
    older = tmp_path / "older.sqlite"
    older.write_bytes(path.read_bytes())
    remove_listing(older)
    entries = (
        "SELECT g.run, g.record_table, g.principles, g.outcome, g.flipped, l.seq FROM listing l"
        " JOIN listing_groups g ON g.id = l.group_id ORDER BY 1, 2, 3, 4, 5, 6"
    )
    with Ledger.open(path, read_only=True) as ledger, Ledger.open(older, read_only=read_only) as opened:
        assert opened.rows(entries) == ledger.rows(entries)
        assert len(ledger.rows(entries)) > 700
        assert verify(opened).ok


def count_by_hand(ledger: Ledger, run: str) -> dict[Group, int]:
    fields = ", ".join(f"g.{name}" for name in Group._fields)
    sql = f"SELECT {fields}, count(*) FROM listing l JOIN listing_groups g ON g.id = l.group_id WHERE g.run = ?"
    return {Group(*traits): num for *traits, num in ledger.rows(f"{sql} GROUP BY g.id", (run,))}


@pytest.mark.parametrize("run", ["", "001"])
def test_the_stored_counts_are_those_of_the_listing(path: Path, run: str) -> None:
    with Ledger.open(path, read_only=True) as ledger:
        read: list[str] = []

        def watch(sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
            read.append(sql)
            return ledger.rows(sql, bindings)

        assert dict(count_listed(watch, run=run)) == count_by_hand(ledger, run)
        assert len(read) == 2, "one statement for the groups, one for their counts, and none that counts rows"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_ledger_older_than_the_counts_has_the_same_ones(path: Path, tmp_path: Path, read_only: bool) -> None:
    older = tmp_path / "older.sqlite"
    older.write_bytes(path.read_bytes())
    remove_counts(older)
    with Ledger.open(path, read_only=True) as ledger, Ledger.open(older, read_only=read_only) as opened:
        assert count_listed(opened.rows, run="001") == count_listed(ledger.rows, run="001")
        assert verify(opened).ok
        if not read_only:
            rng = random.Random(5)
            opened.append(r for n in range(300, 340) for r in make_records(n, principles=("brief",), rng=rng))
            assert dict(count_listed(opened.rows, run="")) == count_by_hand(opened, "")
            assert verify(opened).ok


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM listing WHERE seq = (SELECT min(seq) FROM judgements)", "it is missing in the listing"),
        ("DELETE FROM listing WHERE group_id IN (SELECT id FROM listing_groups WHERE run = '001')", "it is missing"),
        ("DELETE FROM listing_groups WHERE id = 1", "it is missing in the listing"),
        ("UPDATE listing_groups SET run = '009' WHERE run = '001' AND outcome = 'tie'", "no row belongs there"),
        ("UPDATE listing_groups SET outcome = 'else' WHERE outcome = 'tie'", "no row belongs there"),
        ("INSERT INTO listing SELECT 1, max(seq) + 1 FROM questions", "no row belongs there"),
        ("INSERT INTO listing VALUES (999, 3)", "no row belongs there"),
        ("UPDATE listing_counts SET num = num + 1 WHERE group_id = 2", "it is not the number of rows that are listed"),
        ("DELETE FROM listing_counts WHERE group_id = 2", "it is not the number of rows that are listed"),
        ("INSERT INTO listing_counts VALUES (999, 0)", "it is not the number of rows that are listed"),
    ],
)
def test_a_changed_listing_is_found(path: Path, tmp_path: Path, statement: str, what: str) -> None:
    changed = tmp_path / "changed.sqlite"
    changed.write_bytes(path.read_bytes())
    file = apsw.Connection(str(changed))
    file.execute(statement)
    assert file.changes() > 0
    file.close()
    with Ledger.open(changed, read_only=True) as ledger:
        assert any(what in found.what for found in verify(ledger).breaks)


def test_what_stands_in_several_uses_of_a_run_is_listed_once(tmp_path: Path) -> None:
    world = make_world()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, world)
        again = [
            Use(run="001", round=n, stage="s", record_table="judgements", record_id=world.judgements[0].id)
            for n in (1, 2)
        ]
        ledger.append(again)
        assert [line.judgement for line in list_judgements(ledger, run="001").lines] == list(world.judgements)
        assert verify(ledger).ok


def test_questions_of_a_group_before_are_known(tmp_path: Path) -> None:
    questions = [make_world(n).questions[0] for n in range(3)]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append(questions)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append(make_judgement(question.id) for question in questions)
        assert len(list_judgements(ledger, principle="brief").lines) == 3
        assert isinstance(list_judgements(ledger, limit=1).lines[0].question, Question)
