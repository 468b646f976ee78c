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
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

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


def append_in_groups(path: Path, question_ids: list[str]) -> float:
    """Rows a second by `Ledger.append`, one commit and one sync per 64 rows."""
    with Ledger.open(path) as ledger:
        started = time.perf_counter()
        for start in range(0, len(question_ids), GROUP):
            ledger.append(make_judgement(start + at, key) for at, key in enumerate(question_ids[start : start + GROUP]))
        seconds = time.perf_counter() - started
        check(ledger, len(question_ids))
    return len(question_ids) / seconds


def submit_one_by_one(path: Path, question_ids: list[str]) -> float:
    """Rows a second by `GroupWriter`: groups of 64, and what arrives during a sync goes with the next."""
    with Ledger.open(path) as ledger:
        started = time.perf_counter()
        acknowledged = 0
        waiting: deque[Future[Outcome]] = deque()
        with GroupWriter(ledger, group_rows=GROUP) as writer:
            for at, key in enumerate(question_ids):
                waiting.append(writer.submit(make_judgement(at, key)))
                while waiting and waiting[0].done():
                    acknowledged += waiting.popleft().result() == "new"
        seconds = time.perf_counter() - started
        assert acknowledged + sum(future.result() == "new" for future in waiting) == len(question_ids)
        check(ledger, len(question_ids))
    return len(question_ids) / seconds


def check(ledger: Ledger, rows: int) -> None:
    verified = verify(ledger)
    assert verified.ok, verified.breaks[:3]
    assert verified.rows == rows


def floor(path: Path, source: Path, *, group: int) -> float:
    """Rows a second of the same bytes by apsw alone."""
    with Ledger.open(source, read_only=True) as ledger:
        rows = ledger.rows("SELECT seq, id, content, observed, head FROM judgements ORDER BY seq")
        texts = ledger.rows("SELECT place, digest, text FROM short_texts ORDER BY place")
    connection = open_connection(path, read_only=False)
    per_row = len(texts) // len(rows)
    started = time.perf_counter()
    for start in range(0, len(rows), group):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT_ROW["judgements"], rows[start : start + group])
        connection.executemany(INSERT_SHORT_TEXT, texts[start * per_row : (start + group) * per_row])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return len(rows) / seconds


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
    ways: tuple[tuple[str, Callable[[Path, list[str]], float]], ...] = (
        ("append", append_in_groups),
        ("writer", submit_one_by_one),
    )
    for name, way in ways:
        path = folder / f"{name}.sqlite"
        rate = way(path, question_ids)
        bare = floor(folder / f"floor_{name}.sqlite", path, group=GROUP)
        measured[name] = {"rows_per_s": round(rate), "floor_rows_per_s": round(bare), "of_floor": round(rate / bare, 2)}
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
