"""Records one by one -> commits of many: a future is done only after the commit that holds its record.

A group is written when 64 rows wait or the first has waited 50 ms. Records that arrive while the disk syncs
are in the next commit, so a slow disk makes groups larger, not the run slower.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from rlaif.errors import LedgerError
from rlaif.ledger.store import Ledger, Outcome
from rlaif.records import Record


class GroupWriter:
    """Appends to a ledger from a separate thread; `submit` may be called from any thread."""

    def __init__(self, ledger: Ledger, *, group_rows: int = 64, delay_s: float = 0.05, max_rows: int = 1024) -> None:
        """At most `max_rows` records wait and share a commit; while so many wait, `submit` waits too."""
        self._ledger = ledger
        self._group_rows, self._delay_s, self._max_rows = group_rows, delay_s, max_rows
        self._changed = threading.Condition()
        self._waiting: list[tuple[Record, Future[Outcome]]] = []
        self._oldest = 0.0
        self._writing = False
        self._flush_now = False
        self._closed = False
        self._failure: LedgerError | None = None
        self._thread = threading.Thread(target=self._write_groups, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, record: Record) -> Future[Outcome]:
        """Queue a record. The future gives the record's outcome once it is on the disk."""
        _ = record.id  # hashed here, in the caller's thread
        future: Future[Outcome] = Future()
        with self._changed:
            while len(self._waiting) >= self._max_rows and not self._closed:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise ValueError("the writer is closed")
            if not self._waiting:
                self._oldest = time.monotonic()
            self._waiting.append((record, future))
            if len(self._waiting) in (1, self._group_rows):
                self._changed.notify_all()
        return future

    def flush(self) -> None:
        """Return once everything submitted so far is committed."""
        with self._changed:
            self._flush_now = True
            self._changed.notify_all()
            while (self._waiting or self._writing) and not self._closed:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Commit what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except LedgerError:
            if error is None:
                raise

    def _write_groups(self) -> None:
        group: list[tuple[Record, Future[Outcome]]] = []
        try:
            while group := self._next_group():
                appended = self._ledger.append(record for record, _ in group)
                for (_, future), outcome in zip(group, appended.outcomes, strict=True):
                    future.set_result(outcome)
        except LedgerError as error:
            self._failure = error
        finally:
            with self._changed:
                self._closed, self._writing = True, False
                left = [future for _, future in (*group, *self._waiting) if not future.done()]
                self._waiting.clear()
                self._changed.notify_all()
            for future in left:
                future.set_exception(self._failure or LedgerError("the ledger's writer ended", fix="resume the run"))

    def _next_group(self) -> list[tuple[Record, Future[Outcome]]]:
        """Wait for the next group; empty when the writer is closed and nothing is left."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._closed and len(self._waiting) < self._group_rows:
                if not self._waiting:
                    self._flush_now = False
                    self._changed.wait()
                    continue
                due = self._oldest + self._delay_s - time.monotonic()
                if self._flush_now or due <= 0:
                    break
                self._changed.wait(due)
            group, self._waiting = self._waiting, []
            self._flush_now = False
            self._writing = bool(group)
            self._changed.notify_all()
            return group
