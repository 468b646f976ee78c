"""The hash chain over the ledger's rows: each row's head covers everything stored before it.

The chain shows every change but the loss of its own tail; for that its heads are also printed elsewhere.
Reads no file.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

GENESIS = bytes(32)
"""The head before the first row."""


class Head(NamedTuple):
    """The chain's last row and the hash after it. Heads are also printed outside the ledger, as proof against a cut."""

    seq: int
    hex: str


class PrintedHead(NamedTuple):
    """A head as it stands outside the ledger."""

    seq: int | None
    """Row that it is printed for; None where none is named."""
    hex: str
    where: str = ""
    """File that prints it."""


def link(previous: bytes, *, seq: int, table: str, record_id: str, content: str, observed: str | None) -> bytes:
    """The head after a row. The hashed text begins with lengths, so that no two rows have the same text."""
    lengths = f"{seq} {table} {len(record_id)} {len(content)} {-1 if observed is None else len(observed)}\n"
    return sha256(previous + f"{lengths}{record_id}{content}{observed or ''}".encode()).digest()
