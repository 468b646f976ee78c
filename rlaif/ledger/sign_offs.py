"""The signed heads of a ledger: stored as sign-offs, and as manifests, cards and reports print them.

Checks no signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlaif.ledger.store import Ledger

PRINTED = 8
"""Signed heads that a card, report or manifest prints: the last ones."""


class PrintedSignOff(NamedTuple):
    """A signed head as it is printed."""

    seq: int
    head: str
    signer: str
    at: str

    def describe(self) -> str:
        return f"row {self.seq} by {self.signer}, {self.at}"


class StatedHead(NamedTuple):
    """The chain's head with the heads before it that people signed."""

    seq: int
    hex: str
    signed: Sequence[PrintedSignOff] = ()
    """The last ones, oldest first."""


def state_head(ledger: Ledger) -> StatedHead:
    """What a card, a report or a manifest prints of a ledger."""
    sql = (
        "SELECT content ->> '$.seq', content ->> '$.head', content ->> '$.signer', content ->> '$.at'"
        " FROM sign_offs ORDER BY seq DESC LIMIT ?"
    )
    signed = [PrintedSignOff(*row) for row in ledger.rows(sql, (PRINTED,))]
    return StatedHead(*ledger.head(), tuple(reversed(signed)))
