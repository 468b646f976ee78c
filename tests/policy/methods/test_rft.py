"""RFT of a tiny chat model: the reward model and the policy in turn, and a resumed training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build_family
from safetensors.torch import load_file

from rlaif.config.ppo import PpoConfig
from rlaif.config.rft import RftConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, StageError
from rlaif.models.weights.loading import LoadedModel, load_causal_lm, load_reward_model
from rlaif.policy.methods.rft import RftTraining, check_rft, train_rft_task
from rlaif.policy.methods.rft_reward import FOLDER
from rlaif.policy.ppo.checkpoint import find_checkpoints
from rlaif.policy.task import Task
from rlaif.records import Demonstration, Message, Prompt
from rlaif.reward_model.data import encode_example
from rlaif.reward_model.model import compute_rewards
from rlaif.training.listener import Listener
from rlaif.training.metrics import MetricsLog

DEMONSTRATIONS = [
    (prompt, Demonstration(prompt_id=prompt.id, response=response))
    for prompt, response in (
        (Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),)), response)
        for place, response in (("tower", "This way."), ("garden", "This way."), ("museum", "Ask the guide " * 9))
    )
]
PPO = PpoConfig(
    algorithm="rloo", num_prompts_per_step=2, num_samples_per_prompt=4, response_length=12, num_reference_samples=2,
    learning_rate=2e-3, checkpoint_every=1, num_mini_batches=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.set_num_threads(1)
    return load_causal_lm(str(build_family("llama3", tmp_path_factory.mktemp("base") / "llama3")), device="cpu")


@pytest.fixture
def task(base: LoadedModel, tmp_path: Path) -> Task:
    config = RunConfig(rft=RftConfig(num_alternations=2, policy_steps=2, num_epochs=3, learning_rate=2e-3), ppo=PPO)
    return Task(start=base, initial=base, config=config, folder=tmp_path, seed=2, demonstrations=DEMONSTRATIONS)


def test_the_reward_begins_at_zero_and_rises_for_demonstrations_above_the_policys_responses(task: Task) -> None:
    training = RftTraining(task)
    assert training.tally.dropped == {"over_response_length": 1}
    rows = [training.take_reward_steps(task.initial.model, outer=outer) for outer in range(4)]
    assert rows[0]["reward/loss"] < 0, "the first of its steps begins at zero, and later ones have learnt"
    assert rows[3]["reward/margin"] > rows[0]["reward/margin"] > 0
    assert rows[3]["reward/margin"] <= task.config.rft.reward_range


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 5])
def test_killed_within_an_alternation_it_resumes_to_the_same_weights(task: Task, tmp_path: Path, at: int) -> None:
    """Rows 1 and 4 are the reward model's, 2 and 3 PPO's of the first alternation, 5 and 6 of the second."""
    rows: list[int] = []
    whole = train_rft_task(
        replace(task, folder=tmp_path / "whole", listener=Listener(on_metrics=lambda done: rows.append(done.step)))
    )
    assert rows == [1, 2, 3, 4, 5, 6]
    assert whole.steps == 6

    def die(done: Any) -> None:
        if done.step == at:
            raise Killed

    with pytest.raises(Killed):
        train_rft_task(replace(task, listener=Listener(on_metrics=die)))
    begun: list[int] = []
    again: list[int] = []
    metrics = MetricsLog(tmp_path / "metrics.jsonl")

    def note(done: Any) -> None:
        again.append(done.step)
        metrics.write("rft", step=done.step, numbers=done.numbers)

    resumed = train_rft_task(replace(task, listener=Listener(on_begin=begun.append, on_metrics=note)))
    assert [row.step for row in metrics.read("rft")] == again == list(range(begun[0], 7))
    assert begun[0] == {3: 3, 5: 4}[at]
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True))


def test_the_reward_model_stays_with_its_card_and_gives_the_rewards_that_the_policy_was_trained_on(task: Task) -> None:
    trained = train_rft_task(task)
    assert trained.reward_model == task.folder / FOLDER
    found = load_reward_model(str(trained.reward_model), dtype="float32", device="cpu")
    checkpoint = find_checkpoints(task.folder)[-1] / "reward_model.safetensors"
    head = next(tensor for name, tensor in load_file(checkpoint).items() if name.startswith("score"))
    assert torch.equal(found.model.score.weight, head)
    rewards = score_texts(found, [("Where is the tower?", "This way."), ("Where is the tower?", "Ask Ann.")])
    assert rewards[0] > rewards[1]
    card = (trained.reward_model / "README.md").read_text()
    assert f"| reward/margin | {trained.metrics['reward/margin']:.4g} |" in card
    assert "softly to 2 on either side" in card
    assert found.model.config.reward_std > 0
    before = {path.name: path.read_bytes() for path in trained.reward_model.iterdir()}
    again = train_rft_task(task)  # nothing is left to train
    assert again.reward_model is not None
    assert {path.name: path.read_bytes() for path in again.reward_model.iterdir()} == before


def score_texts(loaded: LoadedModel, rows: list[tuple[str, str]]) -> list[float]:
    sequences = [
        encode_example(Prompt(messages=(Message(role="user", content=asked),)), said, encoder=loaded.encoder)
        for asked, said in rows
    ]
    with torch.no_grad():
        return [float(one) for one in compute_rewards(loaded.model, sequences)]


def test_what_cannot_be_trained_is_refused_in_a_sentence(task: Task) -> None:
    with pytest.raises(ConfigError, match="rft learns from demonstrations and there are none"):
        check_rft(RunConfig(), 1)
    with pytest.raises(ConfigError, match="rft trains in one process"):
        check_rft(RunConfig(sft=SftConfig(demonstrations="d.jsonl")), 2)
    short = task.config.model_copy(update={"ppo": PPO.model_copy(update={"response_length": 2})})
    with pytest.raises(StageError, match="no demonstration is short enough for the policy to write"):
        train_rft_task(replace(task, config=short))
