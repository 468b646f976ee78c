"""Texts that a person wants gone: which records name them, what else repeats them, and who redacted what and why.

Finds and reads; `Ledger.redact_text` is what removes a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rlaif.errors import InputError
from rlaif.ledger.schema import LEDGER_TYPES
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import Redaction, id_lists
from rlaif.records import Record

_WITH_TEXTS = tuple(kind for kind in LEDGER_TYPES if kind.text_fields)
_KINDS = ", ".join(kind.table.replace("_", " ")[:-1] for kind in _WITH_TEXTS[:-1])
MAX_REPEATS = 200
"""Records that repeat a text which are named."""


class NamedText(NamedTuple):
    """A text of a record."""

    table: str
    record_id: str
    field: str
    digest: str


class Repeat(NamedTuple):
    """A place in the ledger that repeats a part of a text."""

    table: str
    record_id: str
    field: str
    """The text's field; `content` or `observed` where it is a part of the record itself, which cannot be redacted."""
    digest: str
    """Empty for a part of the record itself."""


def find_named_texts(ledger: Ledger, name: str) -> list[NamedText]:
    """The texts of the record whose id begins with `name`, or all records' texts whose digest it is."""
    if not name or name.strip("0123456789abcdef"):
        raise InputError(f'"{name[:80]}" is no id and no digest', fix="take one from `rlaif audit show`")
    found = list(_find_by_digest(ledger, name) if len(name) == 64 else _find_by_id(ledger, name))
    if not found:
        what = "no text has this digest" if len(name) == 64 else f"no record with a text has an id like {name}"
        raise InputError(what, where=str(ledger.path), fix=f"give the sha256 of a text, or the id of a {_KINDS}")
    if len(name) < 64 and len({text.record_id for text in found}) > 1:
        near = ", ".join(dict.fromkeys(f"{text.table} {text.record_id[:12]}" for text in found[:4]))
        raise InputError(f"several ids begin with {name}: {near}", where=str(ledger.path), fix="give more of it")
    return found


def find_redactions(ledger: Ledger, digests: Iterable[str]) -> dict[str, Redaction]:
    """Who redacted these texts and why, by digest; texts that were not redacted are missing."""
    sql = "SELECT id FROM redactions WHERE digest IN (SELECT value FROM json_each(?)) ORDER BY seq"
    ids = [key for chunk in id_lists(digests) for (key,) in ledger.rows(sql, (chunk,))]
    return {redaction.digest: redaction for redaction in ledger.find(Redaction, ids).values()}


def find_repeats(ledger: Ledger, parts: Sequence[str], *, but: Iterable[str]) -> list[Repeat]:
    """Every place in the ledger that holds one of these parts of a text. but: digests of texts that go anyway."""
    found: dict[Repeat, None] = {}
    left_out = set(but)
    for part in parts:
        for digest in _find_texts_with(ledger, part):
            if digest not in left_out:
                found.update(dict.fromkeys(Repeat(*text) for text in _find_by_digest(ledger, digest)))
        found.update(dict.fromkeys(_find_in_records(ledger, part)))
    return list(found)[:MAX_REPEATS]


def _find_by_id(ledger: Ledger, prefix: str) -> Iterator[NamedText]:
    for kind in _WITH_TEXTS:
        sql = f"SELECT id, content FROM {kind.table} WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"
        for record_id, content in ledger.rows(sql, (prefix, prefix + "g")):
            yield from _name_texts(kind, record_id, content)


def _find_by_digest(ledger: Ledger, digest: str) -> Iterator[NamedText]:
    for kind in _WITH_TEXTS:
        for name in kind.text_fields:
            sql = f"SELECT id FROM {kind.table} WHERE content ->> '$.{name}' = ? ORDER BY seq LIMIT 1000"
            for (record_id,) in ledger.rows(sql, (digest,)):
                yield NamedText(kind.table, record_id, name, digest)


def _name_texts(kind: type[Record], record_id: str, content: str) -> Iterator[NamedText]:
    fields = json.loads(content)
    for name in kind.text_fields:
        if fields.get(name) is not None:
            yield NamedText(kind.table, record_id, name, fields[name])


def _find_texts_with(ledger: Ledger, part: str) -> list[str]:
    """The digests of the texts that hold a part, as it is or as JSON quotes it."""
    sql = (
        "SELECT lower(hex(digest)) FROM (SELECT digest, text FROM texts UNION ALL SELECT digest, text FROM short_texts)"
        " WHERE instr(text, ?1) OR instr(text, ?2) LIMIT 1000"
    )
    return list(dict.fromkeys(digest for (digest,) in ledger.rows(sql, (part, _quote(part)))))


def _find_in_records(ledger: Ledger, part: str) -> Iterator[Repeat]:
    """Records that hold a part themselves, outside the texts that can be redacted."""
    for kind in LEDGER_TYPES:
        for field in ("content", "observed"):
            sql = f"SELECT id FROM {kind.table} WHERE instr({field}, ?) ORDER BY seq LIMIT 100"
            for (record_id,) in ledger.rows(sql, (_quote(part),)):
                yield Repeat(kind.table, record_id, field, "")


def _quote(part: str) -> str:
    return json.dumps(part, ensure_ascii=False)[1:-1]
