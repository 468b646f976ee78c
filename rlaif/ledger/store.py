"""The ledger: records in, acknowledged once committed; records out, by id and by request key.

Append-only and chained; any process may write. A second record for a key is not stored but
reported. Decides nothing about what it stores.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import apsw
from pydantic_core import PydanticSerializationError

from rlaif.errors import LedgerError
from rlaif.ledger.chain import GENESIS, Head, link
from rlaif.ledger.disk import in_sentences
from rlaif.ledger.listing import LISTED, ListingWriter
from rlaif.ledger.opening import FileState, find_state, open_connection
from rlaif.ledger.schema import FIND_HEAD, FIND_KEYS, INSERT_ROW, READ_HEAD, TABLES
from rlaif.ledger.texts import (
    KeptText,
    NewText,
    Redaction,
    StoredRow,
    find_kept_text,
    find_text,
    find_texts,
    id_lists,
    insert_texts,
    redact_everywhere,
)
from rlaif.records import FailedJudgement, Judgement, Observed, Record, Sample, Use

R = TypeVar("R", bound=Record)
Outcome = Literal["new", "known", "conflicting"]
MADE_AGAIN = "makings"
"""Table name in a `Use` that marks where a stage was made again; there is no such table."""


class Conflict(NamedTuple):
    """A record whose key belongs to another record of the ledger."""

    record: Record
    stored_id: str


class Makings(NamedTuple):
    """The makings of a stage of a run."""

    number: int
    """How often the stage was made again."""
    began_at: int
    """Place in the chain of the mark after which the last making's uses come; 0: the stage was made once."""


class Appended(NamedTuple):
    new: int
    known: int
    conflicting: list[Conflict]
    outcomes: list[Outcome]
    """One per record, in the order given."""


class Ledger:
    """An open ledger. May be used from several threads; not across a fork."""

    def __init__(
        self, path: Path, connection: apsw.Connection, *, read_only: bool = False, read_from: FileState | None = None
    ) -> None:
        """read_from: state of the file when it was opened without a lock."""
        self.path = path
        self._read_only, self._read_from = read_only, read_from
        self._connection = connection
        self._lock = threading.RLock()
        self._failure: LedgerError | None = None
        self._chain_head: tuple[int, bytes] | None = None
        self._data_version = -1
        self._listing = ListingWriter()

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a ledger; unless `read_only`, make it where there is none. Reading writes no file beside it."""
        path = Path(path)
        state = find_state(path) if read_only else None
        connection = open_connection(path, read_only=read_only, stands_still=state is not None)
        return cls(path, connection, read_only=read_only, read_from=state)

    def close(self) -> None:
        with self._lock, in_sentences(self.path, self._connection):
            self._connection.close()
        if self._read_from is not None and FileState.of(self.path) not in (None, self._read_from):
            raise LedgerError(
                "the ledger was written while it was read, so what was read may be mixed",
                where=str(self.path),
                fix="run the same command again",
            )

    def require_writable(self) -> None:
        """Refuse where nothing can be stored, before anything is done whose result would be lost."""
        if self._read_only:
            raise LedgerError(
                "nothing can be stored here: the ledger was opened to be read",
                where=str(self.path),
                fix="copy the runs and their ledger to a folder that you can write, and name it by --runs-dir",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Iterable[Record]) -> Appended:
        """Store the records in one commit; when this returns they are acknowledged."""
        rows: list[_Row] = []
        for record in records:
            try:
                rows.append(_row(record))
            except (UnicodeEncodeError, PydanticSerializationError) as error:
                raise LedgerError(
                    f"a record of {record.table} cannot be stored: {error}",
                    where=str(self.path),
                    fix="look for text that is not Unicode in what it was made from",
                ) from error
        with self._lock, self._writing():
            return self._extend(rows)

    def put_texts(self, texts: Iterable[str]) -> None:
        """Keep texts that records name by their digest and do not hold themselves."""
        self.append(KeptText(text=text) for text in texts)

    def redact_text(self, digest: str, *, reason: str, author: str, at: str) -> bool:
        """Remove a text permanently. The chain still verifies, because it covers only the text's digest.

        Returns whether the text is also gone from the write-ahead log. It is False while another process
        reads the ledger; the text is then gone once the last process has closed the ledger.
        """
        redaction = Redaction(digest=digest, reason=reason, author=author, observed=Observed(at=at))
        with self._lock:
            if self.text(digest) is None:
                raise LedgerError(
                    f"there is no text {digest}, or it is redacted already",
                    where=str(self.path),
                    fix="take the digest from `rlaif audit show`",
                )
            with self._writing():
                self._extend([_row(redaction)])
                self._connection.execute("PRAGMA secure_delete=ON").fetchall()
                redact_everywhere(self._connection, digest)
            with in_sentences(self.path):
                self._connection.execute("PRAGMA secure_delete=FAST").fetchall()
                busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
                return not busy

    def get(self, kind: type[R], record_id: str) -> R | None:
        return self.find(kind, [record_id]).get(record_id)

    def find(self, kind: type[R], ids: Iterable[str]) -> dict[str, R]:
        """The records with these ids, as far as they are in the ledger."""
        return self._select(kind, "id", ids)

    def judgements_for(self, question_ids: Iterable[str]) -> dict[str, Judgement]:
        """The acknowledged answers, by question id."""
        return self._select(Judgement, "question_id", question_ids)

    def samples_for(self, request_keys: Iterable[str]) -> dict[str, Sample]:
        """The samples that are in the ledger, by request key."""
        return self._select(Sample, "request_key", request_keys)

    def failed_attempts(self, question_ids: Iterable[str]) -> dict[str, int]:
        """How often each question failed; questions that never failed are missing."""
        sql = (
            "SELECT question_id, count(*) FROM failed_judgements"
            " WHERE question_id IN (SELECT value FROM json_each(?)) GROUP BY question_id"
        )
        return {key: count for chunk in id_lists(question_ids) for key, count in self.rows(sql, (chunk,))}

    def failures_for(self, question_ids: Iterable[str]) -> dict[str, FailedJudgement]:
        """The last failure of each question; questions that never failed are missing."""
        return self._select(FailedJudgement, "question_id", question_ids)

    def used(self, run: str, round: int, stage: str, kind: type[R]) -> list[R]:
        """The records of a kind that a stage of a run used when it was last made, in the order of their use."""
        sql = (
            "SELECT seq, record_id FROM uses WHERE run = ? AND round = ? AND stage = ? AND record_table = ?"
            " AND seq > ? ORDER BY seq LIMIT 5000"
        )
        ids: list[str] = []
        after = self.makings(run, round, stage).began_at
        while page := self.rows(sql, (run, round, stage, kind.table, after)):
            ids.extend(record_id for _, record_id in page)
            after = page[-1][0]
        found = self.find(kind, ids)
        if missing := next((record_id for record_id in ids if record_id not in found), None):
            raise LedgerError(
                f"{kind.table} {missing}, used by run {run}, is missing",
                where=str(self.path),
                fix="run `rlaif audit verify` to see what was removed",
            )
        return [found[record_id] for record_id in dict.fromkeys(ids)]

    def count_used(self, run: str, round: int, stage: str) -> dict[str, int]:
        """How many records of each table a stage of a run used when it was last made."""
        sql = (
            "SELECT record_table, count(DISTINCT record_id) FROM uses"
            " WHERE run = ? AND round = ? AND stage = ? AND seq > ? GROUP BY record_table ORDER BY record_table"
        )
        return dict(self.rows(sql, (run, round, stage, self.makings(run, round, stage).began_at)))

    def makings(self, run: str, round: int, stage: str) -> Makings:
        """How often a stage was made again, and where its last making began."""
        sql = "SELECT count(*), max(seq) FROM uses WHERE run = ? AND round = ? AND stage = ? AND record_table = ?"
        number, seq = self.rows(sql, (run, round, stage, MADE_AGAIN))[0]
        return Makings(number, seq or 0)

    def make_again(self, run: str, round: int, stage: str) -> None:
        """Mark that a stage is made again: what it used so far no longer counts, and stays in the chain."""
        number = self.makings(run, round, stage).number + 1
        mark = Use(run=run, round=round, stage=stage, record_table=MADE_AGAIN, record_id=str(number), making=number)
        self.append([mark])

    def head(self) -> Head:
        """The chain's last row and the hash after it."""
        page = self.rows(READ_HEAD)
        return Head(page[0][0], page[0][1].hex()) if page else Head(0, GENESIS.hex())

    def head_at(self, seq: int) -> str | None:
        """The chain's head after one of its rows; None where there is no such row."""
        page = self.rows(FIND_HEAD, (seq,))
        return page[0][0].hex() if page else None

    def text(self, digest: str) -> str | None:
        """A text by its digest; None where it is not known or redacted. May look through all texts."""
        return find_text(self.rows, digest)

    def kept_text(self, digest: str) -> str | None:
        """A text that `put_texts` stored: of a template, a principle, its opposite; None where there is none now."""
        return find_kept_text(self.rows, digest)

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The result of one reading statement."""
        with self._lock, in_sentences(self.path, self._connection):
            return self._connection.execute(sql, bindings).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside the block see the ledger at one moment; only this object's other threads wait."""
        with self._lock, in_sentences(self.path, self._connection):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def restore(self, kind: type[R], stored: Sequence[StoredRow]) -> list[R]:
        """Records from their rows."""
        texts = find_texts(self.rows, kind, stored)
        try:
            return [
                kind.restore(row.content, texts=texts, observed_json=row.observed, record_id=row.id) for row in stored
            ]
        except KeyError as error:
            raise LedgerError(
                f"text {error.args[0]} of {kind.table} is missing",
                where=str(self.path),
                fix="run `rlaif audit verify` to see what was removed",
            ) from error

    def _select(self, kind: type[R], column: str, keys: Iterable[str]) -> dict[str, R]:
        sql = (
            f"SELECT {column}, seq, id, content, observed FROM {kind.table}"
            f" WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY seq"
        )
        found: dict[str, R] = {}
        for chunk in id_lists(keys):
            page = self.rows(sql, (chunk,))
            records = self.restore(kind, [StoredRow(*row[1:]) for row in page])
            found.update(zip((row[0] for row in page), records, strict=True))
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; whatever goes wrong, nothing of it stays."""
        if self._failure is not None:
            raise self._failure
        try:
            with in_sentences(self.path, self._connection):
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._chain_head = None
                    self._listing.forget()
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
        except LedgerError as error:
            if isinstance(error.__cause__, apsw.IOError):
                # subtle: after a failed fsync the kernel may drop what it could not write, and a second
                # fsync then succeeds. So this connection does not try again.
                self._failure = error
            raise

    def _extend(self, rows: Sequence[_Row]) -> Appended:
        """Chain and insert the rows that are new; called inside a transaction."""
        connection = self._connection
        known_to, head = self._read_head()
        seq = known_to
        stored_ids = self._stored_ids(rows)
        inserts: dict[str, list[tuple[int, str, str, str | None, bytes]]] = defaultdict(list)
        texts: list[tuple[int, str, NewText]] = []
        listed: list[tuple[int, Record]] = []
        outcomes: list[Outcome] = []
        conflicting: list[Conflict] = []
        for record, table, key, record_id, content, observed, new_texts in rows:
            stored_id = stored_ids[table].setdefault(key, "")
            if stored_id == record_id:
                outcomes.append("known")
            elif stored_id:
                outcomes.append("conflicting")
                conflicting.append(Conflict(record, stored_id))
            else:
                outcomes.append("new")
                stored_ids[table][key] = record_id
                seq += 1
                head = link(head, seq=seq, table=table, record_id=record_id, content=content, observed=observed)
                inserts[table].append((seq, record_id, content, observed, head))
                texts += [(seq, table, text) for text in new_texts]
                if table in LISTED:
                    listed.append((seq, record))
        for table, new in inserts.items():
            connection.executemany(INSERT_ROW[table], new)
        insert_texts(connection, texts)
        if listed:
            self._listing.write(connection, listed, known_to=known_to)
        self._chain_head = (seq, head)
        num_new = sum(map(len, inserts.values()))
        return Appended(num_new, len(rows) - num_new - len(conflicting), conflicting, outcomes)

    def _read_head(self) -> tuple[int, bytes]:
        """The chain's last row and hash: as this connection left them, unless another one has written since."""
        version = self._connection.execute("PRAGMA data_version").get
        if self._chain_head is None or version != self._data_version:
            self._chain_head = self._connection.execute(READ_HEAD).get or (0, GENESIS)
            self._data_version = version
        return self._chain_head

    def _stored_ids(self, rows: Sequence[_Row]) -> dict[str, dict[str, str]]:
        """Table -> key -> id, for the keys of the rows that are in the ledger."""
        keys: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            keys[row.table].append(row.key)
        return {
            table: {key: record_id for chunk in id_lists(of_table)
                    for key, record_id in self._connection.execute(FIND_KEYS[table], (chunk,))}
            for table, of_table in keys.items()
        }  # fmt: skip


class _Row(NamedTuple):
    """A record as it is stored; made before the transaction begins, so that the transaction is short."""

    record: Record
    table: str
    key: str
    id: str
    content: str
    observed: str | None
    texts: list[NewText]


def _row(record: Record) -> _Row:
    observed = record.__dict__.get("observed")  # not getattr, which is slow where there is none
    texts: list[NewText] = []
    if record.text_fields:
        digests = record.text_digests
        for field, (name, text) in enumerate(record.texts.items()):
            if text is not None and (digest := digests[name]) is not None:
                if not text.isascii():
                    text.encode()  # a lone surrogate has no UTF-8 form, and SQLite would refuse it later
                texts.append(NewText(field, bytes.fromhex(digest), text))
    return _Row(
        record=record,
        table=record.table,
        key=getattr(record, TABLES[record.table].key),
        id=record.id,
        content=record.content_json,
        observed=None if observed is None else observed.__pydantic_serializer__.to_json(observed).decode(),
        texts=texts,
    )
