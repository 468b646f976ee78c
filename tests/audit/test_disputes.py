"""What people say of decisions counts once for each author and decision, by the last word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_world import keep_world, make_world

from rlaif.audit.disputes import Asked, count_disputed, find_disputes, list_disputes, make_dispute
from rlaif.audit.principles import find_principles
from rlaif.ledger.chain import Head
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Dispute

WORLDS = [make_world(number) for number in range(3)]


def say(comparison: Comparison, author: str, says: str) -> Dispute:
    return make_dispute(comparison, author=author, says=says, reason="", note="", seen=Head(1, "0" * 64))


@contextmanager
def disputed_ledger(folder: Path) -> Iterator[Ledger]:
    """What two people say of three decisions, one of which is not in the ledger; one of them changes her mind."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        for world in WORLDS:
            keep_world(ledger, world)
        first, second, third = (world.comparison for world in WORLDS)
        for comparison, author, says in (
            (first, "ann", "right"), (first, "bea", "wrong"), (second, "ann", "unclear"), (first, "ann", "wrong"),
            (third.changed(p_first=0.125), "ann", "wrong"),
        ):  # fmt: skip
            ledger.append([say(comparison, author, says)])
        yield ledger


@pytest.mark.parametrize("asked", [Asked(), Asked(says="wrong"), Asked(principle="brief"), Asked(reason="length")])
def test_sums_of_disputes_are_those_of_the_listed_ones(tmp_path: Path, asked: Asked) -> None:
    with disputed_ledger(tmp_path) as ledger:
        counts: dict[str, Counter[str]] = {}
        for dispute, comparison in list_disputes(ledger, asked).rows:
            counts.setdefault("" if comparison is None else comparison.principle.id, Counter())[dispute.says] += 1
        assert count_disputed(ledger, asked) == counts
        assert counts or asked.reason, "something was said"


def test_a_principle_is_counted_by_the_last_words_said_of_its_decisions(tmp_path: Path) -> None:
    with disputed_ledger(tmp_path) as ledger:
        (row,) = find_principles(ledger)
        said = count_disputed(ledger)["brief"]
        assert row.num_disputed == said.total() > row.num_wrong == said["wrong"] >= 2


def test_pages_of_disputes_are_the_whole_list_and_hold_each_last_word_once(tmp_path: Path) -> None:
    with disputed_ledger(tmp_path) as ledger:
        whole = list_disputes(ledger)
        assert whole.next_key is None
        assert len({(one.author, one.comparison_id) for one, _ in whole.rows}) == len(whole.rows)
        pages, before = [], None
        while True:
            page = list_disputes(ledger, before=before, limit=2)
            pages += page.rows
            before = page.next_key
            if before is None:
                break
        assert pages == list(whole.rows)


def test_the_disputes_of_a_decision_are_found_without_reading_the_others(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for world in WORLDS:
            keep_world(ledger, world)
        said = [say(WORLDS[n % 2].comparison, f"person {n}", "wrong") for n in range(4)]
        ledger.append(said)
        known = [one for one in find_disputes(ledger, [WORLDS[0].comparison.id]) if one.author.startswith("person")]
        assert known == said[::2]
        assert find_disputes(ledger, []) == []
