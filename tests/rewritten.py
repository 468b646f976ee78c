"""A ledger's file rewritten so that it is whole again: the hand of somebody who knows how everything is computed."""

from __future__ import annotations

from pathlib import Path

import apsw

from rlaif.ledger.chain import GENESIS, Head, link
from rlaif.ledger.schema import LEDGER_TYPES

TABLES = [kind.table for kind in LEDGER_TYPES]


def chain_again(file: apsw.Connection, *, after: int = 0) -> Head:
    """Make every head after a row again, from the rows as they are now; the new last head."""
    rows = [
        (seq, table, record_id, content, observed)
        for table in TABLES
        for seq, record_id, content, observed in file.execute(
            f"SELECT seq, id, content, observed FROM {table} WHERE seq > ?", (after,)
        )
    ]
    head = GENESIS if after == 0 else head_at(file, after)
    last = after
    with file:
        for seq, table, record_id, content, observed in sorted(rows):
            head = link(head, seq=seq, table=table, record_id=record_id, content=content, observed=observed)
            file.execute(f"UPDATE {table} SET head = ? WHERE seq = ?", (head, seq))
            last = seq
    return Head(last, head.hex())


def head_at(file: apsw.Connection, seq: int) -> bytes:
    found = [head for table in TABLES for (head,) in file.execute(f"SELECT head FROM {table} WHERE seq = ?", (seq,))]
    return bytes(found[0])


def open_file(path: Path) -> apsw.Connection:
    file = apsw.Connection(str(path))
    file.execute("PRAGMA synchronous=OFF")
    return file
