"""What people say of decisions counts once for each author and decision, by the last word."""

from __future__ import annotations

from pathlib import Path

from ledger_world import keep_world, make_world

from rlaif.audit.disputes import count_by_principle, count_disputed, find_disputes, list_disputes, make_dispute
from rlaif.audit.principles import find_principles
from rlaif.ledger.chain import Head
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Dispute

WORLDS = [make_world(number) for number in range(3)]


def say(comparison: Comparison, author: str, says: str) -> Dispute:
    return make_dispute(comparison, author=author, says=says, reason="", note="", seen=Head(1, "0" * 64))


def test_sums_of_disputes_are_those_of_the_listed_ones(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for world in WORLDS:
            keep_world(ledger, world)
        first, second, third = (world.comparison for world in WORLDS)
        for comparison, author, says in (
            (first, "ann", "right"), (first, "bea", "wrong"), (second, "ann", "unclear"), (first, "ann", "wrong"),
            (third.changed(p_first=0.125), "ann", "wrong"),
        ):  # fmt: skip
            ledger.append([say(comparison, author, says)])
        before = count_by_principle([row for row in list_disputes(ledger) if row.comparison is not None])
        assert count_disputed(ledger) == before
        (row,) = find_principles(ledger)
        assert row.num_disputed == before["brief"].total() > row.num_wrong == before["brief"]["wrong"] >= 2


def test_the_disputes_of_a_decision_are_found_without_reading_the_others(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for world in WORLDS:
            keep_world(ledger, world)
        said = [say(WORLDS[n % 2].comparison, f"person {n}", "wrong") for n in range(4)]
        ledger.append(said)
        known = [one for one in find_disputes(ledger, [WORLDS[0].comparison.id]) if one.author.startswith("person")]
        assert known == said[::2]
        assert find_disputes(ledger, []) == []
