"""The audit app over a ledger of a million judgements, beside a process that appends to it all the time.

    python benchmarks/audit.py [--judgements 1000000] [--dir FOLDER] [--requests 60]

The ledger is that of ledger_million.py, with the texts of its principles, disputes, and a search index; its prompts and
replies are not in it. It is made in FOLDER and kept there for the next time. `rlaif audit serve` opens it in a process
of its own; each page is asked for over HTTP, one request after another, with places spread over the whole ledger. A
request's time is that of the whole answer, the opening of the ledger included; its CPU time is that of the server's
threads, which other work on the machine lengthens less. Writes benchmarks/results/audit.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from ledger_million import JUDGE, RUN_SIZE, append_judgements, append_rest, write_beside

from rlaif.audit.search_index import index_path, update_index
from rlaif.ledger.listing import find_run_names
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import Dispute, Model, Observed, PolicyCard, Record, Use, digest_text

RESULTS = Path(__file__).parent / "results" / "audit.json"
TARGETS = {"page_p95_ms": 150, "memory_mib": 300, "first_page_s": 1, "verify_rows_per_s": 50_000}
ROWS_AT_ONCE = 1600
"""Rows of one commit while the ledger is filled, which is not measured here."""
DISPUTES = 500
FIRST_PAGES = 5
"""Times that a browser opens its first page."""
AddressOf = Callable[[random.Random], str]


class Filled(NamedTuple):
    """A ledger that is ready to be asked."""

    path: Path
    ids: list[str]
    """Those of the judgements that were there before any process wrote beside."""
    last: int
    """The last row."""
    policies: list[str]
    """The ids of policies, each of another run."""


def fill(folder: Path, num: int) -> Filled:
    """The ledger in the folder, made where it is not there yet."""
    path, making = folder / f"{num}.sqlite", folder / f"{num}.making.sqlite"
    if not path.exists():
        with Ledger.open(making) as ledger:
            ledger.put_texts(["template", "text rare", *(f"text {n}" for n in range(16))])
            _, ids = append_judgements(ledger, num, rows_at_once=ROWS_AT_ONCE)
            append_rest(ledger, ids, rows_at_once=ROWS_AT_ONCE)
            ledger.append(make_disputes(ledger))
        making.rename(path)
    with Ledger.open(path) as ledger:  # to write, so that it has every table of this version
        started = time.process_time()
        if not ledger.rows("SELECT 1 FROM policies LIMIT 1"):
            ledger.append(make_policies(ledger))
        update_index(ledger)
        print(f"search index: {time.process_time() - started:.1f} s of CPU", flush=True)
        pairs = ledger.rows("SELECT listed_id, swapped_id FROM comparisons ORDER BY seq")
        policies = [key for (key,) in ledger.rows("SELECT model_id FROM policies")]
        return Filled(path, [key for pair in pairs for key in pair], ledger.head().seq, policies)


def make_disputes(ledger: Ledger) -> list[Dispute]:
    ((last,),) = ledger.rows("SELECT max(seq) FROM comparisons")
    ((first,),) = ledger.rows("SELECT min(seq) FROM comparisons")
    places = random.Random(2).sample(range(first, last + 1), DISPUTES)
    sql = "SELECT id FROM comparisons WHERE seq IN (SELECT value FROM json_each(?))"
    return [
        Dispute(
            comparison_id=key, author="ann", says="wrong", reason="length", note=f"the shorter one, case {number}",
            seen_seq=last, seen_head="0" * 64, observed=Observed(at="2026-01-02T00:00:00Z"),
        )
        for number, (key,) in enumerate(ledger.rows(sql, (json.dumps(places),)))
    ]  # fmt: skip


def make_policies(ledger: Ledger) -> list[Record]:
    """A policy that each run trained, with its card and the use that says so."""
    made: list[Record] = []
    for run in find_run_names(ledger.rows):
        model = Model(engine="transformers", weights=digest_text(f"weights of {run}"))
        card = PolicyCard(model_id=model.id, reference_model_id=JUDGE, reward_model_id=None, config={}, metrics={})
        use = Use(run=run, round=0, stage="6_policy", record_table=card.table, record_id=card.id)
        made += [model, card, use]
    return made


def page_kinds(filled: Filled) -> dict[str, AddressOf]:
    """Every kind of page, and an address of it."""
    runs = max(1, len(filled.ids) // RUN_SIZE)

    def at(rng: random.Random) -> int:
        return rng.randrange(filled.last)

    return {
        "all judgements": lambda rng: f"/judgements?after={at(rng)}",
        "a principle and a verdict": lambda rng: f"/judgements?principle=principle_3&verdict=second&after={at(rng)}",
        "a run": lambda rng: f"/judgements?run={rng.randrange(runs):03}",
        "a rare principle": lambda rng: "/judgements?principle=rare",
        "pairs that the order decided": lambda rng: f"/judgements?kind=flipped&after={at(rng)}",
        "failed answers": lambda rng: f"/judgements?kind=failed&after={at(rng)}",
        "a decision": lambda rng: f"/decision/{filled.ids[rng.randrange(len(filled.ids))]}",
        "principles": lambda rng: "/principles",
        "principles of a run": lambda rng: f"/principles?run={rng.randrange(runs):03}",
        "disputes": lambda rng: "/disputes",
        "policies": lambda rng: "/policies",
        "a policy": lambda rng: f"/policies/{filled.policies[rng.randrange(len(filled.policies))]}",
        "agreement": lambda rng: "/agreement",
        "search, no filter": lambda rng: f"/search?after={at(rng)}",
        "search, words in every reason": lambda rng: f"/search?text=fewer+words&after={at(rng)}",
        "search, words in one reason": lambda rng: f"/search?text=case{2 * rng.randrange(len(filled.ids) // 2)}",
        "search, words and a run": lambda rng: f"/search?text=fewer&run={rng.randrange(runs):03}",
        "search, a band of one side": lambda rng: f"/search?sureness=50-60&flipped=yes&after={at(rng)}",
    }


def read_pages(
    client: httpx.Client, kinds: dict[str, AddressOf], *, server: int, requests: int
) -> dict[str, dict[str, float]]:
    """requests: of each kind; server: the process whose CPU time is measured."""
    pages = {}
    for name, address in kinds.items():
        rng = random.Random(name)
        taken, cpu = [], []
        for _ in range(requests):
            before, started = cpu_seconds(server), time.perf_counter()
            answer = client.get(address(rng))
            taken.append((time.perf_counter() - started) * 1000)
            cpu.append((cpu_seconds(server) - before) * 1000)
            if answer.status_code != 200:
                raise SystemExit(f"{answer.url}: {answer.status_code} {answer.text[:300]}")
        pages[name] = {
            "median_ms": round(statistics.median(taken), 1),
            "p95_ms": at_95(taken),
            "worst_ms": round(max(taken), 1),
            "cpu_median_ms": round(statistics.median(cpu), 1),
            "cpu_p95_ms": at_95(cpu),
        }
        print(name, pages[name], flush=True)
    return pages


def at_95(taken: Sequence[float]) -> float:
    return round(sorted(taken)[int(0.95 * len(taken))], 1)


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have computed so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory_mib(pid: int) -> float:
    """The most memory that a process had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else float("nan")


@contextmanager
def written_beside(path: Path) -> Iterator[Callable[[], float]]:
    """A process that appends as long as the block lasts; gives a function that stops it and says its rows a second."""
    context = multiprocessing.get_context("spawn")
    stop, (receiving, sending) = context.Event(), context.Pipe(duplex=False)
    writer = context.Process(target=write_beside, args=(str(path), stop, sending, f"beside {time.time_ns()} "))
    writer.start()

    def finish() -> float:
        stop.set()
        return float(receiving.recv())

    try:
        time.sleep(2)
        yield finish
    finally:
        stop.set()
        writer.join(10)
        writer.kill()


@contextmanager
def served(path: Path) -> Iterator[tuple[int, str]]:
    """The app's process and the address that opens it."""
    command = [sys.executable, "-m", "rlaif", "audit", "serve", "--ledger", str(path), "--runs-dir", str(path.parent),
               "--port", "0", "--read-only"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.pid, server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def measure_pages(filled: Filled, *, requests: int) -> dict[str, Any]:
    kinds = page_kinds(filled)
    with served(filled.path) as (server, address):
        with httpx.Client(base_url=address.partition("/enter")[0], follow_redirects=True, timeout=60) as client:
            client.get(address)
            alone = read_pages(client, kinds, server=server, requests=requests)
            first_s = read_first_pages(address)
            with written_beside(filled.path) as finish:
                beside = read_pages(client, kinds, server=server, requests=requests)
                rate = round(finish())
        memory = memory_mib(server)
    return {
        "alone": alone,
        "beside_a_writer": {"writer_rows_per_s": rate, "pages": beside},
        "worst_p95_ms": max(page["p95_ms"] for page in beside.values()),
        "worst_cpu_p95_ms": max(page["cpu_p95_ms"] for page in beside.values()),
        "first_page_s": first_s,
        "memory_mib": memory,
    }


def read_first_pages(address: str) -> float | None:
    """Seconds until a browser that never saw the app has loaded the list of judgements, style and script included;
    the median of some times, None where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    home, taken = address.partition("/enter")[0], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(FIRST_PAGES):
            context = browser.new_context()
            page = context.new_page()
            page.goto(address)
            page.wait_for_url(f"{home}/")  # with the cookie of this run
            started = time.perf_counter()
            page.goto(f"{home}/judgements", wait_until="load")
            taken.append(time.perf_counter() - started)
            context.close()
        browser.close()
    return round(statistics.median(taken), 3)


def measure_verify(path: Path) -> dict[str, float]:
    with Ledger.open(path, read_only=True) as ledger:
        wall, cpu = time.perf_counter(), time.process_time()
        found = verify(ledger)
        seconds, cpu_taken = time.perf_counter() - wall, time.process_time() - cpu
    if not found.ok:
        raise SystemExit("the ledger does not verify")
    return {
        "rows": found.rows,
        "rows_per_s": round(found.rows / seconds),
        "rows_per_cpu_s": round(found.rows / cpu_taken),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="folder that the ledger is kept in; a temporary one")
    parser.add_argument("--judgements", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=60, help="of each kind of page")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        filled = fill(options.dir or Path(temporary), options.judgements)
        report: dict[str, Any] = {
            "command": f"python benchmarks/audit.py --judgements {options.judgements} --requests {options.requests}",
            "cores": os.cpu_count(),
            "load": [round(load, 1) for load in os.getloadavg()],
            "targets": TARGETS,
            "judgements": len(filled.ids),
            "rows": filled.last,
            "file_mib": round(filled.path.stat().st_size / 2**20),
            "index_mib": round(index_path(filled.path).stat().st_size / 2**20),
            "pages": measure_pages(filled, requests=options.requests),
            "verify": measure_verify(filled.path),
            "load_after": [round(load, 1) for load in os.getloadavg()],
        }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({**report, "pages": {k: v for k, v in report["pages"].items() if not isinstance(v, dict)}}))


if __name__ == "__main__":
    main()
