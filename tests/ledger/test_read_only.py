"""Whoever only reads a ledger needs to write nothing: no lock, no log, no index, and no disk that can be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from file_modes import read_only
from ledger_world import keep_world, make_judgement, make_world

from rlaif.errors import LedgerError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that was closed."""
    path = tmp_path / "runs" / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        keep_world(ledger, make_world())
    return path


def kill_with_a_log(path: Path) -> None:
    """A process appends and ends without closing the ledger, so that its last row is in the log alone."""
    script = (
        "import os, sys\nfrom ledger_world import make_judgement\nfrom rlaif.ledger.store import Ledger\n"
        "ledger = Ledger.open(sys.argv[1])\nledger.append([make_judgement('killed')])\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=Path(__file__).parents[1])


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize("left", [(), ("-wal",), ("-shm",), ("-wal", "-shm")], ids=str)
def test_a_ledger_that_cannot_be_written_is_read_and_verified(path: Path, left: tuple[str, ...]) -> None:
    for end in left:  # as a copy or a crash leaves them, without a row in them
        path.with_name(path.name + end).touch()
    before = names(path)
    with read_only(path.parent), Ledger.open(path, read_only=True) as ledger:
        assert verify(ledger).ok
        assert ledger.judgements_for(j.question_id for j in make_world().judgements)
    assert names(path) == before


def test_reading_where_writing_is_possible_leaves_the_file_as_it_was(path: Path) -> None:
    state = path.stat()
    with Ledger.open(path, read_only=True) as ledger:
        assert verify(ledger).ok
    assert path.stat() == state or path.stat().st_mtime_ns == state.st_mtime_ns


def test_a_writer_does_not_disturb_who_reads_where_writing_is_possible(path: Path) -> None:
    with Ledger.open(path, read_only=True) as reader:
        with Ledger.open(path) as writer:
            writer.append([make_judgement("new")])
        assert reader.judgements_for(["new"])
        assert verify(reader).ok


def test_rows_that_only_the_log_holds_are_read_where_its_index_is_there_too(path: Path) -> None:
    kill_with_a_log(path)
    with read_only(path.parent), Ledger.open(path, read_only=True) as ledger:
        assert ledger.judgements_for(["killed"])


def test_rows_that_only_the_log_holds_are_never_left_out_without_a_word(path: Path) -> None:
    kill_with_a_log(path)
    path.with_name(path.name + "-shm").unlink()
    with read_only(path.parent), pytest.raises(LedgerError, match=r"in the log beside it.*copy it.*that you can write"):
        Ledger.open(path, read_only=True)
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.judgements_for(["killed"])


def test_a_ledger_that_is_open_elsewhere_is_read_with_its_newest_rows(path: Path) -> None:
    with Ledger.open(path) as writer, Ledger.open(path, read_only=True) as reader:
        writer.append([make_judgement("new")])
        assert reader.judgements_for(["new"])


def test_a_file_that_is_written_while_it_is_read_without_a_lock_is_refused_afterwards(path: Path) -> None:
    with read_only(path.parent):
        reader = Ledger.open(path, read_only=True)
    with Ledger.open(path) as writer:
        writer.append([make_judgement("new")])
    with pytest.raises(LedgerError, match="written while it was read.*run the same command again"):
        reader.close()


def test_writing_where_nothing_can_be_written_says_to_copy_the_ledger(path: Path) -> None:
    with read_only(path.parent), pytest.raises(LedgerError, match="cannot be written here.*copy it"):
        Ledger.open(path)
    with Ledger.open(path, read_only=True) as ledger, pytest.raises(LedgerError, match="opened to be read"):
        ledger.require_writable()


@pytest.mark.parametrize("name", ["a b.sqlite", "q?x=1.sqlite", "h#x.sqlite", "p%41.sqlite", "ä.sqlite"])
def test_any_name_of_a_file_is_opened(path: Path, name: str) -> None:
    other = path.rename(path.with_name(name))
    with Ledger.open(other, read_only=True) as ledger:
        assert ledger.head().seq > 0
    with read_only(other.parent), Ledger.open(other, read_only=True) as ledger:
        assert ledger.head().seq > 0
