"""How many prompts does a reward model need? Held-out accuracy against the number of prompts trained on.

    python benchmarks/reward_model_curve.py PREFERENCES BASE --name warm [--sizes 25 50 100 200] [--seeds 0]
        [--set reward_model.train=last_layers --set reward_model.num_layers=4]

PREFERENCES is a preference folder or file, such as a run's `4_preferences/dataset`; BASE the model that the reward
model starts from, a folder or hub id. Prompts are shuffled by the seed, and a size trains on the pairs of the first so
many of them; the last size is all of them. All sizes are measured on the same held-out pairs: the folder's test split,
or a fifth of the prompts. Every training starts from BASE. Accuracy is the share of held-out pairs that the rewards
order as the labels do, with a 95 % interval over prompts; CPU seconds cover training and measuring. Prints a line
for each training, and adds the curve to benchmarks/results/reward_model_curve.json under its name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from rlaif.config.load import load_config
from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.preferences.pool import SplitRows, read_pool
from rlaif.reward_model.train import train_reward_model

RESULTS = Path(__file__).parent / "results" / "reward_model_curve.json"
TEST_FRACTION = 0.2


def take_prompts(rows: SplitRows, num_prompts: int, *, seed: int) -> SplitRows:
    """The training rows of the first `num_prompts` prompts in an order that the seed fixes; the same held-out rows."""
    ids = sorted({row.prompt.id for row in rows.train})
    random.Random(seed).shuffle(ids)
    kept = set(ids[:num_prompts])
    return rows._replace(train=[row for row in rows.train if row.prompt.id in kept])


def find_sizes(rows: SplitRows, sizes: Sequence[int]) -> list[int]:
    """The sizes below the number of training prompts, and that number."""
    most = len({row.prompt.id for row in rows.train})
    return [*(size for size in sorted(set(sizes)) if size < most), most]


def measure(base: LoadedModel, rows: SplitRows, *, config: RewardModelConfig, seed: int) -> dict[str, Any]:
    """One training from the base: its pairs, held-out accuracy and CPU seconds."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = train_reward_model(
            base=base, train_rows=rows.train, test_rows=rows.test, config=config, out_dir=Path(folder) / "m", seed=seed
        )
    accuracy = trained.held_out.accuracy
    return {
        "seed": seed,
        "prompts": len({row.prompt.id for row in rows.train}),
        "pairs": trained.train_tally.kept,
        "accuracy": None if accuracy is None else accuracy.model_dump(mode="json"),
        "log_loss": trained.held_out.log_loss,
        "log_loss_floor": trained.held_out.log_loss_floor,
        "cpu_s": round(time.process_time() - started, 1),
    }


def measure_curve(
    base: LoadedModel, rows: SplitRows, *, sizes: Sequence[int], seeds: Sequence[int], config: RewardModelConfig
) -> Iterator[dict[str, Any]]:
    for size in find_sizes(rows, sizes):
        for seed in seeds:
            yield measure(base, take_prompts(rows, size, seed=seed), config=config, seed=seed)


def describe_point(point: dict[str, Any]) -> str:
    accuracy = point["accuracy"]
    share = (
        "no held-out pair has a preferred side"
        if accuracy is None
        else f"{accuracy['mean']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
    )
    return f"{point['prompts']} prompts, {point['pairs']} pairs, seed {point['seed']}: {share}, {point['cpu_s']} CPU s"


def store(name: str, curve: dict[str, Any]) -> None:
    """Add or replace one curve in the result file."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"curves": {}}
    found |= {
        "command": "python benchmarks/reward_model_curve.py PREFERENCES BASE --name NAME",
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    found["curves"][name] = curve
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preferences")
    parser.add_argument("base")
    parser.add_argument("--name", required=True, help="name of the curve in the result file")
    parser.add_argument("--sizes", type=int, nargs="*", default=[25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="reward_model.KEY=VALUE")
    given = parser.parse_args()
    config = load_config(overrides=given.set).reward_model
    base = load_causal_lm(given.base)
    rows = read_pool([], given=given.preferences, test_fraction=TEST_FRACTION)
    points = []
    for point in measure_curve(base, rows, sizes=given.sizes, seeds=given.seeds, config=config):
        print(describe_point(point), flush=True)
        points.append(point)
    options = [part for setting in given.set for part in ("--set", setting)]
    store(
        given.name,
        {
            "options": shlex.join(options),
            "base_weights": base.fingerprint.weights,
            "held_out_pairs": len(rows.test),
            "points": points,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
