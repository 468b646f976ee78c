"""The floor under a step of PPO: the multiply-adds it cannot do without, over the matrix rate of this machine.

Counts what each phase must multiply for the prompts and responses that a step really had, and measures the rate with
matrices of the model's own shapes, as many rows at a time as the phase has. benchmarks/ppo.py times the phases and
prints both. Of the optimizer it is the bytes that it must move, over the rate of a copy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from ppo_world import World
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from rlaif.policy.ppo import train, trajectories

PHASES = ("decode", "reference", "reward", "update", "optimizer")


class Clock:
    """Seconds of process time by phase, and the lengths of what a step drew, while trainer's functions are wrapped."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.prompts: list[int] = []
        self.responses: list[int] = []
        self.optimizer_steps = 0
        self._in_optimizer = 0.0

    def take(self) -> dict[str, Any]:
        """What there is of the step that has just ended; then all is zero again."""
        taken = {"phases": dict(self.seconds), "prompts": self.prompts, "responses": self.responses}
        # The optimizer steps lie within the update.
        taken["phases"]["update"] -= taken["phases"]["optimizer"]
        self.seconds = dict.fromkeys(PHASES, 0.0)
        return taken

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[phase] += time.process_time() - started

        return call

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The trainer's phases are timed within; nothing else of it changes."""
        decode = self.timed("decode", trajectories.decode)

        def remembering(model: Any, prompts: Sequence[Sequence[int]], **options: Any) -> Any:
            drawn = decode(model, prompts, **options)
            self.prompts, self.responses = [len(ids) for ids in prompts], [len(ids) for ids in drawn.token_ids]
            return drawn

        def begin(*_: Any) -> None:
            self._in_optimizer = time.process_time()

        def end(*_: Any) -> None:
            self.optimizer_steps += 1
            self.seconds["optimizer"] += time.process_time() - self._in_optimizer

        hooks = [register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)]
        with (
            patch.object(trajectories, "decode", remembering),
            patch.object(train, "prepare_batch", self.timed("reference", train.prepare_batch)),
            patch.object(train, "update", self.timed("update", train.update)),
        ):
            yield
        for hook in hooks:
            hook.remove()


class Work(NamedTuple):
    """A phase's multiply-adds, and how many rows its matrices have at a time."""

    multiply_adds: float
    rows: int


def count_work(
    world: World, prompts: Sequence[int], responses: Sequence[int], *, epochs: int, micro_batch_tokens: int
) -> dict[str, list[Work]]:
    """What every phase must multiply, its parts by their rows.

    Values cost nothing: they are read from passes that are made anyway.
    """
    layers = world.layers * 16 * world.hidden**2
    head = world.hidden * world.vocab
    totals = [a + b for a, b in zip(prompts, responses, strict=True)]

    def through_layers(lengths: Sequence[int]) -> float:
        """All tokens through all layers, each attending to those before it."""
        return sum(n * layers + world.layers * world.hidden * n * (n + 1) for n in lengths)

    drawn = sum(responses)
    trunk = through_layers([n - 1 for n in totals])
    of_prompts = through_layers(prompts)
    rows = min(micro_batch_tokens, sum(totals))
    return {
        "decode": [
            Work(of_prompts, sum(prompts)),
            Work(trunk - of_prompts + drawn * head, max(1, round(drawn / max(responses)))),
        ],
        "reference": [Work(trunk + drawn * head, rows)],
        "reward": [Work(through_layers(totals), rows)],
        "update": [Work(3 * epochs * (trunk + drawn * head), rows)],
    }


def measure_rate(world: World, *, rows: int, seconds: float = 0.3) -> float:
    """Multiply-adds per second of process time, through one layer's matrices and the head; the best of five."""
    h, wide = world.hidden, 4 * world.hidden
    shapes = [(h, h)] * 4 + [(h, wide)] * 2 + [(wide, h), (h, world.vocab)]
    weights = [torch.randn(out, inner) for inner, out in shapes]
    inputs = {inner: torch.randn(rows, inner) for inner in (h, wide)}
    work = rows * sum(inner * out for inner, out in shapes)
    best = 0.0
    for _ in range(5):
        done, started = 0, time.process_time()
        while time.process_time() - started < seconds / 5:
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            done += work
        best = max(best, done / (time.process_time() - started))
    return best


def measure_copy_rate(*, mib: int = 64) -> float:
    """Bytes per second that a copy reads and writes; the best of five."""
    source = torch.ones(mib << 18)
    into: Tensor = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        started = time.process_time()
        into.copy_(source)
        best = max(best, 2 * source.numel() * 4 / (time.process_time() - started))
    return best


def compare_with_floor(
    step: dict[str, Any], world: World, *, epochs: int, parameters: int, micro_batch_tokens: int
) -> dict[str, Any]:
    """Phase -> measured seconds, the floor, and how many times the floor that is."""
    with torch.no_grad():
        works = count_work(
            world, step["prompts"], step["responses"], epochs=epochs, micro_batch_tokens=micro_batch_tokens
        )
        rows = {part.rows for parts in works.values() for part in parts}
        rates = {n: measure_rate(world, rows=n) for n in sorted(rows)}
        floors = {phase: sum(part.multiply_adds / rates[part.rows] for part in parts) for phase, parts in works.items()}
        # Adam reads weight, gradient and both moments and writes all but the gradient.
        floors["optimizer"] = epochs * parameters * 4 * 7 / measure_copy_rate()
    found: dict[str, Any] = {
        phase: {
            "seconds": round(step["phases"][phase], 4),
            "floor_s": round(floors[phase], 4),
            "times_the_floor": round(step["phases"][phase] / floors[phase], 2),
        }
        for phase in PHASES
    }
    for phase, parts in works.items():
        found[phase]["multiply_adds"] = [
            {"g": round(part.multiply_adds / 1e9, 3), "rows": part.rows, "g_per_s": round(rates[part.rows] / 1e9, 1)}
            for part in parts
        ]
    total, floor = step["seconds"], sum(floors.values())
    return {
        "phases": found, "seconds": round(total, 4), "floor_s": round(floor, 4), "times_the_floor":
        round(total / floor, 2), "other_s": round(total - sum(step["phases"].values()), 4),
    }  # fmt: skip
