"""Do more rounds make a better policy, or only a higher reward?

    python benchmarks/rounds.py [--seeds 0 1 2] [--rounds 3] [--set ppo.start_from=last_round]

Runs `rlaif run --rounds 3` on the front desk once per seed, two processes at a time, with the gates open, so that
every round is seen; the gates that would have closed are named. Per round: the gain in reward by the round's own
reward model, the simulated truth of each principle, KL and the judge's win rate; means over seeds with 95 %
t-intervals over seeds. Writes benchmarks/results/rounds.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlaif.config.gates import GatesConfig
from rlaif.config.load import load_config
from rlaif.constitution.principles import load_constitution
from rlaif.loop.gates import RoundFigures, find_closed_gates
from rlaif.records import Estimate
from rlaif.stats.intervals import mean_interval

RESULTS = Path(__file__).parent / "results" / "rounds.json"
OPEN_GATES = [f"gates.{name}={'false' if name == 'alarm' else 'null'}" for name in GatesConfig.model_fields]
SIZES = ["prompts.num_prompts=300", "evaluation.best_of=0"]
"""Less than the defaults, so that nine rounds take two cores at most 15 minutes; --set puts them back."""
Row = Mapping[str, Any]


def run_seed(seed: int, folder: Path, *, rounds: int, settings: Sequence[str]) -> dict[str, Any]:
    """One run of several rounds, as its rounds.json tells it."""
    runs_dir = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "rlaif", "run", "--seed", str(seed), "--rounds", str(rounds)]
    command += ["--run", "rounds", "--runs-dir", str(runs_dir)]
    command += [part for setting in (*OPEN_GATES, *SIZES, *settings) for part in ("--set", setting)]
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"seed {seed} failed:\n{done.stderr}")
    told: dict[str, Any] = json.loads((runs_dir / "rounds" / "rounds.json").read_text())
    seconds = round(time.perf_counter() - started, 1)
    return {"seed": seed, "seconds": seconds, "rounds": [describe_row(row) for row in told["rounds"]]}


def describe_row(row: Row) -> dict[str, Any]:
    """What the table needs of a round, and the gates that would have closed."""
    evaluation = row["evaluation"]
    closed = find_closed_gates(RoundFigures.model_validate(row["figures"]), config=GatesConfig())
    return {
        "proxy_reward": row["proxy_reward"],
        "kl": evaluation["figures"].get("kl"),
        "win_rate": evaluation["win_rate"],
        "accuracy": row["figures"]["accuracy"],
        "num_pairs": row["num_pairs"],
        "share_flipped": row["figures"]["num_flipped"] / max(1, row["figures"]["num_compared"]),
        "truth_before": {name: estimate["mean"] for name, estimate in evaluation["measures_before"].items()},
        "truth": {name: estimate["mean"] for name, estimate in evaluation["measures_after"].items()},
        "gates_that_would_close": [gate.sentence for gate in closed],
    }


def over_seeds(runs: Sequence[Row], number: int, read: Callable[[Row], float | None]) -> Estimate | float | None:
    """Mean over the seeds with its interval; the number alone where there is one seed, None where one is unknown."""
    values = [read(run["rounds"][number]) for run in runs]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return mean_interval(known) or known[0]


def make_table(runs: Sequence[Row], *, rounds: int, measures: Sequence[str]) -> dict[str, list[Any]]:
    """Column -> its cell for each round."""
    columns: dict[str, Callable[[Row], float | None]] = {
        "reward": lambda row: row["proxy_reward"],
        "KL": lambda row: row["kl"],
        "win rate": lambda row: row["win_rate"] and row["win_rate"]["mean"],
        **{name: lambda row, name=name: row["truth"].get(name) for name in measures},  # type: ignore[misc]
    }
    return {name: [over_seeds(runs, number, read) for number in range(rounds)] for name, read in columns.items()}


def compare_ends(runs: Sequence[Row], measures: Sequence[str]) -> dict[str, Any]:
    """Truth after the last round less truth after the first, seed by seed: did it rise with the rounds?"""
    gains = {
        name: [run["rounds"][-1]["truth"][name] - run["rounds"][0]["truth"][name] for run in runs] for name in measures
    }
    return {name: mean_interval(values) or values[0] for name, values in gains.items()}


def format_cell(cell: Estimate | float | None, *, decimals: int) -> str:
    if cell is None:
        return "unknown"
    if isinstance(cell, float):
        return f"{cell:.{decimals}f}"
    return f"{cell.mean:.{decimals}f} ({cell.low:.{decimals}f} to {cell.high:.{decimals}f})"


def plain(value: Any) -> Any:
    """Estimates as JSON."""
    if isinstance(value, Estimate):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", dest="settings")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    constitution = load_constitution(load_config(overrides=given.settings).constitution)
    measures = list(dict.fromkeys(tag for principle in constitution.principles for tag in principle.tags))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.processes) as pool:
        jobs = [
            pool.submit(run_seed, seed, Path(folder), rounds=given.rounds, settings=given.settings)
            for seed in given.seeds
        ]
        runs = [job.result() for job in jobs]
    table = make_table(runs, rounds=given.rounds, measures=measures)
    ends = compare_ends(runs, measures)
    results = {
        "command": " ".join(["python benchmarks/rounds.py", *sys.argv[1:]]),
        "seconds": round(time.perf_counter() - started, 1),
        "settings": [*SIZES, *given.settings],
        "table": plain(table),
        "truth_last_less_first_round": plain(ends),
        "runs": runs,
    }
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    for name, cells in table.items():
        decimals = 3 if name == "win rate" else 1 if name in measures else 2
        before = [run["rounds"][0]["truth_before"][name] for run in runs] if name in measures else []
        start = f"start {sum(before) / len(before):.1f}; " if before else ""
        shown = "; ".join(f"round {n}: {format_cell(cell, decimals=decimals)}" for n, cell in enumerate(cells))
        print(f"{name:12s} {start}{shown}")
    for name, change in ends.items():
        print(f"{name:12s} last round less first: {format_cell(change, decimals=1)}")
    for run in runs:
        for number, row in enumerate(run["rounds"]):
            for sentence in row["gates_that_would_close"]:
                print(f"seed {run['seed']}, round {number}: {sentence}")
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
