"""Whole runs whose PPO is rewarded by several reward models: their mean, and their mean less their variance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COEFFICIENT = 4.0
SPREAD, SCORE = "objective/spread/reward_model", "objective/scores/reward_model"
SMALL = (
    "prompts.num_prompts=30", "sampling.num_samples=2", "sampling.num_pairs=1", "reward_model.num_members=2",
    "reward_model.num_epochs=1", "ppo.num_steps=2", "ppo.value_warmup_steps=0",
    "evaluation.num_prompts=10", "evaluation.num_samples=1", "evaluation.best_of=0",
)  # fmt: skip


def train(folder: Path, name: str, reward: str) -> list[dict[str, Any]]:
    """The steps of PPO as metrics.jsonl has them."""
    settings = [part for one in (*SMALL, f"ppo.rewards=[{reward}]") for part in ("--set", one)]
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", "run", "--run", name, "--seed", "1", *settings],
        cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (json.loads(line) for line in (folder / "runs" / name / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["stage"] == "policy" and SPREAD in line]


@pytest.mark.heavy(minutes=2)
def test_ppo_gets_the_mean_less_the_variance_of_reward_models_and_learns_something_else(tmp_path: Path) -> None:
    """The first step's responses are those of both runs. The mean of variances is at least the squared mean spread."""
    by_mean = train(tmp_path, "mean", "{model: run, members: mean}")
    less = f"{{model: run, members: mean_less_variance, variance_coefficient: {COEFFICIENT}}}"
    by_less = train(tmp_path, "less", less)
    assert by_less[0][SPREAD] == pytest.approx(by_mean[0][SPREAD], rel=1e-4)
    assert by_mean[0][SPREAD] > 0
    lost = by_mean[0][SCORE] - by_less[0][SCORE]
    assert lost >= COEFFICIENT * by_mean[0][SPREAD] ** 2 * (1 - 1e-3)
    assert by_less[1][SCORE] != by_mean[1][SCORE]
    weights = [
        next((tmp_path / "runs" / name).glob("round_00/6_policy/model/*.safetensors")) for name in ("mean", "less")
    ]
    assert weights[0].read_bytes() != weights[1].read_bytes()
