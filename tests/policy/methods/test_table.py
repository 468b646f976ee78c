"""The table of training methods: what a row says of a method holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from rlaif.config.by_preferences import DpoConfig, KtoConfig
from rlaif.config.generate import SamplingConfig
from rlaif.config.ift import IftConfig
from rlaif.config.methods import NEEDS, MethodName, name_metrics
from rlaif.config.ppo import PpoConfig
from rlaif.config.rft import IrftConfig, RftConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.config.verifier import ReftConfig, VerifierConfig
from rlaif.errors import ConfigError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods import METHODS
from rlaif.policy.rewards.episodes import WeightedReward
from rlaif.policy.task import Task
from rlaif.records import Demonstration, Message, PreferenceRow, Prompt
from rlaif.training.listener import Listener

PROMPTS = [Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),)) for place in ("tower", "garden")]
CONFIG = RunConfig(
    dpo=DpoConfig(num_epochs=2, batch_size=2, learning_rate=1e-3),
    kto=KtoConfig(num_epochs=2, batch_size=2, learning_rate=1e-3),
    sft=SftConfig(num_epochs=2, batch_size=1, learning_rate=1e-3),
    ift=IftConfig(num_epochs=2, batch_size=1, learning_rate=1e-3),
    rft=RftConfig(num_alternations=2, policy_steps=2, learning_rate=1e-3),
    irft=IrftConfig(num_epochs=2, num_sections=2, inner_epochs=2, learning_rate=1e-3),
    reft=ReftConfig(warmup_epochs=2),
    verifier=VerifierConfig(answer="answer_finders:last_word"),
    ppo=PpoConfig(
        num_steps=2, num_prompts_per_step=2, num_samples_per_prompt=2, response_length=12, num_reference_samples=2,
        learning_rate=1e-3, value_warmup_steps=0,
    ),
    sampling=SamplingConfig(max_new_tokens=4),
)  # fmt: skip
GIVEN: dict[str, Any] = {
    "demonstrations": [(prompt, Demonstration(prompt_id=prompt.id, response="This way.")) for prompt in PROMPTS],
    "prompts": PROMPTS,
    "preferences": [PreferenceRow(prompt=prompt, chosen="This way.", rejected="No.") for prompt in PROMPTS],
    "rewards": [WeightedReward("length", lambda episodes: [float(len(episode.response)) for episode in episodes])],
}


def test_every_method_that_a_configuration_can_name_has_its_row() -> None:
    assert list(METHODS) == list(NEEDS) == list(get_args(MethodName))
    assert [method.name for method in METHODS.values()] == list(METHODS)


PLAIN = [method for method in METHODS.values() if method.name != "seft"]
"""seft needs a policy that ends its responses, which this one does not; test_seft.py trains it."""


@pytest.mark.parametrize("method", PLAIN, ids=lambda method: method.name)
def test_a_method_trains_from_a_task_and_reports_every_step(method: Any, base: LoadedModel, tmp_path: Path) -> None:
    begun: list[int] = []
    steps: list[int] = []
    listener = Listener(on_begin=begun.append, on_metrics=lambda done: steps.append(done.step))
    task = Task(start=base, initial=base, config=CONFIG, folder=tmp_path, seed=1, listener=listener, **GIVEN)
    config = CONFIG.model_copy(update={"ppo": CONFIG.ppo.model_copy(update={"algorithm": method.name})})
    task = replace(task, config=config if name_metrics(method.name) == "policy" else CONFIG)
    trained = method.train(task)
    assert begun == [method.first_step]
    assert steps == [method.first_step + step for step in range(method.count_steps(task))]
    assert (trained.steps, trained.stop_reason) == (len(steps), "done")
    sides = 2 if method.name == "kto" else 1
    assert trained.tally.kept == sides * len(PROMPTS)
    weights = base.model.state_dict()
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in trained.model.state_dict().items())
    again = method.train(replace(task, folder=tmp_path / "again"))
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), trained.model.parameters(), strict=True))


def test_demonstrations_must_be_named_and_are_learnt_in_one_process() -> None:
    check = METHODS["sft"].check
    with pytest.raises(ConfigError, match=r"there are no demonstrations \(sft\.demonstrations\)"):
        check(CONFIG, 1)
    named = CONFIG.model_copy(update={"sft": SftConfig(demonstrations="d.jsonl")})
    check(named, 1)
    with pytest.raises(ConfigError, match="demonstrations are learnt in one process"):
        check(named, 2)


def test_ppo_trains_in_any_number_of_processes() -> None:
    METHODS["ppo"].check(CONFIG, 8)
