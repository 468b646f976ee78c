"""ReFT of tiny chat models: what it asks, what it is refused for, a resumed training, and what it learns."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from answer_finders import build_digit_model, last_word, reverses, three_digits

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.config.verifier import ReftConfig, VerifierConfig
from rlaif.errors import ConfigError, FunctionError, StageError, TrainingError
from rlaif.evaluation.verifier import Verifier
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.reft import check_reft, find_questions, train_reft_task
from rlaif.policy.methods.sft import train_sft
from rlaif.policy.ppo.trajectories import encode_prompts, sample_trajectories
from rlaif.policy.task import Task
from rlaif.records import Demonstration, Message, Prompt
from rlaif.training.listener import Listener


def ask(question: str, response: str, reference: str | None = None) -> tuple[Prompt, Demonstration]:
    prompt = Prompt(messages=(Message(role="user", content=question),), reference=reference)
    return prompt, Demonstration(prompt_id=prompt.id, response=response)


DEMONSTRATIONS = [ask(f"Where is the {place}?", "This way.") for place in ("tower", "garden", "museum")]
CONFIG = RunConfig(
    sft=SftConfig(batch_size=2, learning_rate=1e-3),
    reft=ReftConfig(warmup_epochs=1),
    verifier=VerifierConfig(answer="answer_finders:last_word"),
    ppo=PpoConfig(
        algorithm="rloo", num_steps=3, num_prompts_per_step=2, num_samples_per_prompt=4, response_length=12,
        learning_rate=2e-3, checkpoint_every=1,
    ),
)  # fmt: skip


@pytest.fixture
def task(base: LoadedModel, tmp_path: Path) -> Task:
    return Task(start=base, initial=base, config=CONFIG, folder=tmp_path, seed=2, demonstrations=DEMONSTRATIONS)


def with_verifier(task: Task, **options: Any) -> Task:
    return replace(task, config=task.config.model_copy(update={"verifier": VerifierConfig(**options)}))


def test_a_known_answer_is_the_prompts_own_or_the_one_that_its_demonstration_gives(base: LoadedModel) -> None:
    given = [
        ask("Two and two?", "It is 4", "4"),
        ask("Two and three?", "It is 5"),
        ask("Two and five?", "It is 8", "7"),
        ask("Two and six?", "...", "8"),
        ask("Two and seven?", "..."),
        ask("Two and two?", "Surely 4", "4"),
    ]
    found = find_questions(given, Verifier(last_word), base=base, ppo_length=4)
    assert [prompt.reference for prompt in found.prompts] == ["4", "5", "7", "8"]
    assert found.found == {"right": 3, "wrong": 1, "no_answer": 1, "no_known_answer": 1}
    assert found.describe() == (
        "by the verifier the demonstrations are 3 right, 1 wrong, 1 no answer, 1 no known answer; PPO asks 4 prompts"
    )


def test_a_function_that_verifies_needs_no_known_answer(base: LoadedModel) -> None:
    found = find_questions([ask("314", "413")], Verifier(three_digits, reverses), base=base, ppo_length=4)
    assert (found.found, found.prompts[0].reference) == ({"right": 1}, None)


def test_prompts_without_room_for_a_response_are_not_asked(base: LoadedModel) -> None:
    context = base.model.config.max_position_embeddings
    given = [*DEMONSTRATIONS, ask("word " * (context - 20), "This way.")]
    found = find_questions(given, Verifier(last_word), base=base, ppo_length=16)
    assert (len(found.prompts), found.num_long) == (3, 1)
    with pytest.raises(StageError, match="none of 4 prompts leaves room for a response"):
        find_questions(given, Verifier(last_word), base=base, ppo_length=context)


def test_the_warm_up_is_sft_of_the_same_demonstrations(task: Task, base: LoadedModel, tmp_path: Path) -> None:
    still = task.config.model_copy(update={"ppo": task.config.ppo.model_copy(update={"learning_rate": 0.0})})
    trained = train_reft_task(replace(task, config=still))
    alone = train_sft(base=base, demonstrations=DEMONSTRATIONS, config=CONFIG.sft, seed=task.seed)
    assert all(torch.equal(a, b) for a, b in zip(trained.model.parameters(), alone.model.parameters(), strict=True))
    assert trained.metrics["warmup/last_loss"] == alone.metrics["last_loss"]


def test_without_a_warm_up_ppo_begins_with_the_policy_as_it_is(task: Task) -> None:
    config = task.config.model_copy(update={"reft": ReftConfig(warmup_epochs=0)})
    steps: list[int] = []
    begun: list[int] = []
    listener = Listener(on_begin=begun.append, on_metrics=lambda done: steps.append(done.step))
    trained = train_reft_task(replace(task, config=config, listener=listener))
    assert (begun, steps, trained.steps) == ([1], [1, 2, 3], 3)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("at", "goes_on_at"), [(1, 1), (3, 3), (4, 4)])
def test_killed_in_the_warm_up_or_in_ppo_it_resumes_to_the_same_weights(
    task: Task, tmp_path: Path, at: int, goes_on_at: int
) -> None:
    """Rows 1 and 2 are the warm-up's, 3 to 5 PPO's."""
    rows: list[int] = []
    whole = train_reft_task(
        replace(task, folder=tmp_path / "whole", listener=Listener(on_metrics=lambda done: rows.append(done.step)))
    )
    assert (rows, whole.steps) == ([1, 2, 3, 4, 5], 5)

    def die(done: Any) -> None:
        if done.step == at:
            raise Killed

    with pytest.raises(Killed):
        train_reft_task(replace(task, listener=Listener(on_metrics=die)))
    begun: list[int] = []
    again: list[int] = []
    listener = Listener(on_begin=begun.append, on_metrics=lambda done: again.append(done.step))
    resumed = train_reft_task(replace(task, listener=listener))
    assert (begun, again) == ([goes_on_at], list(range(goes_on_at, 6)))
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True))
    changed = with_verifier(task, answer="answer_finders:last_word", tolerance=1.0)
    with pytest.raises(ConfigError, match="begun with other options"):
        train_reft_task(changed)


def test_what_cannot_be_trained_is_refused_in_a_sentence(task: Task) -> None:
    with pytest.raises(ConfigError, match="reft learns from demonstrations and there are none"):
        check_reft(RunConfig(), 1)
    named = RunConfig(sft=SftConfig(demonstrations="d.jsonl"))
    with pytest.raises(ConfigError, match="reft learns from answers that can be verified, and there is no verifier"):
        check_reft(named, 1)
    missing = named.model_copy(update={"verifier": VerifierConfig(answer="answer_finders:first_word")})
    with pytest.raises(ConfigError, match='"answer_finders" has no function "first_word"'):
        check_reft(missing, 1)
    with pytest.raises(FunctionError, match='the answer finder "answer_finders:broken" raised IndexError'):
        train_reft_task(with_verifier(task, answer="answer_finders:broken"))
    with pytest.raises(StageError, match=r"the verifier finds none of 3 demonstrations right \(3 no answer\)"):
        train_reft_task(with_verifier(task, answer="answer_finders:three_digits", correct="answer_finders:reverses"))


def test_a_verifier_that_raises_on_the_policys_responses_stops_ppo_with_a_sentence(task: Task) -> None:
    given = [ask("Where?", "answer: there")]
    with pytest.raises(TrainingError, match=r"rewards failed \(verifier/raised_IndexError"):
        train_reft_task(replace(with_verifier(task, answer="answer_finders:broken"), demonstrations=given))


# ---- what it learns


def reverse_badly(number: int, generator: random.Random) -> tuple[Prompt, Demonstration]:
    """Three digits, and them reversed with two in five replaced by any digit."""
    question = f"{number:03}"
    written = [str(generator.randrange(10)) if generator.random() < 0.4 else digit for digit in question[::-1]]
    return ask(question, "".join(written))


def measure_right(model: Any, base: LoadedModel, questions: Sequence[Prompt]) -> float:
    encoded = encode_prompts(questions, base.encoder, response_length=4, context_tokens=32)
    drawn = sample_trajectories(
        model, base.encoder, encoded, num_samples=4, response_length=4, temperature=1.0, key=(1, 2)
    )
    return sum(reverses(one.prompt.as_chat(), one.response, None) for one in drawn) / len(drawn)


@pytest.mark.heavy(minutes=1)
@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_on_held_out_prompts_is_three_tenths_above_that_of_the_warm_up(tmp_path: Path, seed: int) -> None:
    """Demonstrations with wrong digits: whoever imitates them is right in (1 - .9 * .4)^3 = 26 % of the cases."""
    torch.set_num_threads(1)
    base = build_digit_model(tmp_path / "base", seed=seed)
    generator = random.Random(seed)
    numbers = generator.sample(range(1000), 700)
    held_out = [ask(f"{number:03}", "")[0] for number in range(1000) if number not in numbers][:100]
    config = RunConfig(
        sft=SftConfig(batch_size=64, learning_rate=3e-3),
        reft=ReftConfig(warmup_epochs=30),
        verifier=VerifierConfig(answer="answer_finders:three_digits", correct="answer_finders:reverses"),
        ppo=PpoConfig(
            algorithm="rloo", num_steps=40, num_prompts_per_step=64, num_samples_per_prompt=4, response_length=4,
            learning_rate=2e-3, kl_coef=0.01, checkpoint_every=100, missing_eos_penalty=0.0,
            guards=GuardsConfig(kl_ceiling=None, evaluate_every=None),
        ),
    )  # fmt: skip
    demonstrations = [reverse_badly(number, generator) for number in numbers]
    task = Task(
        start=base, initial=base, config=config, folder=tmp_path, seed=seed, demonstrations=demonstrations
    )  # fmt: skip
    warm = train_sft(
        base=base, demonstrations=demonstrations, config=config.sft.model_copy(update={"num_epochs": 30}), seed=seed
    )
    before = measure_right(warm.model, base, held_out)
    after = measure_right(train_reft_task(task).model, base, held_out)
    print(f"seed {seed}: {before:.3f} -> {after:.3f}")
    assert before < 0.4
    assert after > before + 0.3
