"""Judging, measured: python benchmarks/judging.py [--part endpoint peers memory local ledger kills] [--publish]

endpoint  a served judge against a stub server of 64 slots x 50 ms: durable judgements/s, CPU
peers     distilabel, alpaca_eval and inspect_ai against the same server, in the same run
memory    what the process holds while it asks 1,000 to 100,000 pairs, both orders
local     the transformers engine against plain `generate` (judging_local.py)
ledger    a ledger of one million judgements (ledger_million.py)
kills     killed with SIGKILL at 200 random moments and resumed (kills.py)

Without --part: endpoint and peers. Each part replaces its own section of benchmarks/results/judging.json; the last
three write results of their own. --publish writes the tables of docs/judging.md from all of these files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "judging.json"
PAGE = HERE.parent / "docs" / "judging.md"
MARKS = ("<!-- judging -->", "<!-- /judging -->")
TARGETS = {"durable_judgements_per_s": 500, "client_cpu_ms_each": 2.0}
MEMORY_PAIRS = 100_000
OWN_SCRIPTS = {"local": "judging_local.py", "ledger": "ledger_million.py", "kills": "kills.py"}


def measure(parts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The parts that need the stub server, in one run."""
    from judging_endpoint import in_child, judge_all, measure_endpoint
    from judging_peers import measure_peers
    from stub_server import DESCRIPTION, running_stub

    load = [round(load, 1) for load in os.getloadavg()]
    about = {"server": DESCRIPTION, "cores": os.cpu_count(), "python": platform.python_version(), "load_before": load}
    measured: dict[str, Any] = {}
    with running_stub() as stub:
        if "endpoint" in parts:
            measured["endpoint"] = {
                **about, "targets": TARGETS,
                **measure_endpoint(stub.url, sizes=options.pairs, floor_requests=options.floor),
            }  # fmt: skip
        if "peers" in parts:
            measured["peers"] = {**about, **measure_peers(stub.url, sizes=options.sizes)}
        if "memory" in parts:
            measured["memory"] = {**about, **in_child(judge_all, stub.url, MEMORY_PAIRS)}
    return measured


def render(judging: dict[str, Any], *, others: dict[str, Any]) -> str:
    """The tables of the docs."""
    return "\n\n".join(
        [*_served_lines(judging), *_local_lines(others.get("local")), *_ledger_lines(others.get("ledger")),
         *_kill_lines(others.get("kills"))]
    )  # fmt: skip


def _served_lines(judging: dict[str, Any]) -> list[str]:
    endpoint, peers = judging.get("endpoint"), judging.get("peers")
    if endpoint is None:
        return []
    floor, best = endpoint["floor_aiohttp_alone"], endpoint["rlaif"][-1]
    rows = [
        "| against a server of 64 slots x 50 ms | judgements/s | start and end included | client CPU each |",
        "| --- | ---: | ---: | ---: |",
        f"| aiohttp alone, replies parsed and dropped | {floor['replies_per_s']:,.0f} "
        f"| | {floor['client_cpu_ms_each']:.1f} ms |",
        f"| **rlaif**, each on the disk | **{best['durable_judgements_per_s']:,.0f}** "
        f"| {best['durable_judgements_per_s']:,.0f} | **{best['client_cpu_ms_each']:.1f} ms** |",
    ]
    for name, peer in (peers or {}).items():
        if not isinstance(peer, dict) or name == "server":
            continue
        if "not_measured" in peer:
            rows.append(f"| {name} | not measured: {peer['not_measured']} | | |")
        else:
            rows.append(
                f"| {name} {peer['version']} | {peer['judgements_per_s']:,.0f} "
                f"| {peer['judgements_per_s_with_its_start']:,.0f} | {peer['client_cpu_ms_each']:.0f} ms |"
            )
    busy = endpoint["load_before"][0] > endpoint["cores"] / 4
    beside = f"Other work ran beside it: load {endpoint['load_before'][0]} on {endpoint['cores']} cores."
    return [
        "\n".join(rows),
        *([beside] if busy else []),
        *_memory_lines(judging.get("memory")),
    ]


def _memory_lines(measured: dict[str, Any] | None) -> list[str]:
    if measured is None:
        return []
    first, last = measured["memory"][1], measured["memory"][-1]
    return [
        f"Memory while asking, beside SQLite's page cache (at most 64 MiB): {first['rest_mib']:.0f} MiB after "
        f"{first['judgements']:,} judgements, {last['rest_mib']:.0f} MiB after {last['judgements']:,}."
    ]


def _local_lines(local: dict[str, Any] | None) -> list[str]:
    if local is None:
        return []
    rows = [
        "| front desk's judge, on the CPU | times plain `generate` | verdicts that differ |",
        "| --- | ---: | ---: |",
    ]
    for name, part in (("with reasons", "with_reasons"), ("verdicts after given reasons", "after_given_reasons")):
        verdicts = local[part]["verdicts"]
        rows.append(
            f"| {name} | {local[part]['times_the_plain_way']:.1f} | {verdicts['verdicts_that_differ']} of "
            f"{verdicts['pairs_above_1e-3']} |"
        )
    return ["\n".join(rows)]


def _ledger_lines(ledger: dict[str, Any] | None) -> list[str]:
    if ledger is None:
        return []
    append, pages = ledger["append"], ledger["pages"]
    load = ledger["load_before"][0]
    beside = (
        [f"Other work ran beside it: load {load} on {ledger['cores']} cores."] if load > ledger["cores"] / 4 else []
    )
    return [
        "\n".join(
            [
                f"| a ledger of {append['judgements']:,} judgements | |",
                "| --- | ---: |",
                f"| appended in groups of 64 | {append['rows_per_s']:,} rows/s, {append['cpu_us_per_row']:.0f} µs of "
                "CPU each |",
                f"| bare SQLite, the same bytes and indexes | {ledger['floor']['rows_per_s']:,} rows/s, "
                f"{ledger['floor']['cpu_us_per_row']:.0f} µs |",
                f"| a page of `audit list`, the slowest of all filters | {pages['alone']['worst_median_ms']:.0f} ms; "
                f"{pages['beside_a_writer']['worst_median_ms']:.0f} ms beside a writer |",
            ]
        ),
        *beside,
    ]


def _kill_lines(kills: dict[str, Any] | None) -> list[str]:
    if kills is None:
        return []
    twice = kills["asked_twice_after_a_kill"]
    return [
        f"Killed with SIGKILL at {kills['kills']} random moments and resumed, {kills['questions']:,} questions: "
        f"{kills['acknowledged_repeated']} acknowledged answers asked for again; after a kill {twice['mean']:.0f} "
        f"requests came twice in the mean and {twice['most']} at most, of {twice['allowed']} that concurrency and "
        "commit allow."
    ]


def read_results() -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts in judging.json, and those with a file of their own."""
    paths = {part: HERE / "results" / Path(name).with_suffix(".json").name for part, name in OWN_SCRIPTS.items()}
    others = {part: json.loads(path.read_text(encoding="utf-8")) for part, path in paths.items() if path.is_file()}
    return (json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}), others


def publish() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(f"{MARKS[0]}\n", 1)
    _, after = rest.split(MARKS[1], 1)
    judging, others = read_results()
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{render(judging, others=others)}\n\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", nargs="*", default=["endpoint", "peers"], choices=["endpoint", "peers", "memory", *OWN_SCRIPTS]
    )
    parser.add_argument("--publish", action="store_true", help="write the tables of docs/judging.md")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000], help="of the part endpoint")
    parser.add_argument("--floor", type=int, default=4000, help="requests of the bare client")
    parser.add_argument("--sizes", type=int, nargs=3, default=[64, 200, 800], help="judgements of each peer")
    options = parser.parse_args()
    served = [part for part in options.part if part not in OWN_SCRIPTS]
    if served:
        measured = measure(served, options)
        judging, _ = read_results()
        words = ["python benchmarks/judging.py --part", *served, "--pairs", *map(str, options.pairs)]
        judging |= {part: {"command": " ".join(words), **found} for part, found in measured.items()}
        RESULTS.write_text(json.dumps(judging, indent=1) + "\n", encoding="utf-8")
    for part in options.part:
        if part in OWN_SCRIPTS:
            subprocess.run([sys.executable, str(HERE / OWN_SCRIPTS[part])], check=True)
    if options.publish:
        publish()


if __name__ == "__main__":
    main()
