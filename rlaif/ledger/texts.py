"""Texts, stored once, by the sha256 of their UTF-8 bytes.

The chain covers digests, so a text can be redacted (its row keeps the digest, a chained record says
who, when and why) and the chain still verifies. Knows statements; the store runs them.
"""

from __future__ import annotations

from typing import ClassVar

from rlaif.records import Observed, Record

TEXTS_DDL = (
    # subtle: the index holds six bytes of each digest and is not unique. A unique index over whole digests
    # cost a third of the append rate; six bytes find the row, and the statements compare the rest.
    "CREATE TABLE texts (\n  number INTEGER PRIMARY KEY,\n  digest BLOB NOT NULL,\n  text TEXT\n) STRICT",
    "CREATE INDEX texts_digest ON texts (substr(digest, 1, 6))",
)
INSERT_TEXT = (
    "INSERT INTO texts (digest, text) SELECT ?1, ?2 WHERE NOT EXISTS"
    " (SELECT 1 FROM texts WHERE substr(digest, 1, 6) = substr(?1, 1, 6) AND digest = ?1)"
)
FIND_TEXTS = (
    "SELECT lower(hex(t.digest)), t.text FROM json_each(?1) AS wanted"
    " CROSS JOIN texts AS t ON substr(t.digest, 1, 6) = substr(unhex(wanted.value), 1, 6)"
    " AND t.digest = unhex(wanted.value)"
)
REDACT_TEXT = "UPDATE texts SET text = NULL WHERE substr(digest, 1, 6) = substr(?1, 1, 6) AND digest = ?1"


class KeptText(Record):
    """A text that records name by its digest and that no record holds: a template, a principle."""

    table: ClassVar[str] = "kept_texts"
    text_fields: ClassVar[tuple[str, ...]] = ("text",)
    text: str


class Redaction(Record):
    """A text was removed. `observed.at` says when."""

    table: ClassVar[str] = "redactions"
    digest: str
    reason: str
    author: str
    observed: Observed = Observed()
