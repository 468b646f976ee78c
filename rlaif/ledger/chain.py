"""The hash chain over the ledger's rows: each row's head covers everything stored before it.

A chain sees every change but the loss of its own tail; for that its heads are also printed elsewhere.
Reads no file.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

GENESIS = bytes(32)
"""What the first row extends."""


class Head(NamedTuple):
    """Where the chain stands: print it where the ledger cannot reach."""

    seq: int
    hex: str


def link(previous: bytes, *, seq: int, table: str, record_id: str, content: str, observed: str | None) -> bytes:
    """The head after a row. Lengths stand first, so that no two rows can be read as one another."""
    lengths = f"{seq} {table} {len(record_id)} {len(content)} {-1 if observed is None else len(observed)}\n"
    return sha256(previous + f"{lengths}{record_id}{content}{observed or ''}".encode()).digest()
