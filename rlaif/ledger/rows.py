"""The rows of a ledger in the order of the chain, and a ledger made again of such rows, texts apart.

A copy holds what it is given, whole or not: `verify` says what is wrong with it. Compares nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import apsw
from pydantic_core import from_json

from rlaif.errors import LedgerError
from rlaif.ledger.listing import list_older_rows
from rlaif.ledger.opening import open_connection
from rlaif.ledger.schema import INSERT_ROW, LEDGER_TYPES
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import INSERT_SHORT_TEXT, INSERT_TEXT, is_shared, place_of
from rlaif.records import Record

ROWS_PER_STATEMENT = 2000


class Kind(NamedTuple):
    """What is needed of a record class for each of its rows."""

    type: type[Record]
    table: str
    text_fields: tuple[str, ...]
    has_own_id: bool
    """Whether its id is made of something else than its content."""


KINDS = tuple(Kind(kind, kind.table, kind.text_fields, kind.__dict__.get("id") is not None) for kind in LEDGER_TYPES)


class ChainRow(NamedTuple):
    seq: int
    place: int
    """Place of its kind in `KINDS`."""
    id: str
    content: str
    observed: str | None
    head: bytes


def rows_in_order(ledger: Ledger) -> Iterator[ChainRow]:
    """All rows in the order of the chain, a stretch of it at a time; stretches without a row are passed over."""
    firsts = [f"SELECT seq FROM {kind.table} WHERE seq > ? ORDER BY seq LIMIT 1" for kind in KINDS]
    within = [
        f"SELECT seq, {place}, id, content, observed, head FROM {kind.table} WHERE seq BETWEEN ? AND ?"
        for place, kind in enumerate(KINDS)
    ]
    last = -(2**63)
    while ahead := [seq for sql in firsts for (seq,) in ledger.rows(sql, (last,))]:
        first = min(ahead)
        last = min(first + ROWS_PER_STATEMENT - 1, 2**63 - 1)
        stretch = [row for sql in within for row in ledger.rows(sql, (first, last))]
        stretch.sort()
        yield from map(ChainRow._make, stretch)


def copy_rows(path: Path, rows: Iterable[ChainRow], *, texts: Mapping[str, str | None]) -> frozenset[str]:
    """Make a ledger at `path` of these rows and of texts by their digests, None for one that was redacted.

    Returns the digests of texts that the rows name and that are not given.
    """
    connection = open_connection(path, read_only=False)
    left_out: set[str] = set()
    row: ChainRow | None = None
    try:
        connection.execute("PRAGMA synchronous=OFF")
        with connection:
            for row in rows:
                kind = KINDS[row.place]
                values = (row.seq, row.id, row.content, row.observed, row.head)
                connection.execute(INSERT_ROW[kind.table], values)
                if kind.text_fields:
                    left_out.update(_copy_texts(connection, row, kind, texts))
            row = None
            list_older_rows(connection)
    except (apsw.Error, ValueError, TypeError, AttributeError, OverflowError) as error:
        where = "" if row is None else f"row {row.seq} of {KINDS[row.place].table} "
        raise LedgerError(f"{where}cannot be in a ledger: {error}", where=str(path), fix="ask for a copy") from error
    finally:
        connection.close()
    return frozenset(left_out)


def _copy_texts(
    connection: apsw.Connection, row: ChainRow, kind: Kind, texts: Mapping[str, str | None]
) -> Iterator[str]:
    """Store the texts that a row names; the digests of those that are not given."""
    fields = from_json(row.content)
    for at, name in enumerate(kind.text_fields):
        digest = fields.get(name)
        if digest is None:
            continue
        text = texts.get(digest)
        if text is None or is_shared(kind.table, text):
            connection.execute(INSERT_TEXT, (bytes.fromhex(digest), text))
        else:
            connection.execute(INSERT_SHORT_TEXT, (place_of(row.seq, at), bytes.fromhex(digest), text))
        if digest not in texts:
            yield digest
