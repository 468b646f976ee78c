"""How far people and judge agreed in each round that people's labels had a part in, and the decisions they differ on.

The figures are those of the round's calibration card, which training used; the counts are of the search index, where
there is one. Computes no agreement of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from rlaif.audit.search_index import open_index, read_state
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import CalibrationCard


class AgreementRow(NamedTuple):
    """A calibration, and the rounds that used it."""

    card: CalibrationCard
    used_by: tuple[tuple[str, int], ...]
    """Run and round."""


class Counted(NamedTuple):
    """Labelled decisions of one principle."""

    principle: str
    agree: int
    disagree: int
    tie: int
    """People or the judge are undecided."""


def find_agreements(ledger: Ledger) -> list[AgreementRow]:
    """The calibrations of the ledger's runs, the newest first."""
    rows = []
    for card in reversed(list_records(ledger, CalibrationCard)):
        used = ledger.rows(
            "SELECT DISTINCT run, round FROM uses WHERE record_id = ? ORDER BY run, round LIMIT 100", (card.id,)
        )
        rows.append(AgreementRow(card, tuple((run, round) for run, round in used)))
    return rows


def count_labelled(ledger: Ledger) -> list[Counted]:
    """By principle, the decisions whose pair people labelled; empty where there is no index."""
    if read_state(ledger) is None:
        return []
    connection = open_index(ledger)
    try:
        found: dict[str, dict[str, int]] = {}
        # by name: of an index that holds the labelled decisions alone, because SQLite would read all of them in another
        sql = (
            "SELECT principle, people, count(*) FROM decisions INDEXED BY decisions_people WHERE people IS NOT NULL"
            " GROUP BY principle, people"
        )
        for principle, people, count in connection.execute(sql):
            found.setdefault(str(principle), {})[str(people)] = int(str(count))
    finally:
        connection.close()
    return [
        Counted(name, counts.get("agree", 0), counts.get("disagree", 0), counts.get("tie", 0))
        for name, counts in sorted(found.items())
    ]
