"""The queues of a ledger: how many decisions wait in each, and the pairs of one for a draw.

Reads the search index; makes none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rlaif.audit.queue_index import QUEUES, Queue
from rlaif.audit.search_index import open_index, read_state
from rlaif.calibration.labels import OVERALL
from rlaif.calibration.spot_check import ItemKey
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison
from rlaif.stats.logits import canonical_pair

IDS_AT_ONCE = 500


class QueueRow(NamedTuple):
    """A queue, and how many decisions are in it."""

    name: str
    queue: Queue
    length: int


def count_queues(ledger: Ledger, *, run: str | None = None) -> list[QueueRow] | None:
    """Every queue with the number of its decisions, of one run or of all; None where there is no index."""
    if read_state(ledger) is None:
        return None
    where = "" if run is None else " WHERE seq IN (SELECT seq FROM used WHERE run = ?)"
    connection = open_index(ledger)
    try:
        sql = f"SELECT name, count(*) FROM queued{where} GROUP BY name"
        rows = connection.execute(sql, () if run is None else (run,)).fetchall()
    finally:
        connection.close()
    counts = {str(name): int(str(count)) for name, count in rows}
    return [QueueRow(name, queue, counts.get(name, 0)) for name, queue in QUEUES.items()]


def refuse_no_queue(name: str) -> None:
    """Refuse a name that is none of a queue."""
    if name not in QUEUES:
        raise InputError(f'there is no queue "{name[:40]}"', where="--queue", fix=f"there are {', '.join(QUEUES)}")


def find_queued(ledger: Ledger, name: str) -> frozenset[ItemKey]:
    """The pairs of a queue, under the principle that is queued and as a whole.

    Refused where there is no such queue or no index.
    """
    refuse_no_queue(name)
    if read_state(ledger) is None:
        raise InputError("there is no search index", where=str(ledger.path), fix="make it by `rlaif audit search`")
    connection = open_index(ledger)
    try:
        sql = "SELECT d.id FROM queued AS q JOIN decisions AS d ON d.seq = q.seq WHERE q.name = ?"
        ids = [str(key) for (key,) in connection.execute(sql, (name,)).fetchall()]
    finally:
        connection.close()
    pages = (ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE))
    return frozenset(key for page in pages for key in _keys(ledger.find(Comparison, page).values()))


def _keys(comparisons: Iterable[Comparison]) -> Iterable[ItemKey]:
    for one in comparisons:
        pair = canonical_pair(*one.sample_ids)
        yield pair, one.principle.id
        yield pair, OVERALL
