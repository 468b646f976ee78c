"""The audit app over a ledger of a million judgements, beside a process that appends to it all the time.

    python benchmarks/audit.py [--judgements 1000000] [--dir FOLDER]

The ledger is that of ledger_million.py. `rlaif audit serve` opens it in a process of its own; each page is asked for
over HTTP, one request after another, with places spread over the whole ledger. A request's time is that of the whole
answer, the opening of the ledger included. Writes benchmarks/results/audit.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from ledger_million import RUN_SIZE, append_judgements, append_rest, write_beside

from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify

RESULTS = Path(__file__).parent / "results" / "audit.json"
TARGETS = {"page_p95_ms": 150, "memory_mib": 300, "verify_rows_per_s": 50_000}
REQUESTS = 60
"""Of each kind of page."""


def make_ledger(path: Path, num: int) -> list[str]:
    """The ids of the judgements."""
    with Ledger.open(path) as ledger:
        _, ids = append_judgements(ledger, num)
        append_rest(ledger, ids)
    return ids


def page_kinds(ids: Sequence[str], last: int) -> dict[str, Callable[[random.Random], str]]:
    """Every kind of page, and an address of it."""

    def at(rng: random.Random) -> int:
        return rng.randrange(last)

    return {
        "all judgements": lambda rng: f"/judgements?after={at(rng)}",
        "a principle and a verdict": lambda rng: f"/judgements?principle=principle_3&verdict=second&after={at(rng)}",
        "a run": lambda rng: f"/judgements?run={rng.randrange(len(ids) // RUN_SIZE):03}",
        "a rare principle": lambda rng: "/judgements?principle=rare",
        "pairs that the order decided": lambda rng: f"/judgements?kind=flipped&after={at(rng)}",
        "failed answers": lambda rng: f"/judgements?kind=failed&after={at(rng)}",
        "a decision": lambda rng: f"/decision/{ids[rng.randrange(len(ids))]}",
        "principles": lambda rng: "/principles",
        "disputes": lambda rng: "/disputes",
        "runs": lambda rng: "/",
    }


def read_pages(client: httpx.Client, kinds: dict[str, Callable[[random.Random], str]]) -> dict[str, dict[str, float]]:
    pages = {}
    for name, address in kinds.items():
        rng = random.Random(name)
        taken = []
        for _ in range(REQUESTS):
            started = time.perf_counter()
            answer = client.get(address(rng))
            taken.append((time.perf_counter() - started) * 1000)
            if answer.status_code != 200:
                raise SystemExit(f"{answer.url}: {answer.status_code} {answer.text[:300]}")
        ordered = sorted(taken)
        pages[name] = {
            "median_ms": round(statistics.median(taken), 1),
            "p95_ms": round(ordered[int(0.95 * len(ordered))], 1),
            "worst_ms": round(ordered[-1], 1),
        }
        print(name, pages[name], flush=True)
    return pages


def memory_mib(pid: int) -> float:
    """The most memory that a process had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else float("nan")


def measure_pages(path: Path, ids: Sequence[str], last: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "rlaif", "audit", "serve", "--ledger", str(path), "--runs-dir", str(path.parent),
               "--port", "0", "--read-only"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        with httpx.Client(base_url=address.partition("/enter")[0], follow_redirects=True, timeout=60) as client:
            client.get(address)
            alone = read_pages(client, page_kinds(ids, last))
            stop = multiprocessing.get_context("spawn").Event()
            receiving, sending = multiprocessing.Pipe(duplex=False)
            writer = multiprocessing.get_context("spawn").Process(target=write_beside, args=(str(path), stop, sending))
            writer.start()
            time.sleep(2)
            beside = read_pages(client, page_kinds(ids, last))
            stop.set()
            rate = round(receiving.recv())
            writer.join()
        memory = memory_mib(server.pid)
        server.terminate()
    return {
        "alone": alone,
        "beside_a_writer": {"writer_rows_per_s": rate, "pages": beside},
        "worst_p95_ms": max(page["p95_ms"] for page in beside.values()),
        "memory_mib": memory,
    }


def measure_verify(path: Path) -> dict[str, float]:
    with Ledger.open(path, read_only=True) as ledger:
        wall, cpu = time.perf_counter(), time.process_time()
        found = verify(ledger)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    if not found.ok:
        raise SystemExit("the ledger does not verify")
    return {
        "rows": found.rows,
        "rows_per_s": round(found.rows / seconds),
        "rows_per_cpu_s": round(found.rows / cpu_seconds),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to measure; a temporary one")
    parser.add_argument("--judgements", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder) / "ledger.sqlite"
        ids = make_ledger(path, options.judgements)
        with Ledger.open(path, read_only=True) as ledger:
            last = ledger.head().seq
        report = {
            "command": f"python benchmarks/audit.py --judgements {options.judgements}",
            "cores": os.cpu_count(),
            "load": [round(load, 1) for load in os.getloadavg()],
            "targets": TARGETS,
            "judgements": len(ids),
            "rows": last,
            "pages": measure_pages(path, ids, last),
            "verify": measure_verify(path),
        }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report["verify"]), report["pages"]["worst_p95_ms"], report["pages"]["memory_mib"])


if __name__ == "__main__":
    main()
