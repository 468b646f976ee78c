"""KTO through TRL: which responses it raises, its loss by hand, and the mismatched responses that TRL gets wrong."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step_table import LETTERS, PROMPT, World, make_world

from rlaif.config.by_preferences import KtoConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods import METHODS
from rlaif.policy.methods.kto import mismatch
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Message, Prompt, RatedRow
from rlaif.training.listener import Listener


def train(base: LoadedModel, rows: Any, *, start: LoadedModel | None = None, **options: Any) -> TrainedPolicy:
    listener = options.pop("listener", Listener())
    config = RunConfig(kto=KtoConfig(**options))
    task = Task(
        start=start or base, initial=base, config=config, folder=Path(), seed=3, preferences=rows, listener=listener
    )
    return METHODS["kto"].train(task)


def thumb(place: str, response: str, *, up: float) -> RatedRow:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    return RatedRow(prompt=prompt, response=response, kind="thumb", value=up)


ROWS = [
    thumb("tower", "This way please.", up=1),
    thumb("garden", "No.", up=0),
    thumb("market", "Over there, on the left.", up=1),
]

UPS = (9, 8, 7, 6, 6, 4, 4, 3, 3, 2, 1, 0)
"""Of 10 thumbs of each letter, those that are up."""


@pytest.fixture(scope="module")
def world(base: LoadedModel) -> World:
    return make_world(base, reference=[(1 + place) / 78 for place in range(12)])


@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0)])
def test_all_mass_goes_to_responses_that_are_up_more_often_than_the_threshold(
    world: World, desirable: float, undesirable: float
) -> None:
    rows = [
        RatedRow(prompt=PROMPT, response=LETTERS[letter], kind="thumb", value=value, weight=float(count))
        for letter, ups in enumerate(UPS)
        for value, count in ((1.0, ups), (0.0, 10 - ups))
        if count
    ]
    trained = train(
        world.base, rows, num_epochs=150, batch_size=120, learning_rate=0.3,
        desirable_weight=desirable, undesirable_weight=undesirable,
    )  # fmt: skip
    above = [letter for letter, ups in enumerate(UPS) if ups / 10 > undesirable / (desirable + undesirable)]
    assert len(above) == {1.0: 5, 2.0: 3, 0.5: 7}[undesirable / desirable]
    before, after = (float(world.logprobs(model).exp()[above].sum()) for model in (world.base.model, trained.model))
    assert before < 0.4
    assert after > 0.98


def response_logprob(base: LoadedModel, model: Any, prompt: Prompt, text: str) -> float:
    """By a pass without padding, in double precision."""
    prompt_ids = base.encoder.encode(prompt.as_segments())
    response_ids = base.encoder.encode_response(text)
    logits = copy.deepcopy(model).double()(torch.tensor([[*prompt_ids, *response_ids]])).logits[0]
    logprobs = torch.log_softmax(logits, dim=-1)[len(prompt_ids) - 1 : -1]
    return float(logprobs[range(len(response_ids)), response_ids].detach().sum())


def perturbed(base: LoadedModel) -> LoadedModel:
    model = copy.deepcopy(base.model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return base._replace(model=model)


@pytest.mark.parametrize("turned", [False, True])
def test_its_loss_is_that_of_the_paper_with_the_mean_over_mismatched_responses(base: LoadedModel, turned: bool) -> None:
    """turned: policy and reference change places, so that the mean has the other sign and counts as 0 in one case."""
    initial, start = (base, perturbed(base)) if turned else (perturbed(base), base)
    numbers: list[Any] = []
    listener = Listener(on_metrics=lambda done: numbers.append(done.numbers))
    train(initial, ROWS, start=start, batch_size=3, beta=0.3, desirable_weight=1.5, listener=listener)

    def rho(prompt: Prompt, response: str) -> float:
        return response_logprob(base, initial.model, prompt, response) - response_logprob(
            base, start.model, prompt, response
        )

    # A batch of three is one turn of its rows or the other: each prompt stands beside one of the two other responses.
    means = [sum(rho(ROWS[at].prompt, ROWS[at - turn].response) for at in range(3)) / 3 for turn in (1, 2)]
    z0 = max(0.0, min(means, key=lambda mean: abs(max(0.0, mean) - numbers[0]["mismatched_kl"])))
    assert numbers[0]["mismatched_kl"] == pytest.approx(z0, abs=1e-4)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    losses = [
        1.5 * (1 - sigmoid(0.3 * (rho(row.prompt, row.response) - z0)))
        if row.value
        else 1 - sigmoid(0.3 * (z0 - rho(row.prompt, row.response)))
        for row in ROWS
    ]
    assert numbers[0]["loss"] == pytest.approx(sum(losses) / 3, abs=1e-5)


def test_a_prompt_stands_beside_a_response_to_another_prompt_where_the_batch_has_one() -> None:
    assert mismatch(["a", "b", "c"]) == [2, 0, 1], "as TRL turns them"
    assert mismatch(["a", "a", "b"]) == [2, 2, 1], "TRL would set the second one beside another answer to its prompt"
    assert mismatch(["a", "a"]) == [1, 0]


def test_no_batch_has_one_row_whose_mismatched_response_would_be_its_own(base: LoadedModel) -> None:
    numbers: list[Any] = []
    listener = Listener(on_metrics=lambda done: numbers.append(done.numbers))
    trained = train(perturbed(base), ROWS, start=base, batch_size=2, listener=listener)
    assert trained.steps == len(numbers) == 2
    assert str(trained.tally) == "in 3, kept 3, dropped 0"
    # of a row alone z0 would be its own rho, and its loss exactly one half
    assert abs(numbers[-1]["loss"] - 0.5) > 1e-3


def test_it_learns_and_the_models_it_is_given_stay_as_they_were(base: LoadedModel) -> None:
    before = copy.deepcopy(base.model.state_dict())
    numbers: list[Any] = []
    listener = Listener(on_metrics=lambda done: numbers.append(done.numbers))
    trained = train(base, ROWS, batch_size=3, num_epochs=20, learning_rate=1e-2, listener=listener)
    assert numbers[0]["loss"] == pytest.approx(0.5, abs=1e-6)
    assert numbers[-1]["loss"] < 0.3
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    assert "forward" not in vars(base.model)
    assert "forward" not in vars(trained.model)


def test_thumbs_of_one_kind_are_refused_in_a_sentence(base: LoadedModel) -> None:
    ups = [thumb("tower", "Up.", up=1), thumb("garden", "Left.", up=0.8)]
    with pytest.raises(StageError, match="all 2 thumbs are good, and KTO learns from the difference to bad ones") as up:
        train(base, ups)
    assert "demonstrations: name them by sft.demonstrations" in up.value.sentence
    with pytest.raises(StageError, match="all 1 thumbs are bad"):
        train(base, [thumb("tower", "Up.", up=0)])


def test_a_loss_that_is_not_finite_stops_at_the_named_step(base: LoadedModel) -> None:
    model = copy.deepcopy(base.model)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is not finite") as caught:
        train(base._replace(model=model), ROWS, start=base, batch_size=3)
    assert "kto, step 1" in caught.value.sentence


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="kto trains in one process"):
        METHODS["kto"].check(RunConfig(), 2)
