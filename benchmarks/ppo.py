"""PPO beside the last one that TRL had: python benchmarks/ppo.py --trl-python .venv-trl/bin/python

Both train the same tiny Llama on the same prompts with the same number of optimizer steps, metrics and guards on in
ours, one thread each, seconds of process time, rounds interleaved, each training in a separate process. The best
step of a training counts, and the median over the rounds.
TRL needs a separate environment: pip install torch==2.13.0, then trl==1.12.0.
Writes benchmarks/results/ppo.json. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from ppo_floor import Clock, compare_with_floor
from ppo_memory import compare as compare_memory
from ppo_world import EOS, PAD, World, count_reward, make_policy, make_prompts, make_scorer

from rlaif.config.ppo import PpoConfig
from rlaif.models.interface import Chat
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Message, Prompt
from rlaif.reward_model.model import compute_rewards
from rlaif.training.listener import Listener, StepMetrics

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "ppo.json"


class Case(NamedTuple):
    """One comparison: the work, what ours changes in its options, and the factor wanted."""

    name: str
    options: dict[str, Any]
    ours: dict[str, Any]
    target: float | None


RAGGED, FIXED = World(mean_length=20)._asdict(), World()._asdict()
WORK: dict[str, Any] = {"batch": 32, "micro": 8, "epochs": 4, "steps": 5, "lr": 3e-6, "kl_coef": 0.05}
LEARNING: dict[str, Any] = {
    "world": World(prompt_length=16, response_length=16)._asdict(), "reward": "count", "batch": 32, "micro": 8,
    "epochs": 4, "steps": 40, "kl_coef": 0.0,
    "ours": {"guards": {"kl_ceiling": None, "max_repetition_rise": None}, "vf_coef": 0.5, "adam_epsilon": 1e-8},
}  # fmt: skip
"""The reward draws the policy far from its start and to few words, so the guards against that are off. Adam's epsilon
is TRL's. TRL's vf_coef scales the gradient of a separate network, which Adam evens out; ours weights a shared trunk."""
STEPS_AT_ZERO = 6
LEARNING_RATE = 3e-3
LAST = 5
"""Steps at the end whose mean score counts as reached."""
SAMPLING_ERROR = 0.02
"""Share of such a gain: two trainings that differ in their micro-batches alone end up to a point apart."""
MIN_TIMES_LESS_MEMORY = 10.0
CASES = {
    case.name: case
    for case in [
        Case("ragged", {**WORK, "world": RAGGED, "reward": "model"}, {}, 3.0),
        Case("fixed", {**WORK, "world": FIXED, "reward": "model"}, {}, 1.6),
        Case(
            "ragged, lower half frozen",
            {**WORK, "world": RAGGED, "reward": "model"},
            {"model": {"train": "last_layers", "num_layers": 2}},
            4.0,
        ),
        Case(
            "ragged, value model apart",
            {**WORK, "world": RAGGED, "reward": "model"},
            {"model": {"value_model": "separate"}},
            1.8,
        ),
        Case("ragged, 128", {**WORK, "world": RAGGED, "reward": "model", "batch": 128, "micro": 16}, {}, None),
    ]
}


class Words:
    """Token ids <-> text, a word per token; implements the trainer's `Encoder`."""

    def __init__(self, world: World) -> None:
        self.stop_token_ids: tuple[int, ...] = (EOS,) if world.mean_length else ()
        self.pad_token_id = PAD

    def encode(self, chat: Chat) -> list[int]:
        return self.ids(chat[-1].text)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(f"t{i}" for i in ids)

    def ids(self, text: str) -> list[int]:
        return [int(word[1:]) for word in text.split()]


def train(options: dict[str, Any]) -> dict[str, Any]:
    """Our trainer, as a user calls it."""
    world = World(**options["world"])
    torch.set_num_threads(1)
    words, policy = Words(world), make_policy(world)
    prompts = [
        Prompt(messages=(Message(role="user", content=words.decode(ids)),), source="benchmark")
        for ids in make_prompts(world)
    ]
    config = PpoConfig(
        num_steps=options["steps"], num_prompts_per_step=options["batch"], num_samples_per_prompt=1,
        response_length=world.response_length, num_ppo_epochs=options["epochs"], num_mini_batches=1,
        learning_rate=options["lr"], kl_coef=options["kl_coef"], value_warmup_steps=0, missing_eos_penalty=0,
        checkpoint_every=options["steps"], **options["ours"],
    )  # fmt: skip
    scorer = make_scorer(world, seed=7)

    def reward(episodes: Sequence[Episode]) -> list[float]:
        replies = [words.ids(episode.response) for episode in episodes]
        if options["reward"] == "count":
            return [count_reward(ids, world=world) for ids in replies]
        asked = [words.ids(episode.prompt.messages[0].content) for episode in episodes]
        with torch.inference_mode():
            return compute_rewards(scorer, [[*a, *b] for a, b in zip(asked, replies, strict=True)]).tolist()

    clock = Clock()
    marks, scores, kls, taken = [time.process_time()], [], [], []

    def mark(done: StepMetrics) -> None:
        marks.append(time.process_time())
        scores.append(done.numbers["objective/scores"])
        kls.append(done.numbers["objective/kl"])
        taken.append(clock.take())

    with tempfile.TemporaryDirectory() as folder, clock.running():
        train_policy(
            policy=policy, encoder=words, prompts=prompts, reward=clock.timed("reward", reward), config=config,
            out_dir=Path(folder), seed=world.seed, resume=False, listener=Listener(on_metrics=mark),
        )  # fmt: skip
    steps = [{"seconds": b - a, **of} for (a, b), of in zip(itertools.pairwise(marks), taken, strict=True)][1:]
    result = {
        "steps": steps,
        "optimizer_updates_per_step": clock.optimizer_steps / options["steps"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "scores": scores,
        "kl": kls,
    }
    if options.get("floor"):
        best = min(steps, key=lambda step: float(step["seconds"]))
        result["floor"] = compare_with_floor(
            best, world, epochs=options["epochs"], parameters=sum(p.numel() for p in policy.parameters()),
            micro_batch_tokens=config.micro_batch_tokens,
        )  # fmt: skip
    return result


def run(side: str, options: dict[str, Any], *, trl_python: str) -> dict[str, Any]:
    """One training in a separate process."""
    given = json.dumps(options)
    command = (
        [sys.executable, __file__, "--worker", given]
        if side == "ours"
        else [trl_python, str(HERE / "ppo_trl.py"), "--options", given]
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def describe_met(met: bool) -> str:
    return "met" if met else "MISSED"


def best_step(result: dict[str, Any]) -> float:
    return min(float(step["seconds"]) for step in result["steps"])


def compare(case: Case, *, rounds: int, trl_python: str) -> dict[str, Any]:
    options = {**case.options, "ours": case.ours}
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    for number in range(rounds):
        for side in ("trl", "ours"):
            results[side].append(run(side, options, trl_python=trl_python))
            print(f"{case.name}, round {number}: {side} {best_step(results[side][-1]):.2f} s a step", file=sys.stderr)
    seconds = {side: statistics.median(map(best_step, rows)) for side, rows in results.items()}
    memory = {side: statistics.median(row["peak_mib"] for row in rows) for side, rows in results.items()}
    times = seconds["trl"] / seconds["ours"]
    batch = case.options["batch"]
    print(
        f"{case.name}: {batch / seconds['ours']:.1f} samples/s, {times:.2f} times TRL's {batch / seconds['trl']:.1f}"
        + (f", target {case.target:g}: {describe_met(times >= case.target)}" if case.target else "")
        + f"; peak memory {memory['ours'] / memory['trl']:.2f} of its {memory['trl']:.0f} MiB"
    )
    return {
        "times": round(times, 2), "target": case.target,
        "seconds_per_step": {side: round(value, 3) for side, value in seconds.items()},
        "by_round": {side: [round(best_step(row), 3) for row in rows] for side, rows in results.items()},
        "peak_mib": {side: round(value) for side, value in memory.items()},
        "optimizer_updates_per_step": {side: rows[0]["optimizer_updates_per_step"] for side, rows in results.items()},
        "trl": results["trl"][0]["versions"],
    }  # fmt: skip


def check_learning(*, trl_python: str, seeds: int) -> dict[str, Any]:
    """The token-count reward at a rate where TRL gains half of what can be gained, and ours at rate 0."""
    reached: dict[str, list[float]] = {"trl": [], "ours": []}
    at_zero: list[float] = []
    for seed in range(seeds):
        options = {**LEARNING, "world": {**LEARNING["world"], "seed": seed}}
        still = run("ours", {**options, "lr": 0.0, "steps": STEPS_AT_ZERO}, trl_python=trl_python)
        start = statistics.fmean(still["scores"])
        at_zero.append(max(map(abs, still["kl"])))
        for side, found in reached.items():
            scores = run(side, {**options, "lr": LEARNING_RATE}, trl_python=trl_python)["scores"]
            found.append((statistics.fmean(scores[-LAST:]) - start) / (1 - start))
            print(f"learning, seed {seed}: {side} gains {found[-1]:.1%} of what can be gained", file=sys.stderr)
    gains = {side: round(statistics.fmean(found), 4) for side, found in reached.items()}
    moved = max(at_zero)
    met = gains["trl"] >= 0.5 and gains["ours"] >= gains["trl"] - SAMPLING_ERROR and moved < 1e-4
    print(
        f"learning: of what can be gained ours gains {gains['ours']:.1%} and TRL {gains['trl']:.1%}; at rate 0 the KL "
        f"of ours is {moved:.1g}: {describe_met(met)}"
    )
    return {
        "share_of_what_can_be_gained": gains, "by_seed": reached, "sampling_error": SAMPLING_ERROR,
        "kl_at_rate_0": moved, "learning_rate": LEARNING_RATE, "steps": LEARNING["steps"], "met": met,
    }  # fmt: skip


def check_floor(*, trl_python: str, seeds: int) -> dict[str, Any]:
    del seeds
    case = CASES["ragged"]
    found: dict[str, Any] = run("ours", {**case.options, "ours": case.ours, "floor": True}, trl_python=trl_python)
    for phase, row in found["floor"]["phases"].items():
        print(f"{phase:10s} {row['seconds']:.3f} s, floor {row['floor_s']:.3f}, {row['times_the_floor']:.1f} times it")
    whole = found["floor"]
    print(f"a step     {whole['seconds']:.3f} s, floor {whole['floor_s']:.3f}, {whole['times_the_floor']:.1f} times it")
    return {**whole, "met": True}


def check_memory(*, trl_python: str, seeds: int) -> dict[str, Any]:
    del trl_python, seeds
    found = compare_memory(tokens=256, hidden=896, vocab=151_936)
    met = found["times_less"] >= MIN_TIMES_LESS_MEMORY
    print(f"log-probabilities take {found['times_less']:.1f} times less memory than all logits: {describe_met(met)}")
    return {**found, "met": met}


PARTS = {"learning": check_learning, "floor": check_floor, "memory": check_memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", default=".venv-trl/bin/python", help="python with trl 1.12.0")
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2, help="of the learning check")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(train(json.loads(options.worker))))
        return 0
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {"cases": {}}
    for name in options.cases:
        result["cases"][name] = compare(CASES[name], rounds=options.rounds, trl_python=options.trl_python)
        write(result, options.out)
    for name in options.parts:
        result[name] = PARTS[name](trl_python=options.trl_python, seeds=options.seeds)
        write(result, options.out)
    cases = [row for row in result["cases"].values() if row["target"] is not None]
    held = all(row["times"] >= row["target"] for row in cases) and all(result[name]["met"] for name in options.parts)
    return 0 if held else 1


def write(result: dict[str, Any], path: Path) -> None:
    """What was measured before and not again stays."""
    result |= {
        "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
        "command": "python benchmarks/ppo.py --trl-python .venv-trl/bin/python",
    }  # fmt: skip
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
