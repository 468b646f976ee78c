"""IRFT on a world whose responses can be enumerated, and on a tiny chat model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build_family

from rlaif.config.generate import SamplingConfig
from rlaif.config.rft import IrftConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.methods.irft import (
    Demo,
    IrftTraining,
    check_irft,
    count_irft_steps,
    cut_sections,
    train_irft_task,
)
from rlaif.policy.methods.outer import Progress
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.task import Task
from rlaif.records import Demonstration, Message, Prompt
from rlaif.training.listener import NOBODY, Listener


class Imitated:
    """A world of nine responses, demonstrations drawn from another policy, and IRFT of the start on them."""

    def __init__(self, world: Any, teacher: Any, *, number: int = 400) -> None:
        self.world = world
        self.logprobs = world.logprobs(teacher.start)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.multinomial(self.logprobs.exp(), number, replacement=True, generator=generator).tolist()
        self.demos = [Demo(TokenSequence([0], list(world.responses[at])), world.prompt) for at in drawn]

    def distance(self) -> float:
        """KL(teacher || policy)."""
        found = self.world.logprobs(self.world.start)
        return float((self.logprobs.exp() * (self.logprobs - found)).sum())

    def train(self, config: IrftConfig, *, num_left_out: int) -> Progress:
        learnt, left_out = self.demos[num_left_out:], self.demos[:num_left_out]
        training = IrftTraining(
            self.world.start, self.world, config, left_out=left_out, response_length=self.world.depth, seed=1
        )
        progress = Progress(digest="")
        for _ in range(config.num_epochs):
            for section in cut_sections(range(len(learnt)), config.num_sections):
                progress = training.take_outer_step([learnt[at] for at in section], progress, listener=NOBODY)
        return progress


@pytest.fixture
def imitated(make_world: Callable[..., Any]) -> Imitated:
    return Imitated(make_world(seed=0, vocab_size=3, depth=2), make_world(seed=5, vocab_size=3, depth=2))


STEPS: dict[str, Any] = {"batch_size": 50, "learning_rate": 0.05, "warmup_fraction": 0.0}


def test_outer_steps_bring_the_policy_to_the_demonstrations(imitated: Imitated) -> None:
    start = imitated.distance()
    config = IrftConfig(beta=1.0, num_epochs=6, num_sections=4, inner_epochs=8, validation_fraction=0, **STEPS)
    progress = imitated.train(config, num_left_out=0)
    assert start > 0.4
    assert imitated.distance() < 0.25 * start
    assert (progress.outer, progress.step) == (24, 24 * 16)


def test_early_stops_keep_a_small_beta_from_going_beyond_the_demonstrations(imitated: Imitated) -> None:
    start_weights = imitated.world.start.table.detach().clone()
    options = {"beta": 0.1, "num_epochs": 1, "num_sections": 2, "inner_epochs": 60, **STEPS}
    progress = imitated.train(IrftConfig(check_every=4, **options), num_left_out=100)
    stopped = imitated.distance()
    assert progress.numbers["num_stopped"] == 2
    assert progress.numbers["last_left_out_nll"] < progress.numbers["first_left_out_nll"]
    imitated.world.start.table.data.copy_(start_weights)
    start = imitated.distance()
    imitated.train(IrftConfig(validation_fraction=0, **options), num_left_out=0)
    assert stopped < 0.5 * start
    assert imitated.distance() > 2 * stopped


def test_sections_are_of_like_size_and_hold_everything_once() -> None:
    assert cut_sections(range(7), 3) == [range(2), range(2, 4), range(4, 7)]
    assert cut_sections(range(2), 5) == [range(1), range(1, 2)]
    assert cut_sections(range(4), 1) == [range(4)]


PLACES = ("tower", "garden", "museum", "library", "market", "harbour")
DEMONSTRATIONS = [
    (prompt, Demonstration(prompt_id=prompt.id, response="This way."))
    for prompt in (Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),)) for place in PLACES)
]
CONFIG = IrftConfig(num_epochs=1, num_sections=3, inner_epochs=2, batch_size=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.set_num_threads(1)
    return load_causal_lm(str(build_family("llama3", tmp_path_factory.mktemp("base") / "llama3")), device="cpu")


@pytest.fixture
def task(base: LoadedModel, tmp_path: Path) -> Task:
    config = RunConfig(irft=CONFIG, sampling=SamplingConfig(max_new_tokens=5))
    return Task(start=base, initial=base, config=config, folder=tmp_path, seed=2, demonstrations=DEMONSTRATIONS)


class Killed(Exception):
    pass


def test_killed_between_outer_steps_it_resumes_to_the_same_weights(task: Task, tmp_path: Path) -> None:
    whole = train_irft_task(replace(task, folder=tmp_path / "whole"))

    def die(done: Any) -> None:
        if done.step == 4:
            raise Killed

    with pytest.raises(Killed):
        train_irft_task(replace(task, listener=Listener(on_metrics=die)))
    begun: list[int] = []
    resumed = train_irft_task(replace(task, listener=Listener(on_begin=begun.append)))
    assert begun == [3], "an outer step of two inner ones was finished, the next one is done again"
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True))
    assert (resumed.steps, resumed.metrics) == (whole.steps, whole.metrics)


def test_a_checkpoint_of_another_training_is_refused(task: Task) -> None:
    train_irft_task(task)
    with pytest.raises(ConfigError, match="begun with other options, data or models"):
        train_irft_task(replace(task, seed=3))


def test_a_step_reports_what_the_policy_tells_apart(task: Task) -> None:
    rows: list[Any] = []
    trained = train_irft_task(replace(task, listener=Listener(on_metrics=rows.append)))
    assert [row.step for row in rows] == list(range(1, 1 + count_irft_steps(task))) == list(range(1, 1 + trained.steps))
    assert rows[0].numbers["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert rows[1].numbers["margin"] > 0
    assert {row.numbers["outer_step"] for row in rows} == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("train", ["last_layers", "lora"])
def test_a_part_of_the_weights_can_be_trained(task: Task, train: Any) -> None:
    config = task.config.model_copy(update={"irft": CONFIG.model_copy(update={"train": train, "num_layers": 1})})
    trained = train_irft_task(replace(task, config=config))
    moved = [
        name
        for (name, new), (_, old) in zip(
            trained.model.named_parameters(), task.start.model.named_parameters(), strict=True
        )
        if not torch.equal(new, old)
    ]
    assert moved
    assert not any("embed" in name for name in moved)


def test_it_is_refused_without_demonstrations_and_in_several_processes() -> None:
    with pytest.raises(ConfigError, match="irft learns from demonstrations and there are none"):
        check_irft(RunConfig(), 1)
    with pytest.raises(ConfigError, match="irft trains in one process"):
        check_irft(RunConfig(sft=SftConfig(demonstrations="d.jsonl")), 2)
