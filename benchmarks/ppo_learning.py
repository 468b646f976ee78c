"""Do the demo's steps of PPO reach what ten times as many reach?

    python benchmarks/ppo_learning.py [--seeds 0 1 2] [--times 10] [--set ppo.num_ppo_epochs=3]

Per seed a run of the front desk with the demo's settings makes its reward model; PPO then trains the starting policy
with the demo's steps and with `--times` as many. What both maximise (score less KL penalty) is measured at the end, on
held-out prompts with the same draws, and counted from what the starting policy reaches. Writes
benchmarks/results/ppo_learning.json; exits with 1 when the demo's mean gain is more than 5 % below the other's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from desk import Desk, make_desk, measure, train

from rlaif.config.load import load_config
from rlaif.config.ppo import PpoConfig

RESULTS = Path(__file__).parent / "results" / "ppo_learning.json"
TARGET = 0.95


def reach(desk: Desk, config: PpoConfig, *, seed: int, out_dir: Path) -> dict[str, Any]:
    """One training and what its policy is worth."""
    started = time.process_time()
    trained = train(desk, config, seed=seed, out_dir=out_dir)
    seconds = time.process_time() - started
    worth = measure(desk, trained.model, config)
    print(f"seed {seed}, {config.num_steps} steps: {worth} in {seconds:.0f} s, {trained.note}", flush=True)
    return {**worth._asdict(), "steps": trained.steps, "cpu_s": round(seconds, 1), "note": trained.note}


def run_seed(seed: int, folder: Path, *, times: int, settings: Sequence[str]) -> dict[str, Any]:
    demo = load_config(overrides=list(settings)).ppo
    longer = demo.model_copy(update={"num_steps": times * demo.num_steps, "checkpoint_every": 30})
    desk = make_desk(folder, seed=seed, settings=settings)
    start = measure(desk, desk.start.model, demo)
    print(f"seed {seed}, start: {start}", flush=True)
    ends = {
        name: reach(desk, config, seed=seed, out_dir=folder / name)
        for name, config in (("demo", demo), ("longer", longer))
    }
    gains = {name: end["objective"] - start.objective for name, end in ends.items()}
    share = gains["demo"] / gains["longer"]
    print(f"seed {seed}: {gains['demo']:.3f} of {gains['longer']:.3f}, {share:.1%}", flush=True)
    return {
        "seed": seed, "reward_model_accuracy": desk.accuracy, "start": start._asdict(), **ends, "gains": gains,
        "share": share,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--times", type=int, default=10, help="how many times the demo's steps the other takes")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", dest="settings")
    parser.add_argument("--folder", type=Path, help="keeps everything, and continues from what is there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        runs = [
            run_seed(seed, folder / f"seed_{seed}", times=given.times, settings=given.settings) for seed in given.seeds
        ]
    share = statistics.fmean(run["gains"]["demo"] for run in runs) / statistics.fmean(
        run["gains"]["longer"] for run in runs
    )
    print(f"{share:.1%} of the gain, target {TARGET:.0%}: {'met' if share >= TARGET else 'MISSED'}")
    result = {
        "command": " ".join(["python benchmarks/ppo_learning.py", *sys.argv[1:]]), "share": share, "target": TARGET,
        "runs": runs,
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
