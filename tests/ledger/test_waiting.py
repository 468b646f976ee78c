"""A ledger that another process holds: what is said while it is waited for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import apsw
import pytest

from rlaif.errors import LedgerError
from rlaif.ledger import opening
from rlaif.ledger.disk import in_sentences


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(opening, "SAID_AFTER_S", 0.1)
    opening.open_connection(tmp_path / "ledger.sqlite", read_only=False).close()
    return tmp_path / "ledger.sqlite"


def test_a_wait_for_another_process_is_said_once_and_ends_when_that_lets_go(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection, other = opening.open_connection(path, read_only=False), apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    lets_go = threading.Timer(0.4, lambda: other.execute("ROLLBACK"))
    lets_go.start()
    started = time.monotonic()
    connection.execute("BEGIN IMMEDIATE")
    assert time.monotonic() - started >= 0.3
    lets_go.join()
    assert capsys.readouterr().err.count("another process holds the ledger") == 1


def test_a_wait_that_takes_too_long_ends_in_a_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.2)
    connection, other = opening.open_connection(path, read_only=False), apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="another process holds the ledger for writing"), in_sentences(path):
        connection.execute("BEGIN IMMEDIATE")


def test_a_short_wait_says_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "SAID_AFTER_S", 5.0)
    connection, other = opening.open_connection(path, read_only=False), apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    lets_go = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    lets_go.start()
    connection.execute("BEGIN IMMEDIATE")
    lets_go.join()
    assert capsys.readouterr().err == ""
