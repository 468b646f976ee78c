"""Each training method's step over its forward and backward passes alone.

    python benchmarks/method_steps.py [--steps 6] [--only NAME]

The front desk's policy, all weights, one thread, seconds of process time, all in one run. Passes: calls of a model, the
log-probabilities that are computed from its last states, and backward. The rest of a step is the optimizer, which is
given beside it, and what the trainer does around them. The first step of a training is left out, and the median of the
others counts. Of PPO, RLOO and GRPO a step is its preparation and its updates; of IRFT one of its inner loop; of RFT
one of its reward model. Sampling is in none of them. Writes benchmarks/results/method_steps.json; exits with 1 where a
method is above 1.1.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from freezing import reward, write_demonstrations
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import PreTrainedModel

from rlaif.config.load import load_config
from rlaif.config.run import RunConfig
from rlaif.models.open import load_model
from rlaif.policy.methods import METHODS, ift, rft
from rlaif.policy.ppo import passes, train
from rlaif.policy.rewards.episodes import WeightedReward
from rlaif.policy.task import Task
from rlaif.records import PreferenceRow
from rlaif.training.listener import Listener, StepMetrics

RESULTS = Path(__file__).parent / "results" / "method_steps.json"
TARGET = 1.1
BATCH = 16


class Meter:
    """Seconds of process time: of whole steps, and within them of the passes and of the optimizer."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self._sums = dict.fromkeys(("passes", "optimizer"), 0.0)
        self._depth = 0
        self._since = time.process_time()

    def begin(self) -> None:
        """A step begins here."""
        self._sums = dict.fromkeys(self._sums, 0.0)
        self._since = time.process_time()

    def end(self) -> None:
        """A step ends here, and the next one begins."""
        self.steps.append({"step": time.process_time() - self._since, **self._sums})
        self.begin()

    def within(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose outermost calls are timed."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._sums[what] += time.process_time() - started

        return call

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each call of which is a step."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.begin()
            try:
                return function(*args, **kwargs)
            finally:
                self.end()

        return call

    @contextmanager
    def running(self) -> Iterator[None]:
        began = [0.0]

        def begin(*_: Any) -> None:
            began[0] = time.process_time()

        def end(*_: Any) -> None:
            self._sums["optimizer"] += time.process_time() - began[0]

        hooks = [register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)]
        computed = self.within("passes", passes.compute_token_logprobs)
        with (
            patch.object(PreTrainedModel, "__call__", self.within("passes", nn.Module.__call__), create=True),
            patch.object(torch.autograd, "backward", self.within("passes", torch.autograd.backward)),
            patch.object(passes, "compute_token_logprobs", computed),
            patch.object(ift, "compute_token_logprobs", computed),
        ):
            yield
        for hook in hooks:
            hook.remove()


def options_of(method: str, *, steps: int) -> dict[str, Any]:
    """So that a training takes `steps` steps of 16 demonstrations or pairs, or of 16 prompts with 4 responses."""
    if method in ("ppo", "rloo", "grpo"):
        return {"ppo": {
            "algorithm": method, "num_steps": steps, "num_prompts_per_step": BATCH, "value_warmup_steps": 0,
            "guards": {"evaluate_every": None},
        }}  # fmt: skip
    of_batches = {"batch_size": BATCH, "num_epochs": 1}
    if method == "irft":
        return {"irft": {**of_batches, "num_sections": 1, "inner_epochs": 1, "validation_fraction": 0}}
    if method == "rft":
        return {"rft": {**of_batches, "num_alternations": 1, "policy_steps": 1}, "ppo": {"num_prompts_per_step": 2}}
    return {method: of_batches}


def measure(method: str, *, steps: int) -> dict[str, Any]:
    """The median step of one training."""
    own = options_of(method, steps=steps)
    defaults = load_config()
    given = {group: {**getattr(defaults, group).model_dump(), **options} for group, options in own.items()}
    for options in given.values():
        if options.get("algorithm", "ppo") != "ppo":
            options |= {"vf_coef": 0.0}
    config = RunConfig.model_validate(given)
    base = load_model(config.policy, part="policy")
    base.model.float()
    demonstrations = write_demonstrations(seed=1, num=BATCH * steps)
    texts = [demonstration.response for _, demonstration in demonstrations]
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder, meter.running():
        by_rewards = method in ("ppo", "rloo", "grpo")
        counted = _count_ppo(meter) if by_rewards else _count_rft(meter) if method == "rft" else None
        task = Task(
            start=base, initial=base, config=config, folder=Path(folder), seed=1, demonstrations=demonstrations,
            preferences=[
                PreferenceRow(prompt=prompt, chosen=one.response, rejected=other + " Or not.")
                for (prompt, one), other in zip(demonstrations, texts[1:] + texts[:1], strict=True)
            ],
            prompts=[prompt for prompt, _ in demonstrations],
            rewards=[WeightedReward("truth", lambda episodes: [reward(e.prompt, e.response) for e in episodes])],
            listener=Listener(on_metrics=_ignore if counted else lambda done: meter.end()),
        )  # fmt: skip
        with counted or patch.object(train, "update", train.update):
            METHODS[method].train(task)
    taken = meter.steps[1:]
    median = {name: statistics.median(one[name] for one in taken) for name in taken[0]}
    return {
        "step_s": round(median["step"], 4), "passes_s": round(median["passes"], 4),
        "optimizer_s": round(median["optimizer"], 4), "times_the_passes": round(
            statistics.median(one["step"] / one["passes"] for one in taken), 3
        ), "steps": len(taken),
    }  # fmt: skip


def _ignore(done: StepMetrics) -> None:
    pass


@contextmanager
def _count_ppo(meter: Meter) -> Iterator[None]:
    """A step begins with its preparation and ends with its update."""

    def prepare(*args: Any, **kwargs: Any) -> Any:
        meter.begin()
        return prepared(*args, **kwargs)

    def update(*args: Any, **kwargs: Any) -> Any:
        done = updated(*args, **kwargs)
        meter.end()
        return done

    prepared, updated = train.prepare_batch, train.update
    with patch.object(train, "prepare_batch", prepare), patch.object(train, "update", update):
        yield


@contextmanager
def _count_rft(meter: Meter) -> Iterator[None]:
    with patch.object(rft.RftTraining, "_step", meter.around(rft.RftTraining._step)):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for method in METHODS:
        if given.only in method:
            found[method] = measure(method, steps=given.steps)
            print(f"{method}: {found[method]}", flush=True)
    result = {
        "command": "python benchmarks/method_steps.py", "machine": platform.machine(),
        "target": TARGET, "methods": found,
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(one["times_the_passes"] <= TARGET for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
