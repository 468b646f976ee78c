"""Texts stored apart from the records, which name them by sha256, so that a text can be redacted.

A long text, or one that records only name, is stored once, by digest; a short one is stored under its
record's place in the chain. Works on the connection it is given and begins no transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import apsw

from rlaif.records import Observed, Record

Read = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one reading statement."""
IDS_PER_STATEMENT = 500
SHARED_LENGTH = 512
"""Length, in characters, from which a text is stored once, by digest."""
PLACES_PER_ROW = 8
"""Most text fields that a record may have."""

# subtle: digests are random, so an index over those of all reasons and replies would make each commit
# touch two more pages a record. Stored beside their records, short texts cost almost nothing, and a
# second copy costs less than an entry of that index would.
TEXTS_DDL = (
    "CREATE TABLE texts (\n  digest BLOB PRIMARY KEY,\n  text TEXT\n) STRICT",
    "CREATE TABLE short_texts (\n  place INTEGER PRIMARY KEY,\n  digest BLOB NOT NULL,\n  text TEXT\n) STRICT",
)
INSERT_TEXT = "INSERT OR IGNORE INTO texts (digest, text) VALUES (?, ?)"
INSERT_SHORT_TEXT = "INSERT INTO short_texts (place, digest, text) VALUES (?, ?, ?)"
_FIND = "SELECT lower(hex(digest)), text FROM texts WHERE digest IN (SELECT unhex(value) FROM json_each(?))"
_FIND_SHORT = "SELECT lower(hex(digest)), text FROM short_texts WHERE place IN (SELECT value FROM json_each(?))"
_SCAN_SHORT = (
    "SELECT max(place), max(text) FILTER (WHERE digest = ?1) FROM"
    " (SELECT * FROM short_texts WHERE place > ?2 ORDER BY place LIMIT 20000)"
)
_REDACT = (
    "UPDATE texts SET text = NULL WHERE digest = ?",
    "UPDATE short_texts SET text = NULL WHERE digest = ?",
)
_ARE_REDACTED = "SELECT digest FROM redactions WHERE digest IN (SELECT value FROM json_each(?))"


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


def is_shared(table: str, text: str) -> bool:
    """Whether a text is stored once, by digest, and not under its record's place."""
    return len(text) >= SHARED_LENGTH or table == KeptText.table


def place_of(seq: int, field: int) -> int:
    """The place of a row's short text; `field` counts the text fields of its class."""
    return seq * PLACES_PER_ROW + field


class NewText(NamedTuple):
    field: int
    """Number of the text field in its class."""
    digest: bytes
    text: str


class StoredRow(NamedTuple):
    seq: int
    id: str
    content: str
    observed: str | None


def insert_texts(connection: apsw.Connection, texts: Sequence[tuple[int, str, NewText]]) -> None:
    """Store the texts of new rows (seq, table, text); of a text that was redacted before, only the digest."""
    redacted: set[str] = set()
    if connection.execute("SELECT EXISTS (SELECT 1 FROM redactions)").get:
        for chunk in id_lists(text.digest.hex() for _, _, text in texts):
            redacted.update(digest for (digest,) in connection.execute(_ARE_REDACTED, (chunk,)))
    shared: list[tuple[bytes, str | None]] = []
    short: list[tuple[int, bytes, str | None]] = []
    for seq, table, (field, digest, text) in texts:
        kept = None if redacted and digest.hex() in redacted else text
        if is_shared(table, text):
            shared.append((digest, kept))
        else:
            short.append((place_of(seq, field), digest, kept))
    connection.executemany(INSERT_TEXT, shared)
    connection.executemany(INSERT_SHORT_TEXT, short)


def redact_everywhere(connection: apsw.Connection, digest: str) -> None:
    for statement in _REDACT:
        connection.execute(statement, (bytes.fromhex(digest),))


def find_kept_text(read: Read, digest: str) -> str | None:
    """The text with this digest, of those that are stored by it, as a `KeptText` is; None: redacted or not there."""
    return next((text for _, text in read(_FIND, (json.dumps([digest]),))), None)


def find_text(read: Read, digest: str) -> str | None:
    """The text with this digest, None where it is redacted or not stored. Among short texts, all are looked through."""
    for _, text in read(_FIND, (json.dumps([digest]),)):
        return str(text) if text is not None else None
    after = 0
    while True:
        ((place, text),) = read(_SCAN_SHORT, (bytes.fromhex(digest), after))
        if text is not None or place is None:
            return str(text) if text is not None else None
        after = place


def find_texts(read: Read, kind: type[Record], stored: Sequence[StoredRow]) -> dict[str, str | None]:
    """The texts that these rows name, by digest; None: redacted. Texts that are not stored are missing."""
    places: dict[str, int] = {}
    for row in stored if kind.text_fields else ():
        fields = json.loads(row.content)
        for at, name in enumerate(kind.text_fields):
            if (digest := fields.get(name)) is not None:
                places[digest] = place_of(row.seq, at)
    texts: dict[str, str | None] = {}
    for chunk in id_lists(places.values()):
        texts.update(read(_FIND_SHORT, (chunk,)))
    for chunk in id_lists(digest for digest in places if digest not in texts):
        texts.update(read(_FIND, (chunk,)))
    return {digest: texts[digest] for digest in places if digest in texts}


def id_lists(values: Iterable[str] | Iterable[int]) -> Iterator[str]:
    """JSON lists of at most `IDS_PER_STATEMENT` values, each once."""
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), IDS_PER_STATEMENT):
        yield json.dumps(unique[start : start + IDS_PER_STATEMENT])
