"""Does the demo's policy keep its principles better than its start, over several seeds?

    python benchmarks/demo_seeds.py [--seeds 0 1 2]

Runs `rlaif run` as `make demo` does, once per seed, and reads each report: the judge's win rate and
the change of the simulated truth of every measure, each with its 95 % interval over prompts.
Writes benchmarks/results/demo_seeds.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "demo_seeds.json"


def run_demo(seed: int, folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "rlaif", "run", "--run", f"seed-{seed}", "--seed", str(seed)], cwd=folder, check=True
    )
    seconds = time.perf_counter() - started
    report = folder / "runs" / f"seed-{seed}" / "round_00" / "7_evaluation" / "report.json"
    evaluation = json.loads(report.read_text())["evaluation"]
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "win_rate": evaluation["win_rate"],
        "measures_change": evaluation["measures_change"],
        "figures": evaluation["figures"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_demo(seed, Path(folder)) for seed in seeds]
    RESULTS.write_text(json.dumps({"command": "python benchmarks/demo_seeds.py", "runs": runs}, indent=2) + "\n")
    for run in runs:
        win = run["win_rate"]
        print(f"seed {run['seed']}: {run['seconds']} s, wins {win['mean']:.3f} [{win['low']:.3f}, {win['high']:.3f}]")
        for name, change in run["measures_change"].items():
            print(f"    {name:12s} {change['mean']:+6.1f} [{change['low']:+.1f}, {change['high']:+.1f}]")


if __name__ == "__main__":
    main()
