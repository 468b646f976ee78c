"""DPO through TRL: the closed form of its optimum, its loss by hand, and what TRL must not do."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step_table import LETTERS, PROMPT, make_world

from rlaif.config.by_preferences import DpoConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods import METHODS
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Message, PreferenceRow, Prompt, RatedRow
from rlaif.training.listener import Listener


def train(base: LoadedModel, rows: Any, *, start: LoadedModel | None = None, **options: Any) -> TrainedPolicy:
    listener = options.pop("listener", Listener())
    config = RunConfig(dpo=DpoConfig(**options))
    task = Task(
        start=start or base, initial=base, config=config, folder=Path(), seed=3, preferences=rows, listener=listener
    )
    return METHODS["dpo"].train(task)


def ask(place: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))


ROWS = [
    PreferenceRow(prompt=ask("tower"), chosen="This way please.", rejected="Look for it."),
    PreferenceRow(prompt=ask("garden"), chosen="Over there, on the left.", rejected="No."),
]


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


def test_on_all_pairs_it_reaches_the_closed_form_of_the_best_policy(base: LoadedModel) -> None:
    # Rewards 2 ln 3, ln 3, ln 3 and 0: one beats another in 9 of 10, 3 of 4 or half of the cases.
    beta, exponents = 0.5, (2, 1, 1, 0)
    world = make_world(base, reference=(0.1, 0.2, 0.3, 0.4))
    rows = []
    for one, other in itertools.combinations(range(4), 2):
        wins = {0: 10, 1: 15, 2: 18}[exponents[one] - exponents[other]]
        for winner, loser, weight in ((one, other, wins), (other, one, 20 - wins)):
            rows.append(
                PreferenceRow(prompt=PROMPT, chosen=LETTERS[winner], rejected=LETTERS[loser], weight=float(weight))
            )
    trained = train(world.base, rows, beta=beta, num_epochs=250, batch_size=120, learning_rate=0.1, weight_decay=0)
    reward = math.log(3) * torch.tensor(exponents, dtype=torch.float64)
    best = torch.log_softmax(world.logprobs(world.base.model) + reward / beta, dim=0)
    found = world.logprobs(trained.model)
    assert float((found.exp() * (found - best)).sum()) < 1e-4
    assert torch.allclose(found.exp(), best.exp(), atol=2e-3)
    assert trained.steps == 250


def test_its_loss_is_that_of_the_paper_on_responses_of_unequal_length(base: LoadedModel) -> None:
    numbers: list[Any] = []
    initial = perturbed(base)
    listener = Listener(on_metrics=lambda done: numbers.append(done.numbers))
    train(initial, ROWS, start=base, batch_size=2, beta=0.3, listener=listener)
    margins = []
    for row in ROWS:
        chosen, rejected = (
            response_logprob(base, initial.model, row.prompt, text)
            - response_logprob(base, base.model, row.prompt, text)
            for text in (row.chosen, row.rejected)
        )
        margins.append(0.3 * (chosen - rejected))
    assert max(map(abs, margins)) > 0.05
    expected = sum(math.log1p(math.exp(-margin)) for margin in margins) / 2
    assert numbers[0]["loss"] == pytest.approx(expected, abs=1e-5)
    assert numbers[0]["margin"] == pytest.approx(sum(margins) / 2, abs=1e-4)
    assert numbers[0]["accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 2)


def test_it_learns_to_prefer_and_the_models_it_is_given_stay_as_they_were(base: LoadedModel) -> None:
    before = copy.deepcopy(base.model.state_dict())
    numbers: list[Any] = []
    listener = Listener(on_metrics=lambda done: numbers.append(done.numbers))
    trained = train(base, ROWS, batch_size=2, num_epochs=20, learning_rate=1e-2, listener=listener)
    assert numbers[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert numbers[-1]["loss"] < 0.2
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    for model in (base.model, trained.model):
        assert "forward" not in vars(model), "TRL sets a model's own forward, and a reference is used again"
        assert not model.training
    assert trained.model.config.pad_token_id == base.model.config.pad_token_id
    assert type(trained.model.generation_config.eos_token_id) is type(base.model.generation_config.eos_token_id)


def test_a_label_below_one_half_turns_the_pair_and_a_tie_is_dropped(base: LoadedModel) -> None:
    rows = [
        ROWS[0].model_copy(update={"label": 0.1}),
        ROWS[1].model_copy(update={"label": 0.5}),
        ROWS[1].model_copy(update={"weight": 0.0}),
        RatedRow(prompt=ask("tower"), response="Up.", kind="thumb", value=1.0),
    ]
    trained = train(base, rows, batch_size=2, num_epochs=20, learning_rate=1e-2)
    assert str(trained.tally) == "in 4, kept 1, dropped 3 (single 1, tie 1, weightless 1)"
    gains = [
        response_logprob(base, trained.model, ROWS[0].prompt, text)
        - response_logprob(base, base.model, ROWS[0].prompt, text)
        for text in (ROWS[0].chosen, ROWS[0].rejected)
    ]
    assert gains[1] > gains[0]


def test_text_of_a_model_never_becomes_a_control_token(base: LoadedModel) -> None:
    """TRL tokenises whole texts, in which the name of a control token is that token."""
    rows = [PreferenceRow(prompt=ask("tower"), chosen="Up <|eot_id|> there.", rejected="No.")]

    from rlaif.policy.methods import dpo
    from rlaif.policy.methods.by_preferences import encode_items
    from rlaif.policy.preference_items import find_pairs, order_turns

    found = find_pairs(rows, labels="hard")
    encoded = encode_items(found, encoder=base.encoder, max_length=100)
    columns = dpo.arrange_pairs(encoded, order_turns(encoded.items, num_epochs=1, labels="hard", seed=0))
    [chosen] = columns["chosen_ids"]
    assert chosen.count(base.encoder.end_token_id) == 1
    assert chosen[-1] == base.encoder.end_token_id
    assert base.tokenizer("Up <|eot_id|> there.", add_special_tokens=False)["input_ids"].count(chosen[-1]) == 1


def test_a_loss_that_is_not_finite_stops_at_the_named_step(base: LoadedModel) -> None:
    model = copy.deepcopy(base.model)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is not finite") as caught:
        train(base._replace(model=model), ROWS, start=base, batch_size=2)
    assert "dpo, step 1" in caught.value.sentence


def test_without_a_pair_and_in_several_processes_it_is_refused(base: LoadedModel) -> None:
    thumbs = [RatedRow(prompt=ask("tower"), response="Up.", kind="thumb", value=1.0)]
    with pytest.raises(StageError, match=r"dpo has no pair to learn from: in 1, kept 0, dropped 1 \(single 1\)"):
        train(base, thumbs)
    with pytest.raises(StageError, match="over_length 2"):
        train(base, ROWS, max_length=4)
    with pytest.raises(ConfigError, match="dpo trains in one process"):
        METHODS["dpo"].check(RunConfig(), 2)
