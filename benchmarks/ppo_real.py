"""A PPO step of a real model, beside its floor: python benchmarks/ppo_real.py MODEL [--train lora last_layers]

8 prompts x 4 responses of at most 40 tokens, on one thread, in seconds of process time; the best step after the first.
The rewards are the model's own, by contrast: two readings of each response. The floor of a phase is timed in the same
run: the products of the model's own weight matrices with as many rows as the step really had, each prompt once, and no
attention, no adapter, no softmax and no optimizer. A frozen matrix has a product forward and one backward, a trained
one two backward.
Writes benchmarks/results/ppo_real.json. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from ppo_floor import Clock
from torch import Tensor, nn

from rlaif.config.ppo import PpoConfig
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.judging.modes import contrast
from rlaif.judging.modes.mode import Shown
from rlaif.models.interface import LIKELIHOODS
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.local.layers import find_layers
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trained import find_trained
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Message, Principle, Prompt, SegmentedMessage
from rlaif.training.listener import Listener, StepMetrics

RESULTS = Path(__file__).parent / "results" / "ppo_real.json"
TARGETS = {"decode": 4.0, "update": 2.0}
SAMPLES, LENGTH, EPOCHS, LAST_LAYERS = 4, 40, 2, 8
PRINCIPLE = Principle(id="brief", text="Answer in one short sentence.", opposite="Write a long and detailed answer.")
HEAD_ROWS = 256
"""Rows of the output layer's product at a time, so that the floor holds no logits of all tokens."""
QUESTIONS = (
    "How do I boil an egg?",
    "My neighbour's dog barks all night and I cannot sleep. What can I do?",
    "Write two sentences about the sea.",
    "What should I pack for a weekend in the mountains in October?",
    "I failed my driving test again.",
    "Can you explain what a mortgage is to someone who has never heard of it?",
    "Suggest a name for a small bakery.",
    "My sister and I have not talked for a year, and her birthday is next week. Should I write to her?",
)


def make_config(train: str, *, steps: int) -> PpoConfig:
    """PPO's defaults, but the values do not warm up, so that each step updates the policy, and the guards, which see
    a reward without meaning, do not stop it."""
    model = {"train": train} | ({"num_layers": LAST_LAYERS} if train == "last_layers" else {})
    return PpoConfig.model_validate(
        {
            "model": model, "num_steps": steps, "num_prompts_per_step": len(QUESTIONS),
            "num_samples_per_prompt": SAMPLES, "response_length": LENGTH, "num_ppo_epochs": EPOCHS,
            "learning_rate": 1e-5 if train == "lora" else 1e-6, "value_warmup_steps": 0, "checkpoint_every": steps,
            "guards": {"kl_ceiling": None, "max_repetition_rise": None},
        }
    )  # fmt: skip


def measure_steps(loaded: LoadedModel, train: str, *, steps: int) -> list[dict[str, Any]]:
    """Seconds by phase, and the lengths of prompts and responses, of each step after the first."""
    prompts = [Prompt(messages=(Message(role="user", content=text),), source="benchmark") for text in QUESTIONS]
    clock, marks, taken = Clock(), [time.process_time()], []
    read: list[int] = []
    judge, template = TransformersEngine(loaded), load_template("contrast")

    def mark(_: StepMetrics) -> None:
        marks.append(time.process_time())
        taken.append(clock.take() | {"read": read.pop()})

    def reward(episodes: Sequence[Episode]) -> list[float]:
        """The contrast of each episode, all in one call."""
        replies = judge.score([show_contrast(episode, template) for episode in episodes], request=LIKELIHOODS)
        read.append(sum(reply.prompt_tokens - 2 * reply.response_tokens for reply in replies) // SAMPLES)
        return [(reply.likelihoods[0] - reply.likelihoods[1]) / reply.response_tokens for reply in replies]

    with tempfile.TemporaryDirectory() as folder, clock.running():
        train_policy(
            policy=loaded.model, encoder=loaded.encoder, prompts=prompts, reward=clock.timed("reward", reward), seed=0,
            resume=False, config=make_config(train, steps=steps), out_dir=Path(folder),
            listener=Listener(on_metrics=mark),
        )  # fmt: skip
    return [{"seconds": b - a, **of} for (a, b), of in zip(itertools.pairwise(marks), taken, strict=True)][1:]


def show_contrast(episode: Episode, template: JudgeTemplate) -> Sequence[SegmentedMessage]:
    """The episode's question: its response under the principle, then under its opposite."""
    shown = Shown(text=episode.response, is_whole=episode.is_whole)
    return contrast.render(template, conversation=episode.prompt.messages, responses=[shown], principle=PRINCIPLE)


class Rows(NamedTuple):
    """How many rows a step's products have."""

    prompts: int
    """Tokens of the different prompts."""
    drawn: int
    """Tokens of all responses."""
    live: list[int]
    """Responses that still get a token, for each forward pass of one token."""
    read: int
    """Tokens of the different prompts that the judge reads before responses, under the principle and its opposite."""


def count_rows(step: dict[str, Any]) -> Rows:
    lengths: list[int] = step["responses"]
    live = [sum(length > at for length in lengths) for at in range(1, max(lengths))]
    return Rows(sum(step["prompts"][::SAMPLES]), sum(lengths), live, step["read"])


class Matrices:
    """A model's weight matrices, and products with them that are thrown away."""

    def __init__(self, model: transformers.PreTrainedModel, trained: set[str]) -> None:
        """trained: names of the parameters that are trained."""
        names = {parameter: name for name, parameter in model.named_parameters()}
        layers = find_layers(model)
        assert layers is not None
        self.layers = [
            [(m.weight, names[m.weight] in trained) for m in layer.modules() if isinstance(m, nn.Linear)]
            for layer in layers
        ]
        self.head: Tensor = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
        most = HEAD_ROWS * self.head.shape[0]
        self._room, self._out = torch.randn(most), torch.empty(most)

    def multiply(self, weight: Tensor, rows: int, *, backward: bool = False, of_weight: bool = False) -> None:
        """A product with the weight: of inputs, or backward of outputs; or the gradient of the weight itself."""
        outer, inner = weight.shape
        inputs, outputs = (self._room[: rows * n].view(rows, n) for n in (inner, outer))
        if of_weight:
            torch.mm(outputs.T, inputs, out=self._out[: outer * inner].view(outer, inner))
        elif backward:
            torch.mm(outputs, weight, out=self._out[: rows * inner].view(rows, inner))
        else:
            torch.mm(inputs, weight.T, out=self._out[: rows * outer].view(rows, outer))

    def forward(self, rows: int, *, above: int = 0) -> None:
        for weights in self.layers[above:]:
            for weight, _ in weights:
                self.multiply(weight, rows)

    def backward(self, rows: int, *, above: int = 0) -> None:
        for weights in self.layers[above:]:
            for weight, is_trained in weights:
                self.multiply(weight, rows, backward=True)
                if is_trained:
                    self.multiply(weight, rows, of_weight=True)

    def through_head(self, rows: int, *, backward: bool = False) -> None:
        for at in range(0, rows, HEAD_ROWS):
            self.multiply(self.head, min(HEAD_ROWS, rows - at), backward=backward)


def find_floors(policy: transformers.PreTrainedModel, train: str, rows: Rows) -> dict[str, float]:
    """Seconds of each phase's products; the best of three."""
    matrices = Matrices(policy, find_trained(policy, make_config(train, steps=1).model))
    tokens = rows.prompts + rows.drawn
    above = len(matrices.layers) - LAST_LAYERS if train == "last_layers" else 0

    def decode() -> None:
        matrices.forward(rows.prompts)
        matrices.through_head(len(QUESTIONS))
        for live in rows.live:
            matrices.forward(live)
            matrices.through_head(live)

    def score() -> None:
        matrices.forward(tokens)
        matrices.through_head(rows.drawn)

    def judge() -> None:
        matrices.forward(rows.read + 2 * rows.drawn)
        matrices.through_head(2 * rows.drawn)

    def update() -> None:
        for _ in range(EPOCHS):
            matrices.forward(tokens, above=above)
            matrices.through_head(rows.drawn)
            matrices.through_head(rows.drawn, backward=True)
            matrices.backward(tokens, above=above)

    works = {"decode": decode, "reward": judge, "reference": score, "update": update}
    return {phase: best_of(work) for phase, work in works.items()}


@torch.no_grad()
def best_of(work: Callable[[], None], *, times: int = 3) -> float:
    found = []
    for _ in range(times):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def compare(model: str, train: str, *, steps: int) -> dict[str, Any]:
    """Phase -> measured seconds, the floor, and how many times the floor that is."""
    loaded = load_causal_lm(model, device="cpu")
    step = min(measure_steps(loaded, train, steps=steps), key=lambda step: float(step["seconds"]))
    rows = count_rows(step)
    phases = step["phases"]
    seconds = phases | {"update": phases["update"] + phases["optimizer"]}
    floors = find_floors(loaded.model, train, rows)
    found: dict[str, Any] = {
        phase: {"seconds": round(seconds[phase], 2), "floor_s": round(floor, 2),
                "times_the_floor": round(seconds[phase] / floor, 2)}
        for phase, floor in floors.items()
    }  # fmt: skip
    whole, floor = float(step["seconds"]), sum(floors.values())
    for phase, row in found.items():
        print(f"{train}, {phase:9s} {row['seconds']:6.2f} s, floor {row['floor_s']:5.2f}, {row['times_the_floor']:.2f}")
    print(f"{train}, a step    {whole:6.2f} s, floor {floor:5.2f}, {whole / floor:.2f}")
    return {
        "phases": found, "seconds": round(whole, 2), "floor_s": round(floor, 2),
        "times_the_floor": round(whole / floor, 2), "prompt_tokens": rows.prompts, "response_tokens": rows.drawn,
        "met": all(found[phase]["times_the_floor"] <= target for phase, target in TARGETS.items()),
    }  # fmt: skip


def describe_machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return {
        "cpu": ", ".join(sorted(names)) or platform.processor(), "cores": os.cpu_count(), "threads": 1,
        "computes": torch.backends.cpu.get_cpu_capability(), "system": platform.platform(),
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub id of a chat model")
    parser.add_argument("--train", nargs="*", choices=("lora", "last_layers"), default=["lora", "last_layers"])
    parser.add_argument("--steps", type=int, default=4, help="the first one is not measured")
    parser.add_argument("--suffix", default="", help="added to the names under which results are stored")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = [round(of_minutes, 1) for of_minutes in os.getloadavg()]
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {"runs": {}}
    for train in options.train:
        result["runs"][train + options.suffix] = compare(options.model, train, steps=options.steps)
        result |= {
            "command": "python benchmarks/ppo_real.py MODEL", "model": Path(options.model).name, "targets": TARGETS,
            "load_before": load, **describe_machine(),
        }  # fmt: skip
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(result["runs"][train + options.suffix]["met"] for train in options.train) else 1


if __name__ == "__main__":
    sys.exit(main())
