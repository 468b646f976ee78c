"""PPO against four reward models: their mean, and their mean less their variance: python benchmarks/ensembles.py.

Whole runs on the front desk with few preferences, so that the reward models, which are trained on prompts drawn with
replacement, differ where the policy goes. Per seed and way: how far the models differ on the last steps' responses
beside the first, KL, and the simulated truth of the two principles. Writes benchmarks/results/ensembles.json; exits
with 1 unless the penalty on variance leaves the models less apart than their mean does, in every seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rlaif.stats.intervals import mean_interval

RESULTS = Path(__file__).parent / "results" / "ensembles.json"
SETTINGS = (
    "prompts.num_prompts=60", "evaluation.num_prompts=100", "evaluation.num_samples=2", "evaluation.best_of=0",
    "reward_model.num_members=4", "reward_model.bootstrap=true",
)  # fmt: skip
MEAN = "mean"
WAYS = {
    MEAN: "{model: run, members: mean}",
    "mean less .5 variance": "{model: run, members: mean_less_variance, variance_coefficient: 0.5}",
    "mean less 5 variance": "{model: run, members: mean_less_variance, variance_coefficient: 5}",
}
STRONGEST = "mean less 5 variance"
NUM_STEPS = 5
"""Of the first and of the last so many steps the figures are means."""
SPREAD = "objective/spread/reward_model"
"""Mean over a step's responses of the standard deviation of the models' rewards."""
NAMED = ("courteous", "brief")


def run_way(folder: Path, *, seed: int, way: str) -> dict[str, float]:
    name = way.replace(" ", "-").replace(".", "")
    settings = [part for one in (*SETTINGS, f"ppo.rewards=[{WAYS[way]}]") for part in ("--set", one)]
    command = [sys.executable, "-m", "rlaif", "run", "--run", name, "--seed", str(seed), *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return read_run(folder / "runs" / name)


def read_run(run: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    spreads = [line[SPREAD] for line in lines if line["stage"] == "policy" and SPREAD in line]
    report = json.loads((run / "round_00" / "7_evaluation" / "report.json").read_text(encoding="utf-8"))["evaluation"]
    return {
        "spread, first steps": statistics.fmean(spreads[:NUM_STEPS]),
        "spread, last steps": statistics.fmean(spreads[-NUM_STEPS:]),
        "KL": report["figures"]["kl"],
        **{f"{name}, change": report["measures_change"][name]["mean"] for name in NAMED},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    runs: list[dict[str, dict[str, float]]] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append({way: run_way(Path(folder), seed=seed, way=way) for way in WAYS})
        print(f"seed {seed}: {runs[-1]}", file=sys.stderr)
    figures = {
        way: {
            name: one.model_dump() if (one := mean_interval([run[way][name] for run in runs])) else runs[0][way][name]
            for name in runs[0][way]
        }
        for way in WAYS
    }
    last = "spread, last steps"
    met = all(run[STRONGEST][last] < run[MEAN][last] for run in runs)
    result = {
        "command": "python benchmarks/ensembles.py", "seeds": options.seeds, "settings": list(SETTINGS),
        "ways": figures, "runs": runs, "met": met, "seconds": round(time.perf_counter() - started),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
