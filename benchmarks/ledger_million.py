"""A ledger of a million judgements: how fast it takes more, and how long a page of `audit list` takes, by any filter.

    python benchmarks/ledger_million.py [--judgements 1000000] [--dir FOLDER]

Each group of 64 rows is 32 questions, each before its answer, as a served judge's are appended: hashed, chained,
committed and synced by `Ledger.append`. Comparisons and the uses of runs follow. The floor is the same bytes into the
same tables and indexes by apsw alone, in the same groups. Pages are read by the functions behind `rlaif audit list`,
the opening of the file included, alone and beside a second process that appends groups all the time. Writes
benchmarks/results/ledger_million.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ledger import GROUP, Timed, sync_seconds, timed

from rlaif.ledger.opening import open_connection
from rlaif.ledger.queries import list_comparisons, list_failures, list_judgements
from rlaif.ledger.schema import INSERT_ROW
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import INSERT_SHORT_TEXT
from rlaif.records import (
    Comparison,
    FailedJudgement,
    Judgement,
    Observed,
    PrincipleKey,
    Question,
    Record,
    Served,
    Use,
    Verdict,
    VerdictLogprob,
    digest_text,
)

RESULTS = Path(__file__).parent / "results" / "ledger_million.json"
TARGETS = {"rows_per_s": 20_000, "page_ms": 100}
PRINCIPLES = [PrincipleKey(id=f"principle_{n}", text_digest=digest_text(f"text {n}")) for n in range(16)]
RARE = PrincipleKey(id="rare", text_digest=digest_text("rare"))
TEMPLATE, JUDGE = digest_text("template"), digest_text("judge")[:32]
RUN_SIZE = 10_000
"""Judgements that one run uses."""
DIPS = 25
"""Times that each page is read."""


def make_answered(number: int, *, tag: str = "") -> tuple[Question, Judgement]:
    """A question in one order of a pair and its answer, as a served judge gives them."""
    pair, order = number // 2, number % 2
    principle = RARE if pair % 50_000 == 7 else PRINCIPLES[pair % 16]
    prompt_id = digest_text(f"prompt {tag}{pair // 96}")[:32]
    samples = (digest_text(f"a {tag}{pair // 16}")[:32], digest_text(f"b {tag}{pair // 16}")[:32])
    question = Question(
        mode="pair", prompt_id=prompt_id, sample_ids=samples[::-1] if order else samples, principles=(principle,),
        template_digest=TEMPLATE, judge_id=JUDGE, rendered_digest=digest_text(f"rendered {tag}{number}"),
    )  # fmt: skip
    reason = f"Reply A says the same in fewer words than reply B, and nothing is lost in case {tag}{number}."
    verdict: Verdict = "tie" if number % 20_000 == 11 else "second" if number % 5 == 0 else "first"
    judgement = Judgement(
        question_id=question.id,
        verdict=verdict,
        logprobs=(
            VerdictLogprob(verdict="first", logprob=-0.3 - number * 1e-9),
            VerdictLogprob(verdict="second", logprob=-1.4),
        ),
        label_mass=0.99,
        reason=reason,
        raw_reply=f"{reason}\nVerdict: A",
        observed=Observed(
            at="2026-01-01T00:00:00.000+00:00", latency_s=0.052, prompt_tokens=260, reply_tokens=21,
            served_model="judge-7b", served=Served(host="127.0.0.1:8000", request_id="chatcmpl-1", had="logprobs"),
        ),
    )  # fmt: skip
    return question, judgement


def make_group(start: int, *, tag: str = "", rows: int = GROUP) -> list[Record]:
    return [record for number in range(start, start + rows // 2) for record in make_answered(number, tag=tag)]


def append_judgements(
    ledger: Ledger, num: int, *, rows_at_once: int = GROUP
) -> tuple[list[dict[str, float]], list[str]]:
    """Rates over each tenth; the ids of the judgements."""
    tenths: list[dict[str, float]] = []
    ids: list[str] = []
    at_once = rows_at_once // 2
    per_tenth = num // 10 // at_once * at_once
    for tenth in range(10):
        append_s = append_cpu = 0.0
        whole: list[Timed] = []
        with timed(whole):
            for start in range(tenth * per_tenth, (tenth + 1) * per_tenth, at_once):
                group = make_group(start, rows=rows_at_once)
                wall, cpu = time.perf_counter(), time.process_time()
                ledger.append(group)
                append_s += time.perf_counter() - wall
                append_cpu += time.process_time() - cpu
                ids += [record.id for record in group[1::2]]
        rows = 2 * per_tenth
        tenths.append(
            {
                "judgements_before": tenth * per_tenth,
                "rows_per_s": round(rows / append_s),
                "cpu_us_per_row": round(append_cpu / rows * 1e6, 1),
                "rows_per_s_with_making_the_records": round(rows / whole[0].seconds),
            }
        )
        print(tenths[-1], flush=True)
    return tenths, ids


def append_rest(ledger: Ledger, ids: list[str], *, rows_at_once: int = GROUP) -> dict[str, Any]:
    """Failures, a comparison per pair, and the uses of a big run and of many small ones."""

    def in_groups(records: Iterator[Record]) -> float:
        rows = seconds = 0.0
        group: list[Record] = []
        for record in records:
            group.append(record)
            if len(group) == rows_at_once:
                started = time.perf_counter()
                ledger.append(group)
                seconds += time.perf_counter() - started
                rows += rows_at_once
                group = []
        ledger.append(group)
        return round(rows / seconds) if rows else 0

    rng = random.Random(1)
    comparison_ids: list[str] = []

    def comparisons() -> Iterator[Comparison]:
        for pair in range(len(ids) // 2):
            question, _ = make_answered(2 * pair)
            comparison = Comparison(
                prompt_id=question.prompt_id, sample_ids=(question.sample_ids[0], question.sample_ids[1]),
                principle=question.principles[0], judge_id=JUDGE, judgement_ids=(ids[2 * pair], ids[2 * pair + 1]),
                p_first=round(rng.random(), 6), logit=0.1, position_effect=0.2, flipped=rng.random() < 0.03,
                debiased=True,
            )  # fmt: skip
            comparison_ids.append(comparison.id)
            yield comparison

    def failures() -> Iterator[FailedJudgement]:
        for number in range(0, len(ids), 50):
            question, _ = make_answered(number)
            cause = "refused" if number % 5000 else "truncated"
            yield FailedJudgement(question_id=question.id, cause=cause, raw_reply=f"I'm sorry. {number}")

    def uses() -> Iterator[Use]:
        for at in range(0, len(ids), RUN_SIZE):
            for table, of_table in (("judgements", ids), ("comparisons", comparison_ids)):
                half = 1 if table == "judgements" else 2
                for record_id in of_table[at // half : (at + RUN_SIZE) // half]:
                    yield Use(run=f"{at // RUN_SIZE:03}", round=0, stage="3_judgements", record_table=table,
                              record_id=record_id)  # fmt: skip

    return {
        "comparisons_per_s": in_groups(comparisons()),
        "failures_per_s": in_groups(failures()),
        "uses_per_s": in_groups(uses()),
    }


def floor(source: Path, target: Path, *, last: int) -> dict[str, float]:
    """The bytes of the first rows in groups of 64, by apsw alone: what is inserted, with its indexes, no more."""
    connection = open_connection(target, read_only=False)
    times: list[Timed] = []
    rows = 0
    seconds = cpu = 0.0
    with Ledger.open(source, read_only=True) as ledger:
        for start in range(0, last, GROUP):
            places = (start, start + GROUP)
            groups = {
                table: ledger.rows(
                    f"SELECT seq, id, content, observed, head FROM {table} WHERE seq > ? AND seq <= ?", places
                )
                for table in ("questions", "judgements")
            }
            texts = ledger.rows(
                "SELECT place, digest, text FROM short_texts WHERE place >= ? AND place < ?",
                (8 * (start + 1), 8 * (start + GROUP + 1)),
            )
            entries = [(1, row[0]) for row in groups["judgements"]]
            times.clear()
            with timed(times):
                connection.execute("BEGIN IMMEDIATE")
                for table, of_table in groups.items():
                    connection.executemany(INSERT_ROW[table], of_table)
                connection.executemany(INSERT_SHORT_TEXT, texts)
                connection.executemany("INSERT INTO listing VALUES (?, ?)", entries)
                connection.execute("COMMIT")
            seconds += times[0].seconds
            cpu += times[0].cpu_seconds
            rows += sum(map(len, groups.values()))
    connection.close()
    return {"rows": rows, "rows_per_s": round(rows / seconds), "cpu_us_per_row": round(cpu / rows * 1e6, 1)}


def page_filters(num: int) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Everything that `rlaif audit list` can filter by: each alone, common and rare and missing, and together."""
    judgements: dict[str, dict[str, Any]] = {
        "no filter": {},
        "--verdict first": {"verdict": "first"},
        "--verdict tie (1 in 20,000)": {"verdict": "tie"},
        "--principle": {"principle": "principle_3"},
        "--principle rare (1 in 50,000)": {"principle": "rare"},
        "--principle unknown": {"principle": "none"},
        "--principle --verdict": {"principle": "principle_3", "verdict": "second"},
        "--principle --verdict, none such": {"principle": "principle_3", "verdict": "tie"},
        "--run, the last": {"run": f"{num // RUN_SIZE - 1:03}"},
        "--run unknown": {"run": "none"},
        "--run --verdict tie": {"run": f"{num // RUN_SIZE // 2:03}", "verdict": "tie"},
        "--run --principle --verdict": {"run": "007", "principle": "principle_3", "verdict": "second"},
        "of one prompt": {"prompt_id": digest_text(f"prompt {num // 400}")[:32]},
    }
    flipped: dict[str, dict[str, Any]] = {
        "--flipped": {},
        "--flipped --principle": {"principle": "principle_3"},
        "--flipped --verdict tie": {"verdict": "tie"},
        "--flipped --run --principle --verdict": {"run": "007", "principle": "principle_3", "verdict": "second"},
    }
    failed: dict[str, dict[str, Any]] = {
        "--failed": {},
        "--failed --principle": {"principle": "principle_3"},
        "--failed --run": {"run": "007"},
        "failures of one cause": {"cause": "truncated"},
    }
    return {
        **{name: (list_judgements, filters) for name, filters in judgements.items()},
        **{name: (list_comparisons, {"flipped": True, **filters}) for name, filters in flipped.items()},
        **{name: (list_failures, filters) for name, filters in failed.items()},
    }


def read_pages(path: Path, num: int) -> dict[str, Any]:
    """Milliseconds of each page, opening the ledger included: the first page, one in the middle, one near the end."""
    with Ledger.open(path, read_only=True) as ledger:
        last = ledger.rows("SELECT max(seq) FROM judgements")[0][0]
    pages: dict[str, Any] = {}
    for name, (list_of, filters) in page_filters(num).items():
        for where, after in (("first", 0), ("middle", last // 2), ("deep", last - 2000)):
            taken = []
            lines = 0
            for _ in range(DIPS):
                started = time.perf_counter()
                with Ledger.open(path, read_only=True) as ledger:
                    lines = len(list_of(ledger, **filters, after=after, limit=20).lines)
                taken.append((time.perf_counter() - started) * 1000)
            pages.setdefault(name, {})[where] = {
                "lines": lines, "median_ms": round(statistics.median(taken), 2), "worst_ms": round(max(taken), 2),
            }  # fmt: skip
    return pages


def write_beside(path: str, stop: Event, rows: Any, tag: str = "beside") -> None:
    """A second process: groups of 64, one after another."""
    number = appended = 0
    started = time.perf_counter()
    with Ledger.open(path) as ledger:
        while not stop.is_set():
            appended += ledger.append(make_group(number, tag=tag)).new
            number += GROUP // 2
    rows.send(appended / (time.perf_counter() - started))


def worst(pages: dict[str, Any]) -> dict[str, float]:
    every = [page for of_filter in pages.values() for page in of_filter.values()]
    return {
        "worst_median_ms": max(page["median_ms"] for page in every),
        "worst_ms": max(page["worst_ms"] for page in every),
    }


def command_seconds(path: Path) -> float:
    """The whole command, Python's start included."""
    command = [sys.executable, "-m", "rlaif", "audit", "list", "--ledger", str(path), "--principle", "rare"]
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 3)


def measure(folder: Path, num: int, *, floor_rows: int) -> dict[str, Any]:
    path = folder / "ledger.sqlite"
    measured: dict[str, Any] = {
        "sync_ms": round(sync_seconds(folder) * 1000, 2),
        "load_before": [round(load, 1) for load in os.getloadavg()],
    }
    with Ledger.open(path) as ledger:
        tenths, ids = append_judgements(ledger, num)
        measured["append"] = {
            "judgements": len(ids),
            "rows": 2 * len(ids),
            "rows_per_s": round(10 / sum(1 / tenth["rows_per_s"] for tenth in tenths)),
            "cpu_us_per_row": round(statistics.mean(tenth["cpu_us_per_row"] for tenth in tenths), 1),
            "by_tenth": tenths,
        }
        measured["rest"] = append_rest(ledger, ids)
        print(measured["rest"], flush=True)
    measured["floor"] = floor(path, folder / "floor.sqlite", last=min(2 * len(ids), floor_rows))
    print(measured["floor"], flush=True)
    measured["file_mib"] = round(path.stat().st_size / 2**20)
    alone = read_pages(path, len(ids))
    print("alone", worst(alone), flush=True)
    stop = multiprocessing.get_context("spawn").Event()
    receiving, sending = multiprocessing.Pipe(duplex=False)
    beside = multiprocessing.get_context("spawn").Process(target=write_beside, args=(str(path), stop, sending))
    beside.start()
    time.sleep(2)
    beside_pages = read_pages(path, len(ids))
    stop.set()
    measured["pages"] = {
        "alone": {**worst(alone), "by_filter": alone},
        "beside_a_writer": {
            "writer_rows_per_s": round(receiving.recv()), **worst(beside_pages), "by_filter": beside_pages,
        },
        "whole_command_s": command_seconds(path),
    }  # fmt: skip
    beside.join()
    print("beside a writer", worst(beside_pages), flush=True)
    measured["load_after"] = [round(load, 1) for load in os.getloadavg()]
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to measure; a temporary one")
    parser.add_argument("--judgements", type=int, default=1_000_000)
    parser.add_argument("--floor-rows", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    report = {
        "command": f"python benchmarks/ledger_million.py --judgements {options.judgements}",
        "cores": os.cpu_count(),
        "targets": TARGETS,
    }
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        report |= measure(Path(folder), options.judgements, floor_rows=options.floor_rows)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
