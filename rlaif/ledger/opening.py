"""A path -> an SQLite connection to a ledger of this version, in write-ahead mode.

Makes the tables in an empty file, and adds to an older ledger the tables it lacks. Refuses files of other programs
and of newer versions, and leaves them untouched. Whoever only reads writes nothing, not even beside the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import apsw

from rlaif.console import say
from rlaif.errors import InputError, LedgerError
from rlaif.ledger.disk import in_sentences, refuse_network_disk
from rlaif.ledger.listing import LISTING_TABLES, count_older_rows, list_older_rows
from rlaif.ledger.schema import ADDED_TABLES, APPLICATION_ID, SCHEMA_VERSION, schema_statements, table_statements

BUSY_TIMEOUT_S = 60.0
SAID_AFTER_S = 2.0
"""Longer waits for another process are said."""
_SETTINGS = (
    "synchronous=FULL",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "secure_delete=FAST",
    "temp_store=MEMORY",
    "cache_size=-65536",
    # subtle: ids are random, so a commit touches many pages, and the same ones again soon after. Writing
    # them back every 40 MB instead of every 4 MB lifts the append rate by two thirds.
    "wal_autocheckpoint=10000",
    "journal_size_limit=67108864",
)


def open_connection(path: Path, *, read_only: bool, stands_still: bool = False) -> apsw.Connection:
    """Open the file, or make it. An error says in a sentence what prevents that.

    stands_still: read the file alone, without a lock; whoever asks for it checks that it stayed as it was.
    """
    if read_only and not path.is_file():
        raise InputError(
            "there is no ledger", where=str(path), fix="run `rlaif generate-prefs` first, or name the file"
        )
    with in_sentences(path), _telling_to_copy(path, read_only=read_only):
        connection = _connect_to_read(path, stands_still=stands_still) if read_only else _connect_to_write(path)
    try:
        with in_sentences(path, connection), _telling_to_copy(path, read_only=read_only):
            connection.set_busy_handler(_wait_for_lock(path))
            if not _is_ledger(connection, path=path):
                _make_ledger(connection, path=path, read_only=read_only)
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}").fetchall()
            _add_tables(connection, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _wait_for_lock(path: Path) -> Callable[[int], bool]:
    """What SQLite calls again and again while another process holds the ledger: waits, and says so after a while."""
    began, is_said = 0.0, False

    def wait(tries: int) -> bool:
        nonlocal began, is_said
        now = time.monotonic()
        if tries == 0:
            began, is_said = now, False
        if not is_said and now - began >= SAID_AFTER_S:
            is_said = True
            say(f"another process holds the ledger ({path}): waiting for it, at most {BUSY_TIMEOUT_S:g} s")
        if now - began >= BUSY_TIMEOUT_S:
            return False
        time.sleep(min(0.05, 0.001 * 2 ** min(tries, 6)))
        return True

    return wait


class FileState(NamedTuple):
    """What changes when a file is written or replaced."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """The state now; None where the file is gone or cannot be examined."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


def find_state(path: Path) -> FileState | None:
    """The state of a ledger's file that this process cannot write and that holds all of its rows; None for any other.

    Only such a file is read without a lock: where it can be written, a process may do so in the middle of the reading.
    What a log beside it holds may be in the file later, or never.
    """
    file = path.resolve()
    log = file.with_name(file.name + "-wal")
    try:
        if can_write(path) or (log.is_file() and log.stat().st_size):
            return None
    except OSError:  # SQLite says what is wrong with it
        return None
    return FileState.of(file)


def can_write(path: Path) -> bool:
    """Whether this process may write the ledger, and the files beside it."""
    file = path.resolve()
    return _may(file.parent, os.W_OK | os.X_OK) and (not file.exists() or _may(file, os.W_OK))


def _may(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _connect_to_write(path: Path) -> apsw.Connection:
    refuse_network_disk(path)
    _make_folder(path.parent)
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)


def _connect_to_read(path: Path, *, stands_still: bool) -> apsw.Connection:
    """A file that stands still needs no lock and no further file, so that any disk will do."""
    if stands_still:
        address = f"{path.absolute().as_uri()}?immutable=1"
        return apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    refuse_network_disk(path)
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


@contextmanager
def _telling_to_copy(path: Path, *, read_only: bool) -> Iterator[None]:
    """Say what to do where SQLite would have to write and may not."""
    try:
        yield
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        if not _may(path, os.R_OK) or can_write(path):
            raise
        newest = ": its newest rows are in the log beside it, and to read them SQLite has to write there"
        why = newest if read_only else ""
        raise LedgerError(
            f"the ledger cannot be {'read' if read_only else 'written'} here{why}",
            where=str(path),
            fix="copy it, with the files whose names begin alike, to a folder that you can write",
        ) from error


def _is_ledger(connection: apsw.Connection, *, path: Path) -> bool:
    """Whether the file is a ledger; False for an empty file. Raises for a file that this version does not
    understand."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        return False
    if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
        raise LedgerError(
            "the file is a database of another program", where=str(path), fix="set ledger.path to a new file"
        )
    version = connection.execute("PRAGMA user_version").get
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has schema {version}, and this rlaif reads schema {SCHEMA_VERSION}",
            where=str(path),
            fix="install the rlaif that wrote it" if version > SCHEMA_VERSION else "set ledger.path to a new file",
        )
    return True


def _make_ledger(connection: apsw.Connection, *, path: Path, read_only: bool) -> None:
    if read_only:
        raise LedgerError("the file is empty", where=str(path), fix="restore it from a copy, or name the ledger's file")
    _use_write_ahead_log(connection, path=path)
    connection.execute("BEGIN IMMEDIATE")
    # another process may have made the tables while this one waited for the lock
    if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        for statement in schema_statements():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _add_tables(connection: apsw.Connection, *, read_only: bool) -> None:
    """Add the tables that an older ledger lacks; to one that is only read, for this connection alone."""
    if not _missing_tables(connection):
        return
    if not read_only:
        connection.execute("BEGIN IMMEDIATE")
    # another process may have made them while this one waited for the lock
    missing = _missing_tables(connection)
    for name in missing:
        table, *more = table_statements(name)
        for statement in [table.replace("CREATE TABLE", "CREATE TEMP TABLE", 1)] if read_only else [table, *more]:
            connection.execute(statement)
    if LISTING_TABLES[0] in missing:
        list_older_rows(connection)
    elif LISTING_TABLES[-1] in missing and not read_only:
        count_older_rows(connection)
    if not read_only:
        connection.execute("COMMIT")


def _missing_tables(connection: apsw.Connection) -> list[str]:
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return [name for name in ADDED_TABLES if name not in there]


def _use_write_ahead_log(connection: apsw.Connection, *, path: Path) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").get
            break
        except apsw.BusyError:
            # subtle: SQLite does not wait on its own when two connections switch the mode at once
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise LedgerError(
            "SQLite's write-ahead log does not work here",
            where=str(path),
            fix="set ledger.path to a local disk",
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"the ledger's folder cannot be made: {error.strerror}",
            where=str(folder),
            fix="check ledger.path",
        ) from error
