"""Group commit: a record counts once it is on the disk, from many threads and many processes."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from ledger_world import make_judgement

from rlaif.errors import LedgerError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.ledger.writer import GroupWriter
from rlaif.records import Judgement


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.sqlite")


def test_a_future_is_done_only_when_another_connection_sees_the_row(ledger: Ledger) -> None:
    judgement = make_judgement("q1")
    with GroupWriter(ledger) as writer, Ledger.open(ledger.path, read_only=True) as reader:
        assert writer.submit(judgement).result(timeout=10) == "new"
        assert reader.get(Judgement, judgement.id) == judgement


def test_a_lone_record_waits_no_longer_than_its_delay(ledger: Ledger) -> None:
    with GroupWriter(ledger, group_rows=1000, delay_s=0.2) as writer:
        started = time.monotonic()
        writer.submit(make_judgement("q1")).result(timeout=10)
        assert time.monotonic() - started >= 0.2


def test_a_full_group_does_not_wait(ledger: Ledger) -> None:
    with GroupWriter(ledger, group_rows=4, delay_s=60) as writer:
        futures = [writer.submit(make_judgement(f"q{n}")) for n in range(4)]
        assert [future.result(timeout=10) for future in futures] == ["new"] * 4


def test_leaving_the_block_commits_what_waits(ledger: Ledger) -> None:
    with GroupWriter(ledger, delay_s=60) as writer:
        future = writer.submit(make_judgement("q1"))
    assert future.result(timeout=0) == "new"


def test_flush_returns_when_everything_is_committed(ledger: Ledger) -> None:
    with GroupWriter(ledger, delay_s=60) as writer:
        writer.flush()
        futures = [writer.submit(make_judgement(f"q{n}")) for n in range(3)]
        writer.flush()
        assert all(future.done() for future in futures)
        assert ledger.head().seq == 3


def test_each_future_says_what_became_of_its_record(ledger: Ledger) -> None:
    with GroupWriter(ledger) as writer:
        records = (make_judgement("q1"), make_judgement("q1"), make_judgement("q1", "second"))
        futures = [writer.submit(record) for record in records]
    assert [future.result() for future in futures] == ["new", "known", "conflicting"]


def test_records_of_several_threads_are_all_stored_once(ledger: Ledger) -> None:
    def submit(writer: GroupWriter, start: int) -> None:
        for number in range(start, start + 300):
            writer.submit(make_judgement(f"q{number}"))

    with GroupWriter(ledger, max_rows=100) as writer:
        threads = [threading.Thread(target=submit, args=(writer, start)) for start in (0, 150, 300, 450)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verify(ledger).rows == 750
    assert verify(ledger).ok


def test_when_the_ledger_cannot_be_written_every_waiting_future_says_so(ledger: Ledger) -> None:
    writer = GroupWriter(ledger, group_rows=2, delay_s=60)
    with apsw.Connection(str(ledger.path)) as other:
        other.execute("DROP TABLE judgements")
    futures = [writer.submit(make_judgement(f"q{n}")) for n in range(2)]
    for future in futures:
        with pytest.raises(LedgerError):
            future.result(timeout=10)
    with pytest.raises(LedgerError):
        writer.submit(make_judgement("q3"))
    with pytest.raises(LedgerError):
        writer.close()


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def test_two_processes_writing_at_once_leave_an_unbroken_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()

    def write(name: str, other: str) -> None:
        with Ledger.open(path) as ledger:
            for number in range(10_000):
                ledger.append([make_judgement(f"{name}{number}"), make_judgement(f"both{number}")])
                if number >= 30 and ledger.judgements_for([f"{other}30"]):
                    break

    for pid in [in_child(lambda n=names: write(*n)) for names in (("a", "b"), ("b", "a"))]:
        assert os.waitpid(pid, 0)[1] == 0
    with Ledger.open(path) as ledger:
        head = ledger.head()
        assert verify(ledger, heads=[head])[:3] == (head.seq, head, ())
        counts = dict(ledger.rows("SELECT rtrim(question_id, '0123456789'), count(*) FROM judgements GROUP BY 1"))
    assert min(counts["a"], counts["b"]) > 30
    assert counts["both"] == max(counts["a"], counts["b"])


def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    rng = random.Random(0)
    acknowledged: list[str] = []
    for attempt in range(20):
        reading, writing = os.pipe()

        def write(attempt: int = attempt, writing: int = writing) -> None:
            with Ledger.open(path) as ledger, GroupWriter(ledger, group_rows=8) as writer:
                for number in range(sys.maxsize):
                    key = f"q{attempt}-{number}"
                    future = writer.submit(make_judgement(key))
                    future.add_done_callback(lambda _, k=key: os.write(writing, f"{k}\n".encode()))

        pid = in_child(write)
        os.close(writing)
        select.select([reading], [], [], 20)  # until the first record is acknowledged
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(reading) as pipe:
            acknowledged += [line.rstrip("\n") for line in pipe if line.endswith("\n")]
        with Ledger.open(path) as ledger:
            assert verify(ledger).ok
    assert len(acknowledged) >= 20 * 8
    with Ledger.open(path) as ledger:
        assert len(ledger.judgements_for(acknowledged)) == len(acknowledged)


ONE = """
import os, sys
from ledger_world import make_judgement
from rlaif.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
os.write(1, b"start")
ledger.append([make_judgement("q1")])
os.write(1, b"acknowledged")
"""


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_disk_is_synced_before_a_record_is_acknowledged(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tests = Path(__file__).parent.parent
    strace = ["strace", "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync,write,pwrite64"]
    subprocess.run(
        [*strace, sys.executable, "-c", ONE, str(tmp_path / "ledger.sqlite")],
        env={"PYTHONPATH": f"{tests}:{tests.parent}"}, stdout=subprocess.DEVNULL, check=True, timeout=120,
    )  # fmt: skip
    said = trace.read_text()
    between = said[said.index('"start"') : said.index('"acknowledged"')]
    assert between.rindex("sync(") > between.rindex("pwrite64(")
