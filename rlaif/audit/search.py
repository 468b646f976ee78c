"""Filters over every decision, and words in its texts -> a page of decisions, through the index beside the ledger.

A filter that is empty leaves out nothing. Makes no index: where it is missing or behind, the page says how far it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rlaif.audit.listing import ID_SHOWN, Listing
from rlaif.audit.queue_index import QUEUES
from rlaif.audit.search_index import open_index
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Judgement

PEOPLE = {"agree": "people agree", "disagree": "people choose the other", "tie": "people or judge tie"}
SURENESS = {
    "50-60": (0.5, 0.6), "60-75": (0.6, 0.75), "75-90": (0.75, 0.9), "90-100": (0.9, 1.01),
}  # fmt: skip
"""Bands of the winner's probability, in percent."""
LONGER = {"longer": "the longer reply wins", "shorter": "the shorter reply wins"}
FLIPPED = {"yes": "changes with the order", "no": "does not"}
OFFERED: Mapping[str, Mapping[str, Any]] = {
    "people": PEOPLE, "sureness": SURENESS, "longer": LONGER, "flipped": FLIPPED, "queue": QUEUES,
}  # fmt: skip
"""The values of each filter that has a few."""
MAX_WORDS = 20


class Search(NamedTuple):
    """What is searched for; empty: anything."""

    text: str = ""
    principle: str = ""
    people: str = ""
    sureness: str = ""
    longer: str = ""
    flipped: str = ""
    run: str = ""
    round: str = ""
    judge: str = ""
    mode: str = ""
    queue: str = ""

    def describe(self) -> str:
        """The filters in words."""
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items() if value) or "all decisions"


class Known(NamedTuple):
    """The values that each list of a filter offers."""

    principle: list[str]
    run: list[str]
    round: list[str]
    judge: list[str]
    mode: list[str]


class Found(NamedTuple):
    """A page of decisions."""

    listing: Listing
    known: Known


def check_search(search: Search) -> None:
    """Refuse a value that a filter does not have."""
    for name, offered in OFFERED.items():
        value = getattr(search, name)
        if value and value not in offered:
            raise InputError(f'"{value[:40]}" is no value of the filter {name}', fix=f"give {', '.join(offered)}")
    if search.round and not (search.round.isascii() and search.round.isdecimal() and len(search.round) < 9):
        raise InputError(f'"{search.round[:40]}" is no round', fix="give its number")
    if len(_split(search.text)) > MAX_WORDS:
        raise InputError(f"at most {MAX_WORDS} words are searched for at once", fix="leave some out")


def find_decisions(ledger: Ledger, search: Search, *, after: int = 0, limit: int = 50) -> Found:
    """The decisions that pass every filter, in the order in which they were made."""
    sql, bindings = _select(
        "d.id, d.principle, d.winner, d.p_winner, d.gap, d.people", search, after=after, limit=limit
    )
    connection = open_index(ledger)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql, bindings).fetchall()
        known = _find_known(connection.execute)
    finally:
        connection.close()
    reasons = _find_reasons(ledger, [row[1] for row in rows])
    columns = ("key", "comparison", "principle", "winner", "p", "winner's words", "people", "reason")
    lines = tuple(_line(row, reasons.get(row[1], "")) for row in rows)
    return Found(Listing(columns, lines, rows[-1][0] if len(rows) == limit else None), known)


def find_keys(ledger: Ledger, search: Search, *, limit: int) -> list[tuple[int, str]]:
    """Row and id of the decisions that pass every filter, at most `limit`, in the order in which they were made."""
    sql, bindings = _select("d.id", search, after=0, limit=limit)
    connection = open_index(ledger)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql, bindings).fetchall()
        return [(int(seq), str(key)) for seq, key in rows]
    finally:
        connection.close()


def _select(columns: str, search: Search, *, after: int, limit: int) -> tuple[str, tuple[Any, ...]]:
    """SQL of the decisions that pass every filter, their places first, and what is bound to it."""
    check_search(search)
    source, place = _source(search)
    conditions: list[str] = [f"{place} > ?"]
    bindings: list[Any] = [after]
    for condition, values in _conditions(search):
        conditions.append(condition)
        bindings += values
    where = " AND ".join(conditions)
    sql = f"SELECT DISTINCT {place}, {columns} FROM {source} WHERE {where} ORDER BY {place} LIMIT {int(limit)}"
    return sql, tuple(bindings)


def _source(search: Search) -> tuple[str, str]:
    """SQL of the decisions and of their places, led by what leaves out most and is stored in the order of places: so
    SQLite reads on only until a page is full."""
    if _split(search.text):
        return "words AS w CROSS JOIN decisions AS d ON d.seq = w.rowid", "w.rowid"
    if search.run or search.round:
        return f"{_used(search)} CROSS JOIN decisions AS d ON d.seq = u.seq", "u.seq"
    return "decisions AS d", "d.seq"


def _used(search: Search) -> str:
    """SQL of the uses, through an index that has those of a run, or of a round, in the order of places."""
    return f"used AS u INDEXED BY {'used_run' if search.run else 'used_round'}"


def _conditions(search: Search) -> Iterator[tuple[str, list[Any]]]:
    """SQL for each filter that is given, and what is bound to it."""
    if found := _split(search.text):
        # subtle: every word is quoted, so that nothing of what was typed is read as the index's own language.
        words = " ".join('"{}"'.format(word.replace('"', '""')) for word in found)
        yield "w.words MATCH ?", [words]
    for column, value in (("principle", search.principle), ("judge", search.judge), ("mode", search.mode)):
        if value:
            yield f"d.{column} = ?", [value]
    if search.people:
        yield "d.people = ?", [search.people]
    if search.sureness:
        yield "d.p_winner >= ? AND d.p_winner < ?", list(SURENESS[search.sureness])
    if search.longer:
        yield f"d.gap {'>' if search.longer == 'longer' else '<'} 0", []
    if search.flipped:
        yield "d.flipped = ?", [int(search.flipped == "yes")]
    if search.queue:
        yield "d.seq IN (SELECT seq FROM queued WHERE name = ?)", [search.queue]
    if search.run or search.round:
        used = [("run", search.run or None), ("round", int(search.round) if search.round else None)]
        given = [(name, value) for name, value in used if value is not None]
        where = " AND ".join(f"u.{name} = ?" for name, _ in given)
        bound = [value for _, value in given]
        if not _split(search.text):
            yield where, bound
        else:
            # the first use says where to begin among the words
            yield f"w.rowid >= (SELECT min(u.seq) FROM {_used(search)} WHERE {where})", bound
            yield f"EXISTS (SELECT 1 FROM {_used(search)} WHERE u.seq = d.seq AND {where})", bound


def _split(text: str) -> list[str]:
    """The words of what was typed; a NUL, at which the index would end its reading, parts words like a space."""
    return text.replace("\x00", " ").split()


def _find_known(read: Any) -> Known:
    def values(table: str, column: str) -> list[str]:
        # one step of the column's index for each value, because each stands in many rows
        found: list[Any] = []
        (first,) = read(f"SELECT min({column}) FROM {table}").fetchall()
        while first[0] is not None:
            found.append(first[0])
            (first,) = read(f"SELECT min({column}) FROM {table} WHERE {column} > ?", (found[-1],)).fetchall()
        return [str(value) for value in found]

    return Known(
        principle=values("decisions", "principle"),
        run=values("used", "run"),
        round=values("used", "round"),
        judge=values("decisions", "judge"),
        mode=values("decisions", "mode"),
    )


def _find_reasons(ledger: Ledger, ids: list[str]) -> dict[str, str]:
    """The reason that a decision's first answer gives."""
    comparisons = ledger.find(Comparison, ids)
    first = {key: one.judgement_ids[0] for key, one in comparisons.items() if one.judgement_ids}
    judgements = ledger.find(Judgement, first.values())
    return {key: judgements[judged].reason or "" for key, judged in first.items() if judged in judgements}


def _line(row: tuple[Any, ...], reason: str) -> tuple[str, ...]:
    seq, record_id, principle, winner, p_winner, gap, people = row
    gap_text = "as many" if gap == 0 else f"{abs(gap)} {'more' if gap > 0 else 'fewer'}"
    return (
        str(seq), record_id[:ID_SHOWN], principle, winner, f"{p_winner:.3f}", "" if winner == "tie" else gap_text,
        people or "", " ".join(reason.split())[:200],
    )  # fmt: skip
