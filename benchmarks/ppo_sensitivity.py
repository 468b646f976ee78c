"""What PPO's options do to its result: one changed at a time, in a world with a known best and on the front desk.

    python benchmarks/ppo_sensitivity.py [exact] [desk] [--seeds 0 1 2] [--folder runs/sensitivity] [--only NAME]

exact: 64 responses whose best policy is known (tests/exact_world.py); the share of what can be gained, E[r] - beta KL,
after 30 steps. desk: the front desk's policy against a reward model of the demo; gain in score less KL penalty on
held-out prompts with the same draws, over that of ten times as many steps. Both objectives keep the KL weight of the
base, whatever a row trains with. A row's result is kept as soon as it is there, and no finished one is done again.
Writes benchmarks/results/ppo_sensitivity.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from desk import Desk, Worth, make_desk, measure, train

from rlaif.config.load import load_config
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.training.listener import Listener, StepMetrics

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # the world whose best policy is known

from exact_world import World  # noqa: E402

RESULTS = HERE / "results" / "ppo_sensitivity.json"
EXACT_STEPS, TIMES, LAST = 30, 10, 10
Options = dict[str, Any]
EXACT: dict[str, Options] = {
    "base": {},
    "learning_rate x 1/4": {"learning_rate": 0.0125}, "learning_rate x 1/2": {"learning_rate": 0.025},
    "learning_rate x 2": {"learning_rate": 0.1}, "learning_rate x 4": {"learning_rate": 0.2},
    "kl_coef x 1/2": {"kl_coef": 0.25}, "kl_coef x 2": {"kl_coef": 1.0},
    "kl_estimator k2": {"kl_estimator": "k2"}, "kl_estimator k3": {"kl_estimator": "k3"},
    "cliprange 0.05": {"cliprange": 0.05}, "cliprange 0.4": {"cliprange": 0.4}, "cliprange 1000": {"cliprange": 1e3},
    "batch x 1/4": {"num_samples_per_prompt": 64}, "batch x 2": {"num_samples_per_prompt": 512},
    "num_ppo_epochs 1": {"num_ppo_epochs": 1}, "num_ppo_epochs 4": {"num_ppo_epochs": 4},
    "num_mini_batches 1": {"num_mini_batches": 1}, "num_mini_batches 8": {"num_mini_batches": 8},
    "lam 0": {"lam": 0.0}, "lam 0.8": {"lam": 0.8}, "lam 1": {"lam": 1.0}, "value_lam 1": {"value_lam": 1.0},
    "gamma 0.9": {"gamma": 0.9}, "vf_coef 0 (no values)": {"vf_coef": 0.0}, "vf_coef 0.1": {"vf_coef": 0.1},
    "cliprange_value 0.2": {"cliprange_value": 0.2}, "value_warmup_steps 5": {"value_warmup_steps": 5},
    "whiten_advantages false": {"whiten_advantages": False}, "whiten_rewards true": {"whiten_rewards": True},
    "max_grad_norm 0.1": {"max_grad_norm": 0.1}, "max_grad_norm 100": {"max_grad_norm": 100.0},
    "algorithm rloo": {"algorithm": "rloo"}, "algorithm grpo": {"algorithm": "grpo"},
}  # fmt: skip
DESK: dict[str, Options] = {
    "base": {},
    "vf_coef 0 (no values)": {"vf_coef": 0.0},
    "vf_coef 0 (no values), lam 1": {"vf_coef": 0.0, "lam": 1.0},
    "values apart, rate x 3": {"model": PpoModelConfig(value_model="separate", value_learning_rate=2.1e-3)},
    "value_warmup_steps 10": {"value_warmup_steps": 10},
    "vf_coef 1": {"vf_coef": 1.0},
    "num_ppo_epochs 4": {"num_ppo_epochs": 4},
    "learning_rate x 2": {"learning_rate": 1.4e-3},
    "num_mini_batches 4": {"num_mini_batches": 4},
    "lam 1": {"lam": 1.0},
    "value_warmup_steps 0": {"value_warmup_steps": 0},
    "algorithm rloo": {"algorithm": "rloo"},
    "learning_rate x 1/2": {"learning_rate": 3.5e-4},
    "num_ppo_epochs 1": {"num_ppo_epochs": 1},
    "kl_coef x 1/2": {"kl_coef": 0.05}, "kl_coef x 2": {"kl_coef": 0.2},
    "cliprange 0.4": {"cliprange": 0.4}, "cliprange 0.1": {"cliprange": 0.1},
    "batch x 1/2": {"num_prompts_per_step": 16}, "batch x 2": {"num_prompts_per_step": 64},
    "lam 0.8": {"lam": 0.8}, "whiten_advantages false": {"whiten_advantages": False},
    "whiten_rewards true": {"whiten_rewards": True}, "max_grad_norm 0.1": {"max_grad_norm": 0.1},
}  # fmt: skip
"""Those first that say whether the values matter, and what may bring more in as many steps."""
LONGER = f"base, {TIMES} times the steps"


class Kept:
    """The result file: every cell is in it as soon as it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.parts: dict[str, dict[str, dict[str, Any]]] = {"exact": {}, "desk": {}}
        self.more: dict[str, Any] = {}
        if path.is_file():
            held = json.loads(path.read_text(encoding="utf-8"))
            self.parts = {part: held[part] for part in self.parts}
            self.more = {name: held[name] for name in ("desk_start",) if name in held}

    def has(self, part: str, name: str, *, seed: int) -> bool:
        return str(seed) in self.parts[part].get(name, {})

    def add(self, part: str, name: str, *, seed: int, cell: Mapping[str, Any]) -> None:
        self.parts[part].setdefault(name, {})[str(seed)] = dict(cell)
        result = {
            "command": "python benchmarks/ppo_sensitivity.py exact desk", "machine": platform.machine(),
            "steps": {"exact": EXACT_STEPS, "desk": load_config().ppo.num_steps, "longer": TIMES},
            **self.more, **self.parts,
        }  # fmt: skip
        self._path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{part}, {name}, seed {seed}: {cell}", flush=True)


def run_exact(kept: Kept, *, seeds: Sequence[int], only: str) -> None:
    for seed in seeds:
        for name, options in EXACT.items():
            if only not in name or kept.has("exact", name, seed=seed):
                continue
            world = World(seed=seed)
            started = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                trained = world.train(Path(folder), num_steps=EXACT_STEPS, **options)
            start, best = world.objective(world.logprobs(world.start)), world.objective(world.best())
            share = (world.objective(world.logprobs(trained.model)) - start) / (best - start)
            explained = trained.metrics.get("val/explained_variance")
            cell = {"share": round(share, 4), "explained_variance": explained and round(explained, 3)}
            kept.add("exact", name, seed=seed, cell={**cell, "cpu_s": round(time.process_time() - started, 1)})


def run_desk(kept: Kept, folder: Path, *, seeds: Sequence[int], only: str) -> None:
    """One world and one reward model; the seeds are those of PPO."""
    torch.set_num_threads(1)
    base = load_config().ppo
    desk: Desk | None = None
    for name, options in [*DESK.items(), (LONGER, {"num_steps": TIMES * base.num_steps, "checkpoint_every": 50})]:
        for seed in seeds:
            if only not in name or kept.has("desk", name, seed=seed):
                continue
            if desk is None:
                desk = make_desk(folder, seed=0)
                kept.more["desk_start"] = round(measure(desk, desk.start.model, base).objective, 4)
            config = PpoConfig.model_validate({**dict(base), **options})
            cell = reach(desk, config, base=base, seed=seed, out_dir=folder / f"{name.replace('/', '_')}_{seed}")
            kept.add("desk", name, seed=seed, cell=cell)


def reach(desk: Desk, config: PpoConfig, *, base: PpoConfig, seed: int, out_dir: Path) -> dict[str, Any]:
    """One training, and what its policy is worth under the base's KL weight."""
    explained: list[float] = []

    def keep(done: StepMetrics) -> None:
        explained.append(done.numbers.get("val/explained_variance", 0.0))

    started = time.process_time()
    trained = train(desk, config, seed=seed, out_dir=out_dir, listener=Listener(on_metrics=keep))
    seconds = time.process_time() - started
    worth: Worth = measure(desk, trained.model, base)
    found = {"objective": worth.objective, "score": worth.score, "kl": worth.kl, "length": worth.length}
    cell: dict[str, Any] = {key: round(value, 4) for key, value in found.items()}
    if config.has_values and len(explained) >= LAST:
        cell["explained_variance"] = round(statistics.fmean(explained[-LAST:]), 3)
    return {**cell, "steps": trained.steps, "cpu_s": round(seconds, 1), "note": trained.note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["exact", "desk"], choices=["exact", "desk"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--folder", type=Path, help="keeps the front desk's run and trainings")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(given.out)
    if "exact" in given.parts:
        run_exact(kept, seeds=given.seeds, only=given.only)
    if "desk" in given.parts:
        with tempfile.TemporaryDirectory() as temporary:
            run_desk(kept, given.folder or Path(temporary), seeds=given.seeds, only=given.only)


if __name__ == "__main__":
    main()
