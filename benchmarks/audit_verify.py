"""How many rows a second `rlaif audit verify` checks, beside what reading and hashing them takes alone.

    python benchmarks/audit_verify.py [--questions 20000] [--dir FOLDER]

Questions, their answers, and a use of each; seconds of process time on one thread, the best of three. The floor reads
every row and every text by the same statements' columns, and takes one sha256 of each row and of each text. Writes
benchmarks/results/audit_verify.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger_million import GROUP, make_group

from rlaif.ledger.rows import KINDS
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import Use

RESULTS = Path(__file__).parent / "results" / "audit_verify.json"
TARGET = 50_000
TRIES = 3


def fill(path: Path, *, questions: int) -> int:
    """A ledger of questions, answers and uses; its rows."""
    with Ledger.open(path) as ledger:
        for start in range(0, questions, GROUP // 2):
            group = make_group(start)
            uses = [
                Use(run="001", round=0, stage="3_judgements", record_table=record.table, record_id=record.id)
                for record in group
            ]
            ledger.append([*group, *uses])
        return ledger.head().seq


def best_of_three(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def read_and_hash(ledger: Ledger) -> None:
    for kind in KINDS:
        for row in ledger.rows(f"SELECT seq, id, content, observed, head FROM {kind.table} ORDER BY seq"):
            sha256(f"{row[0]}{row[1]}{row[2]}{row[3]}".encode()).digest()
    for table in ("texts", "short_texts"):
        for digest, text in ledger.rows(f"SELECT digest, text FROM {table}"):
            assert sha256(text.encode()).digest() == digest


def check(ledger: Ledger) -> None:
    assert verify(ledger).ok


def measure(folder: Path, *, questions: int) -> dict[str, Any]:
    path = folder / "ledger.sqlite"
    rows = fill(path, questions=questions)
    with Ledger.open(path, read_only=True) as ledger:
        seconds = best_of_three(lambda: check(ledger))
        floor = best_of_three(lambda: read_and_hash(ledger))
    return {
        "rows": rows,
        "rows_per_s": round(rows / seconds),
        "floor": {"rows_per_s": round(rows / floor)},
        "target_rows_per_s": TARGET,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measured = measure(Path(folder), questions=options.questions)
    print(json.dumps(measured, indent=2))
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
