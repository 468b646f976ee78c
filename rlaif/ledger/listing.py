"""An index for filtered lists of decisions: groups of rows with the same traits, each in the chain's order.

Written together with the rows, so that any filter finds its page through this index and no statement reads rows that
the filter leaves out. Derived from the rows: `audit verify` compares it with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apsw

from rlaif.ledger.texts import Read, id_lists
from rlaif.records import Comparison, FailedJudgement, Judgement, Question, Record, Use

LISTING_TABLES = ("listing_groups", "listing", "listing_counts")
LISTING_DDL = (
    "CREATE TABLE listing_groups (\n  id INTEGER PRIMARY KEY,\n  run TEXT NOT NULL,\n  record_table TEXT NOT NULL,\n"
    "  principles TEXT NOT NULL,\n  outcome TEXT NOT NULL,\n  flipped INTEGER NOT NULL,\n"
    "  UNIQUE (run, record_table, principles, outcome, flipped)\n) STRICT",
    "CREATE TABLE listing (\n  group_id INTEGER,\n  seq INTEGER,\n  PRIMARY KEY (group_id, seq)\n)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE listing_counts (\n  group_id INTEGER PRIMARY KEY,\n  num INTEGER NOT NULL\n) STRICT",
)
# subtle: triggers, and not this program's writer, keep the counts: an older rlaif that writes to the ledger keeps them
# too, and a row that `INSERT OR IGNORE` leaves out is not counted.
COUNT_TRIGGERS = {
    "listing_groups_counted": "CREATE TRIGGER listing_groups_counted AFTER INSERT ON listing_groups\n"
    "BEGIN INSERT INTO listing_counts VALUES (new.id, 0); END",
    "listing_counted": "CREATE TRIGGER listing_counted AFTER INSERT ON listing\n"
    "BEGIN UPDATE listing_counts SET num = num + 1 WHERE group_id = new.group_id; END",
}
"""Statement by name: what keeps the number of each group's rows, so that no page counts them."""
ROWS_PER_STATEMENT = 2000
MAX_REMEMBERED = 20_000
"""Most questions whose principles are kept in memory: an answer comes soon after its question."""

_NAMES = "(SELECT group_concat(value ->> '$.id', char(10)) FROM json_each(q.content, '$.principles'))"
# subtle: only a question stored before its answer counts, so an entry of the listing never changes.
_QUESTION = "LEFT JOIN questions AS q ON q.id = t.question_id AND q.seq < t.seq"


class _Source(NamedTuple):
    """SQL of a table's rows `t` and of their traits."""

    rows: str
    traits: tuple[str, str, str]
    """SQL of the principles, the outcome and `flipped`."""


_SOURCES = {
    "judgements": _Source(f"judgements AS t {_QUESTION}", (f"coalesce({_NAMES}, '')", "coalesce(t.verdict, '')", "-1")),
    "failed_judgements": _Source(f"failed_judgements AS t {_QUESTION}", (f"coalesce({_NAMES}, '')", "t.cause", "-1")),
    "comparisons": _Source(
        "comparisons AS t",
        (
            "t.principle_id",
            "CASE WHEN t.p_first > 0.5 THEN 'first' WHEN t.p_first < 0.5 THEN 'second' ELSE 'tie' END",
            "coalesce(t.flipped, -1)",
        ),
    ),
}


_ANSWERS = ("judgements", "failed_judgements")


class Group(NamedTuple):
    """Rows of one table with the same traits: those that one run used, or all of them (an empty `run`)."""

    run: str
    record_table: str
    principles: str
    """Ids of the principles, a line each."""
    outcome: str
    """Verdict, what both orders decided, or the cause of a failure; empty for scores and rankings."""
    flipped: int
    """0, 1, or -1: not known."""


class ListingWriter:
    """Lists new rows, inside the transaction that appends them."""

    def __init__(self) -> None:
        self._ids: dict[Group, int] = {}
        self._principles: dict[str, str] = {}

    def forget(self) -> None:
        """Forget what is kept in memory, because it may have been rolled back."""
        self._ids.clear()
        self._principles.clear()

    def write(self, connection: apsw.Connection, new: Sequence[tuple[int, Record]], *, known_to: int) -> None:
        """List new rows. `new`: those rows in the chain's order, already inserted; `known_to`: the last row before
        them."""
        if len(self._principles) > MAX_REMEMBERED:
            self._principles.clear()
        asked_now = {record.id for _, record in new if record.table == Question.table}
        answered = {getattr(record, "question_id", "") for _, record in new if record.table in _ANSWERS}
        self._look_up_principles(connection, answered - asked_now, known_to=known_to)
        used = self._look_up_used(connection, [r for _, r in new if isinstance(r, Use)], known_to=known_to)
        entries: list[tuple[int, int]] = []
        for seq, record in new:
            if isinstance(record, Question):
                self._principles[record.id] = "\n".join(principle.id for principle in record.principles)
            elif isinstance(record, Use):
                if (found := used.get((record.record_table, record.record_id))) is not None:
                    entries.append((self._id_of(connection, found[1]._replace(run=record.run)), found[0]))
            else:
                group = self._group_of(record)
                used[record.table, record.id] = (seq, group)
                entries.append((self._id_of(connection, group), seq))
        connection.executemany("INSERT OR IGNORE INTO listing (group_id, seq) VALUES (?, ?)", entries)

    def _group_of(self, record: Record) -> Group:
        match record:
            case Judgement():
                return Group("", record.table, self._principles.get(record.question_id, ""), record.verdict or "", -1)
            case FailedJudgement():
                return Group("", record.table, self._principles.get(record.question_id, ""), record.cause, -1)
            case Comparison():
                decided = "first" if record.p_first > 0.5 else "second" if record.p_first < 0.5 else "tie"
                flipped = -1 if record.flipped is None else int(record.flipped)
                return Group("", record.table, record.principle.id, decided, flipped)
        raise TypeError(f"{record.table} are not listed")

    def _look_up_principles(self, connection: apsw.Connection, question_ids: Iterable[str], *, known_to: int) -> None:
        sql = (
            f"SELECT q.id, {_NAMES} FROM questions AS q"
            " WHERE q.id IN (SELECT value FROM json_each(?)) AND q.seq <= ?"
        )  # fmt: skip
        for chunk in id_lists(key for key in question_ids if key not in self._principles):
            self._principles.update(connection.execute(sql, (chunk, known_to)))

    def _look_up_used(
        self, connection: apsw.Connection, uses: Sequence[Use], *, known_to: int
    ) -> dict[tuple[str, str], tuple[int, Group]]:
        found: dict[tuple[str, str], tuple[int, Group]] = {}
        for table in {use.record_table for use in uses} & _SOURCES.keys():
            source = _SOURCES[table]
            sql = (
                f"SELECT t.seq, t.id, {', '.join(source.traits)} FROM {source.rows}"
                " WHERE t.id IN (SELECT value FROM json_each(?)) AND t.seq <= ?"
            )
            for chunk in id_lists(use.record_id for use in uses if use.record_table == table):
                for seq, record_id, *traits in connection.execute(sql, (chunk, known_to)):
                    found[table, record_id] = (seq, Group("", table, *traits))
        return found

    def _id_of(self, connection: apsw.Connection, group: Group) -> int:
        if (known := self._ids.get(group)) is not None:
            return known
        connection.execute(
            "INSERT OR IGNORE INTO listing_groups (run, record_table, principles, outcome, flipped)"
            " VALUES (?, ?, ?, ?, ?)",
            group,
        )
        where = " AND ".join(f"{name} = ?" for name in Group._fields)
        number = int(connection.execute(f"SELECT id FROM listing_groups WHERE {where}", group).get)
        self._ids[group] = number
        return number


LISTED = frozenset({"questions", "uses", *_SOURCES})
"""Tables whose new rows ListingWriter needs."""


def find_principle_ids(read: Read) -> list[str]:
    """Ids of the principles that any listed decision is about, sorted."""
    rows = read("SELECT DISTINCT principles FROM listing_groups", ())
    return sorted({name for (names,) in rows for name in names.split("\n") if name})


def find_run_names(read: Read) -> list[str]:
    """Names of the runs that used a listed decision, sorted."""
    return sorted(name for (name,) in read("SELECT DISTINCT run FROM listing_groups WHERE run != ''", ()))


def find_groups(
    read: Read, table: str, *, run: str | None, principle: str | None, outcome: str | None, flipped: bool | None
) -> list[int]:
    """The groups that pass these filters."""
    sql = "SELECT id, principles, outcome, flipped FROM listing_groups WHERE run = ? AND record_table = ? ORDER BY id"
    return [
        number
        for number, principles, of_group, is_flipped in read(sql, (run or "", table))
        if (principle is None or principle in principles.split("\n"))
        and (outcome is None or of_group == outcome)
        and (flipped is None or is_flipped == int(flipped))
    ]


def count_listed(read: Read, *, run: str | None) -> list[tuple[Group, int]]:
    """Every group of a run, or of all rows, with the number of its rows."""
    fields = ", ".join(Group._fields)
    groups = read(f"SELECT id, {fields} FROM listing_groups WHERE run = ? ORDER BY id", (run or "",))
    counts = count_rows(read, [number for number, *_ in groups])
    return [(Group(*traits), counts[number]) for number, *traits in groups]


def count_rows(read: Read, groups: Sequence[int]) -> dict[int, int]:
    """How many rows each of some groups has: as stored, and counted now in a ledger that is older than the counts and
    is only read."""
    stored = "SELECT group_id, num FROM listing_counts WHERE group_id IN (SELECT value FROM json_each(?))"
    counts: dict[int, int] = dict(read(stored, (json.dumps(groups),)))
    sql = "SELECT count(*) FROM listing WHERE group_id = ?"
    return {number: counts[number] if number in counts else read(sql, (number,))[0][0] for number in groups}


def find_listed(read: Read, groups: Iterable[int], *, after: int, limit: int) -> list[int]:
    """The first `limit` rows after place `after` that are in any of the groups, as places in the chain."""
    sql = "SELECT seq FROM listing WHERE group_id = ? AND seq > ? ORDER BY seq LIMIT ?"
    return sorted(seq for group in groups for (seq,) in read(sql, (group, after, limit)))[:limit]


def list_older_rows(connection: apsw.Connection) -> None:
    """List the rows of a ledger that had no listing."""
    fields = ", ".join(Group._fields)
    for table in _SOURCES:
        entries = _entries(table)
        connection.execute(f"INSERT INTO listing_groups ({fields}) SELECT DISTINCT {fields} FROM ({entries})")
        connection.execute(
            f"INSERT INTO listing (group_id, seq) SELECT DISTINCT g.id, e.seq FROM ({entries}) AS e"
            f" JOIN listing_groups AS g ON {_SAME_GROUP}"
        )


def count_older_rows(connection: apsw.Connection) -> None:
    """Count the rows of every group in a ledger that had a listing without counts."""
    counted = "(SELECT count(*) FROM listing AS l WHERE l.group_id = g.id)"
    connection.execute(f"INSERT INTO listing_counts SELECT g.id, {counted} FROM listing_groups AS g")


def compare_listing(read: Read, *, last: int) -> Iterator[tuple[str, int, str]]:
    """Every difference between listing and rows, as (table, place, what). `last`: the chain's last place."""
    for table in _SOURCES:
        sql = (
            f"SELECT e.seq FROM ({_entries(table, within='BETWEEN ?1 AND ?2')}) AS e"
            f" LEFT JOIN listing_groups AS g ON {_SAME_GROUP}"
            " LEFT JOIN listing AS l ON l.group_id = g.id AND l.seq = e.seq WHERE l.seq IS NULL ORDER BY e.seq"
        )
        for start in range(1, last + 1, ROWS_PER_STATEMENT):
            for (seq,) in read(sql, (start, start + ROWS_PER_STATEMENT - 1)):
                yield table, seq, "it is missing in the listing"
    groups = {number: Group(*fields) for number, *fields in read("SELECT * FROM listing_groups", ())}
    sql = "SELECT group_id, seq FROM listing WHERE (group_id, seq) > (?, ?) ORDER BY group_id, seq LIMIT ?"
    at: tuple[int, int] = (-(2**63), 0)
    counts: Counter[int] = Counter()
    while page := read(sql, (*at, ROWS_PER_STATEMENT)):
        at = page[-1][:2]
        in_page = Counter(group for group, _ in page)
        counts.update(in_page)
        for number in in_page:
            group, seqs = groups.get(number), [seq for of_group, seq in page if of_group == number]
            rightly = _rightly_listed(read, group, seqs) if group is not None and group.record_table in _SOURCES else ()
            yield from (("listing", seq, "no row belongs there") for seq in seqs if seq not in rightly)
    stored: dict[int, int] = dict(read("SELECT group_id, num FROM listing_counts ORDER BY group_id", ()))
    for number in sorted({*groups, *stored} if stored else ()):
        if stored.get(number) != (counts[number] if number in groups else None):
            yield "listing_counts", number, f"it is not the number of rows that are listed, {counts[number]}"


def _rightly_listed(read: Read, group: Group, seqs: list[int]) -> set[int]:
    source = _SOURCES[group.record_table]
    traits = " AND ".join(f"{trait} = ?" for trait in source.traits)
    used = "EXISTS (SELECT 1 FROM uses AS u WHERE u.record_id = t.id AND u.run = ? AND u.record_table = ?)"
    values = (group.principles, group.outcome, group.flipped, *((group.run, group.record_table) if group.run else ()))
    sql = (
        f"SELECT t.seq FROM {source.rows} WHERE t.seq IN (SELECT value FROM json_each(?)) AND {traits}"
        f"{f' AND {used}' if group.run else ''}"
    )
    return {seq for chunk in id_lists(seqs) for (seq,) in read(sql, (chunk, *values))}


_SAME_GROUP = " AND ".join(f"g.{name} = e.{name}" for name in Group._fields)


def _entries(table: str, *, within: str = "> 0") -> str:
    """SQL of the listing's entries for the rows of a table and the uses of them: Group's fields, then seq of the
    row."""
    source = _SOURCES[table]
    traits = ", ".join(f"{trait} AS {name}" for trait, name in zip(source.traits, Group._fields[2:], strict=True))
    return (
        f"SELECT '' AS run, '{table}' AS record_table, {traits}, t.seq AS seq FROM {source.rows} WHERE t.seq {within}"
        f" UNION ALL SELECT u.run, '{table}', {traits}, t.seq FROM uses AS u CROSS JOIN {source.rows}"
        f" WHERE u.seq {within} AND u.record_table = '{table}' AND t.id = u.record_id AND t.seq < u.seq"
    )
