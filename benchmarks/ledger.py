"""How many judgements a second the ledger takes: made, validated, hashed, chained, committed.

    python benchmarks/ledger.py [--dir FOLDER] [--rows 50000]

The floor beside it: the same bytes into the same tables and indexes by apsw alone, in the same groups,
with nothing made, hashed or chained. On a disk whose sync is slow, the sync bounds both. Writes
benchmarks/results/ledger.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.ledger.opening import open_connection
from rlaif.ledger.schema import INSERT_ROW
from rlaif.ledger.store import Ledger, Outcome
from rlaif.ledger.texts import INSERT_SHORT_TEXT
from rlaif.ledger.verify import verify
from rlaif.ledger.writer import GroupWriter
from rlaif.records import Judgement, Observed, VerdictLogprob, digest_text

RESULTS = Path(__file__).parent / "results" / "ledger.json"
GROUP = 64
TARGET = 20_000


def make_judgement(number: int, question_id: str) -> Judgement:
    """A judgement as the front desk's judge gives it, with a reason and a raw reply of its own."""
    reason = f"reply a is very polite , fully what is asked ; b is curt , weak fit . case {number}"
    return Judgement(
        question_id=question_id,
        verdict="first",
        logprobs=(
            VerdictLogprob(verdict="first", logprob=-0.1 - number * 1e-6),
            VerdictLogprob(verdict="second", logprob=-2.5),
        ),
        label_mass=0.9998,
        reason=reason,
        raw_reply=f"{reason}\nVerdict: A",
        observed=Observed(at="2026-01-01T00:00:00.000+00:00", latency_s=0.005, prompt_tokens=312, reply_tokens=24),
    )


class Timed(NamedTuple):
    seconds: float
    cpu_seconds: float

    def rates(self, rows: int) -> dict[str, float]:
        return {
            "rows_per_s": round(rows / self.seconds),
            "cpu_us_per_row": round(self.cpu_seconds / rows * 1e6, 1),
        }


@contextmanager
def timed(into: list[Timed]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into.append(Timed(time.perf_counter() - wall, time.process_time() - cpu))


def append_in_groups(path: Path, question_ids: list[str]) -> Timed:
    """By `Ledger.append`: one commit and one sync per 64 rows, and nothing else meanwhile."""
    times: list[Timed] = []
    with Ledger.open(path) as ledger:
        with timed(times):
            for start in range(0, len(question_ids), GROUP):
                ledger.append(
                    make_judgement(start + at, key) for at, key in enumerate(question_ids[start : start + GROUP])
                )
        check(ledger, len(question_ids))
    return times[0]


def submit_one_by_one(path: Path, question_ids: list[str]) -> Timed:
    """By `GroupWriter`: groups of 64, and what arrives during a sync goes with the next."""
    times: list[Timed] = []
    acknowledged = 0
    waiting: deque[Future[Outcome]] = deque()
    with Ledger.open(path) as ledger:
        with timed(times), GroupWriter(ledger, group_rows=GROUP) as writer:
            for at, key in enumerate(question_ids):
                waiting.append(writer.submit(make_judgement(at, key)))
                while waiting and waiting[0].done():
                    acknowledged += waiting.popleft().result() == "new"
        assert acknowledged + sum(future.result() == "new" for future in waiting) == len(question_ids)
        check(ledger, len(question_ids))
    return times[0]


def check(ledger: Ledger, rows: int) -> None:
    verified = verify(ledger)
    assert verified.ok, verified.breaks[:3]
    assert verified.rows == rows


def floor(path: Path, source: Path) -> Timed:
    """The same bytes in groups of 64, by apsw alone."""
    with Ledger.open(source, read_only=True) as ledger:
        rows = ledger.rows("SELECT seq, id, content, observed, head FROM judgements ORDER BY seq")
        texts = ledger.rows("SELECT place, digest, text FROM short_texts ORDER BY place")
    connection = open_connection(path, read_only=False)
    per_row = len(texts) // len(rows)
    times: list[Timed] = []
    with timed(times):
        for start in range(0, len(rows), GROUP):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT_ROW["judgements"], rows[start : start + GROUP])
            connection.executemany(INSERT_SHORT_TEXT, texts[start * per_row : (start + GROUP) * per_row])
            connection.execute("COMMIT")
    connection.close()
    return times[0]


def sync_seconds(folder: Path) -> float:
    """Mean time of one write and sync on this disk."""
    handle = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY)
    started = time.perf_counter()
    for _ in range(50):
        os.pwrite(handle, bytes(4096), 0)
        os.fsync(handle)
    seconds = (time.perf_counter() - started) / 50
    os.close(handle)
    return seconds


def measure(folder: Path, rows: int) -> dict[str, Any]:
    question_ids = [digest_text(str(number))[:32] for number in range(rows)]
    sync = sync_seconds(folder)
    measured: dict[str, Any] = {
        "rows": rows,
        "sync_ms": round(sync * 1000, 2),
        "rows_per_s_that_syncs_allow_in_groups_of_64": round(GROUP / sync),
    }
    for name, way in (("append", append_in_groups), ("writer", submit_one_by_one)):
        measured[name] = way(folder / f"{name}.sqlite", question_ids).rates(rows)
    bare = floor(folder / "floor.sqlite", folder / "append.sqlite").rates(rows)
    measured["floor"] = bare
    for name in ("append", "writer"):
        measured[name]["of_floor"] = round(measured[name]["rows_per_s"] / bare["rows_per_s"], 2)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to measure; a temporary one")
    parser.add_argument("--rows", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measured = measure(Path(folder), options.rows)
    measured["target_rows_per_s"] = TARGET
    print(json.dumps(measured, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
