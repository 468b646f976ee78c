"""Checks a ledger against itself and against heads printed elsewhere: what was changed, and where.

Finds every changed field, removed or added row and reordering, and, with printed heads, a cut tail or a
rewritten history. Repairs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import apsw
from pydantic import ValidationError
from pydantic_core import from_json

from rlaif.errors import LedgerError
from rlaif.ledger.chain import GENESIS, Head, PrintedHead, link
from rlaif.ledger.listing import COUNT_TRIGGERS, LISTING_TABLES, compare_listing
from rlaif.ledger.rows import KINDS, ROWS_PER_STATEMENT, ChainRow, Kind, rows_in_order
from rlaif.ledger.schema import ADDED_TABLES, schema_statements
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import StoredRow, find_texts, place_of
from rlaif.records import Judgement, digest_text


class Break(NamedTuple):
    """Something that does not fit, and its place."""

    table: str
    """Empty where no table can be named."""
    seq: int | None
    what: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.table, "" if self.seq is None else f"row {self.seq}") if part)
        return f"{where}: {self.what}" if where else self.what


class FoundHead(NamedTuple):
    """Where a head is in the chain, and what it covers."""

    seq: int
    num_judgements: int
    """Judgements up to this row, and this one."""


class Verification(NamedTuple):
    rows: int
    head: Head
    breaks: tuple[Break, ...]
    found: dict[str, FoundHead] = {}
    """Heads that were printed without a row, by their digits."""

    @property
    def ok(self) -> bool:
        return not self.breaks


def verify(ledger: Ledger, *, heads: Iterable[Head | PrintedHead] = (), left_out: Collection[str] = ()) -> Verification:
    """Check the whole ledger; `heads` are those printed in manifests, reports and model cards.

    left_out: digests of texts that a copy of the ledger was made without, and that therefore nobody misses.
    """
    walk = _Walk(heads)
    try:
        with ledger.snapshot():
            walk.breaks += _check_file(ledger)
            texts = _Texts(ledger, left_out)
            for row in rows_in_order(ledger):
                wrong = texts.check(row)
                walk.step(row, fits=not wrong and not KINDS[row.place].has_own_id)
                walk.breaks += wrong
            unlisted = [Break(*found) for found in compare_listing(ledger.rows, last=walk.head.seq)]
    except LedgerError as error:
        return Verification(walk.rows, walk.head, (*walk.breaks, Break("", None, error.what)), walk.found)
    walk.finish()
    texts.finish()
    return Verification(walk.rows, walk.head, (*walk.breaks, *texts.found, *unlisted), walk.found)


class _Walk:
    """Follows the chain row by row."""

    def __init__(self, heads: Iterable[Head | PrintedHead]) -> None:
        self.rows = self._num_judgements = 0
        self.breaks: list[Break] = []
        self._seq, self._head = 0, GENESIS
        self.found: dict[str, FoundHead] = {}
        self._by_row: dict[int, list[PrintedHead]] = {}
        self._without_row: dict[str, list[PrintedHead]] = {}
        self._last_held = 0
        for head in heads:
            printed = PrintedHead(*head)
            if printed.seq is None:
                self._without_row.setdefault(printed.hex, []).append(printed)
            else:
                self._by_row.setdefault(printed.seq, []).append(printed)
        # Heads that the next row may extend: the stored one, and after a break also the recomputed one,
        # so that one changed head is reported at its own row and not again at the next.
        self._previous: tuple[bytes, ...] = (GENESIS,)
        self._compare_with_printed("", GENESIS)

    @property
    def head(self) -> Head:
        """The last row so far, and the head after it."""
        return Head(self._seq, self._head.hex())

    def step(self, row: ChainRow, *, fits: bool) -> None:
        """Take the next row. fits: whether its id and its texts are known to be those of its content."""
        seq, place, record_id, content, observed, head = row
        kind = KINDS[place]
        self.rows += 1
        self._num_judgements += kind.type is Judgement
        expected = self._seq + 1
        linked = [
            link(previous, seq=seq, table=kind.table, record_id=record_id, content=content, observed=observed)
            for previous in self._previous
        ]
        self._previous = (head,)
        if seq > expected:
            missing = f"row {expected} is" if seq == expected + 1 else f"rows {expected} to {seq - 1} are"
            self.breaks.append(Break(kind.table, seq, f"{missing} missing before it"))
        elif seq < expected:
            self.breaks.append(Break(kind.table, seq, "its place in the chain is taken by another row"))
        elif head not in linked:
            what = "it was changed, or the row before it was replaced: the chain's head does not fit"
            what += "; its content fits its id, what was observed or the head may not" if fits else ""
            self.breaks.append(Break(kind.table, seq, what))
            self._previous = (head, linked[0])
        self._seq, self._head = seq, head
        if self._without_row or seq in self._by_row:
            self._compare_with_printed(kind.table, head)

    def finish(self) -> None:
        for seq in sorted(self._by_row):
            cut = seq > self.head.seq
            what = f"the ledger ends at row {self.head.seq}" if cut else "the row is missing"
            for where in _places(self._by_row[seq]):
                shown = f" (printed{where})" if where else ""
                self.breaks.append(Break("", seq, f"a head was printed for this row, and {what}{shown}"))
        for digits, printed in self._without_row.items():
            if digits not in self.found:
                for where in dict.fromkeys(f" of {head.where}" if head.where else "" for head in printed):
                    self.breaks.append(Break("", None, f"the head {digits}{where} is in no row of the chain"))

    def _compare_with_printed(self, table: str, head: bytes) -> None:
        digits = head.hex()
        printed = self._by_row.pop(self.head.seq, ())
        wrong = [head for head in printed if head.hex != digits]
        rewritten = "" if self.breaks or not wrong else self._describe_rewritten()
        for where in _places(wrong):
            what = f"its head is not the one that was printed{where}{rewritten}"
            self.breaks.append(Break(table, self.head.seq, what))
        if printed and not wrong:
            self._last_held = self.head.seq
        if digits in self._without_row:
            self.found[digits] = FoundHead(self.head.seq, self._num_judgements)

    def _describe_rewritten(self) -> str:
        """Where a change is that the chain itself does not show, because every head after it was made again."""
        first, last = self._last_held + 1, self.head.seq
        rows = f"row {last} is another" if first >= last else f"the first row that differs is one of {first} to {last}"
        return f"; {rows}, and every head after it was made again"


def _places(printed: Iterable[PrintedHead]) -> list[str]:
    """The places that print heads, each once, as words that follow "printed"."""
    return list(dict.fromkeys(f" in {head.where}" if head.where else "" for head in printed))


class _Texts:
    """Checks that every text matches its digest, is stored in its place, and is named by a record."""

    def __init__(self, ledger: Ledger, left_out: Collection[str]) -> None:
        self._read, self._left_out = ledger.rows, left_out
        self._short = _pages(ledger, "SELECT place, lower(hex(digest)), text FROM short_texts", "place")
        self._next_short = next(self._short, None)
        self._shared: set[str] = set()
        self._unused: set[str] = set()
        self._removed: dict[str, Break] = {}
        self._redactions: dict[str, int] = dict(ledger.rows("SELECT digest, seq FROM redactions"))
        self._kept: set[str] = set()
        self.found: list[Break] = []
        shared = "SELECT digest, lower(hex(digest)), text FROM texts"
        for _, digest, text in _pages(ledger, shared, "digest", first=b""):
            self._check_text("texts", None, digest, text)
            self._shared.add(digest)
            self._unused.add(digest)

    def check(self, row: ChainRow) -> Sequence[Break]:
        """Check a row's id and texts; called for the rows in the order of the chain."""
        seq, kind = row.seq, KINDS[row.place]
        has_short = self._next_short is not None and self._next_short[0] < place_of(seq + 1, 0)
        short = dict(self._short_up_to(place_of(seq + 1, 0), named_from=place_of(seq, 0))) if has_short else {}
        if kind.text_fields and (wrong := self._find_wrong_text(row, kind, short)) is not None:
            return [Break(kind.table, seq, wrong)]
        found = [
            Break(kind.table, seq, f"a text {digest} that it does not name stands at its place")
            for digest in short.values()
        ]
        if not self._id_fits(row, kind):
            found.append(Break(kind.table, seq, "its id is not that of its content"))
        return found

    def _find_wrong_text(self, row: ChainRow, kind: Kind, short: dict[int, str]) -> str | None:
        """What is wrong with the texts that a row names, which are taken out of `short`; None: nothing."""
        try:
            fields = from_json(row.content)
            named = {at: fields.get(name) for at, name in enumerate(kind.text_fields)}
        except (ValueError, AttributeError):
            return "its content is not that of such a record"
        for at, digest in named.items():
            if digest is None:
                continue
            stored = short.pop(place_of(row.seq, at), None)
            if stored is None and digest in self._shared:
                self._unused.discard(digest)
            elif stored != digest:
                return f"its text {digest} is missing"
        return None

    def _short_up_to(self, end: int, *, named_from: int) -> Iterator[tuple[int, str]]:
        """The short texts before place `end`; those before `named_from` belong to no row."""
        while self._next_short is not None and self._next_short[0] < end:
            place, digest, text = self._next_short
            self._check_text("short_texts", place, digest, text)
            if place < named_from:
                self.found.append(Break("short_texts", place, "no record names this text"))
            else:
                yield place, digest
            self._next_short = next(self._short, None)

    def _check_text(self, table: str, place: int | None, digest: str, text: str | None) -> None:
        if text is None:
            removed = Break(table, place, f"text {digest} was removed without a redaction")
            self._removed.setdefault(digest, removed)
            return
        if digest in self._redactions:
            self._kept.add(digest)
        if digest_text(text) != digest:
            self.found.append(Break(table, place, f"the text does not match its digest {digest}"))

    def _id_fits(self, row: ChainRow, kind: Kind) -> bool:
        if not kind.has_own_id:
            return digest_text(f"{kind.table}\n{row.content}")[:32] == row.id
        try:
            texts = find_texts(self._read, kind.type, [StoredRow(row.seq, row.id, row.content, row.observed)])
            # an id made of a text that was redacted is covered by the chain alone
            return None in texts.values() or kind.type.restore(row.content, texts=texts).id == row.id
        except (ValidationError, ValueError, KeyError, TypeError):
            return False

    def finish(self) -> None:
        """Check which texts and redactions are left over; called after the last row."""
        for _ in self._short_up_to(2**63, named_from=2**63):
            pass
        for digest, removed in self._removed.items():
            if digest not in self._redactions and digest not in self._left_out:
                self.found.append(removed)
        for digest, seq in self._redactions.items():
            if digest in self._kept:
                self.found.append(Break("redactions", seq, f"the redacted text {digest} is still there"))
            elif digest not in self._removed:
                self.found.append(Break("redactions", seq, f"the redacted text {digest} is missing"))
        self.found += [Break("texts", None, f"no record names text {d}") for d in sorted(self._unused)]


def _pages(ledger: Ledger, select: str, key: str, *, first: int | bytes = -(2**63)) -> Iterator[tuple[Any, ...]]:
    """All rows of a table in the order of its key, which `select` gives first."""
    sql = f"{select} WHERE {key} > ? ORDER BY {key} LIMIT {ROWS_PER_STATEMENT}"
    page = ledger.rows(sql, (first,))
    yield from page
    while len(page) == ROWS_PER_STATEMENT:
        page = ledger.rows(sql, (page[-1][0],))
        yield from page


SCHEMA_ROWS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"


@lru_cache(maxsize=1)
def _expected_schema() -> frozenset[tuple[Any, ...]]:
    pristine = apsw.Connection(":memory:")
    for statement in schema_statements():
        pristine.execute(statement)
    return frozenset(pristine.execute(SCHEMA_ROWS))


def _check_file(ledger: Ledger) -> Iterator[Break]:
    """The tables are those of this version, and the file's own structure is whole."""
    found = ledger.rows(SCHEMA_ROWS)
    there = {table for _, _, table, _ in found}
    for _, name, table, _ in sorted(_expected_schema().symmetric_difference(found), key=str):
        # an older ledger lacks a table and what keeps it, which may stand on a table that it has
        table = LISTING_TABLES[-1] if name in COUNT_TRIGGERS else table
        if table in there or table not in ADDED_TABLES:
            yield Break(table, None, f"{name} is not as rlaif made it")
    for (problem,) in ledger.rows("PRAGMA integrity_check(20)"):
        if problem != "ok":
            yield Break("", None, f"SQLite finds the file damaged: {problem}")
