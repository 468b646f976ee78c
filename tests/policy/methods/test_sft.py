from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlaif.config.sft import SftConfig
from rlaif.errors import DataError, StageError, TrainingError
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.models.weights.saving import save_model
from rlaif.policy.methods.sft import IGNORED, encode_demonstrations, train_sft
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Demonstration, Message, Prompt
from rlaif.training.listener import Listener

PLACES = ("museum", "library", "garden", "tower", "market", "harbour")
CONFIG = SftConfig(num_epochs=25, batch_size=6, learning_rate=2e-2)


def demonstrate(place: str, response: str) -> tuple[Prompt, Demonstration]:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    return prompt, Demonstration(prompt_id=prompt.id, response=response)


DEMONSTRATIONS = [demonstrate(place, "This way please.") for place in PLACES]


class Training:
    def __init__(self, base: LoadedModel) -> None:
        self._options: dict[str, Any] = {
            "base": base, "demonstrations": DEMONSTRATIONS, "config": CONFIG, "seed": 3,
        }  # fmt: skip

    def __call__(self, out_dir: Path, **changes: Any) -> TrainedPolicy:
        options = {**self._options, **changes}
        trained = train_sft(**options)
        save_model(trained.model, options["base"].tokenizer, out_dir)
        return trained


@pytest.fixture
def train(base: LoadedModel) -> Training:
    return Training(base)


def test_the_response_and_the_token_that_ends_it_are_learnt_and_the_prompt_is_not(base: LoadedModel) -> None:
    examples = encode_demonstrations(DEMONSTRATIONS[:1], encoder=base.encoder, max_length=100)
    [token_ids], [labels] = examples.token_ids, examples.labels
    prompt_ids = base.encoder.encode(DEMONSTRATIONS[0][0].as_segments())
    assert token_ids[: len(prompt_ids)] == prompt_ids
    assert labels == [IGNORED] * len(prompt_ids) + token_ids[len(prompt_ids) :]
    assert labels[-1] == base.encoder.end_token_id
    assert base.encoder.decode(token_ids[len(prompt_ids) :]) == "This way please."


def test_demonstrations_that_do_not_fit_or_say_nothing_are_dropped_by_name(base: LoadedModel) -> None:
    demonstrations = [*DEMONSTRATIONS[:1], demonstrate("tower", "on " * 100), demonstrate("market", " \n")]
    examples = encode_demonstrations(demonstrations, encoder=base.encoder, max_length=60)
    assert str(examples.tally) == "in 3, kept 1, dropped 2 (empty 1, over_length 1)"
    assert examples.token_ids[0][-1] == base.encoder.end_token_id


def test_a_demonstration_is_learnt_as_the_template_shows_it(base: LoadedModel) -> None:
    """Llama-3's template strips white space; one that drops reasoning would drop what is to be learnt."""
    plain, padded = (
        encode_demonstrations([demonstrate("tower", text)], encoder=base.encoder, max_length=60)
        for text in ("This way.", " \nThis way. \n")
    )
    assert padded.token_ids == plain.token_ids
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content'] | trim", "message['content'].split('</think>')[-1]"
    )
    forgetful = PromptEncoder(tokenizer)
    with pytest.raises(DataError, match="leaves out part of a demonstration"):
        encode_demonstrations([demonstrate("tower", "Well.</think>Up.")], encoder=forgetful, max_length=60)


def test_it_learns_the_response_and_to_end_it(train: Training, base: LoadedModel, tmp_path: Path) -> None:
    before = copy.deepcopy(base.model.state_dict())
    rows: list[tuple[int, Mapping[str, float]]] = []
    trained = train(tmp_path / "sft", listener=Listener(on_metrics=lambda done: rows.append((done.step, done.numbers))))
    assert [step for step, _ in rows] == list(range(1, 26))
    assert set(rows[0][1]) == {"loss", "grad_norm", "learning_rate", "token_accuracy"}
    assert rows[-1][1]["loss"] < 0.5 * rows[0][1]["loss"]
    assert trained.metrics["first_loss"] == pytest.approx((rows[0][1]["loss"] + rows[1][1]["loss"]) / 2)
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())

    loaded = load_causal_lm(str(tmp_path / "sft"), device="cpu")
    prompt_ids = loaded.encoder.encode(demonstrate("museum", "")[0].as_segments())
    reply = loaded.model.generate(torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=30)[0].tolist()
    assert reply[len(prompt_ids) :] == loaded.encoder.encode_response("This way please.")


def test_nothing_but_the_finished_folder_is_left(train: Training, base: LoadedModel, tmp_path: Path) -> None:
    train(tmp_path / "sft")
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]
    assert {path.suffix for path in (tmp_path / "sft").iterdir()} == {".safetensors", ".json", ".jinja"}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "sft")
    assert model.config.pad_token_id == base.model.config.pad_token_id
    assert model.generation_config.eos_token_id == base.model.generation_config.eos_token_id


def test_the_seed_fixes_every_byte_and_leaves_other_draws_alone(train: Training, tmp_path: Path) -> None:
    demonstrations = [demonstrate(place, f"To the {place}.") for place in PLACES]
    options = {"demonstrations": demonstrations, "config": SftConfig(num_epochs=2, batch_size=2, learning_rate=5e-4)}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(tmp_path / "first", **options)
    assert torch.equal(torch.rand(3), expected)
    train(tmp_path / "second", **options)
    train(tmp_path / "other", **options, seed=4)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second", "other")]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.heavy
def test_micro_batches_take_the_same_number_of_steps_and_learn_nearly_the_same(train: Training, tmp_path: Path) -> None:
    demonstrations = [demonstrate(place, "To the " + place * n) for n, place in enumerate(PLACES)]
    config = SftConfig(num_epochs=2, batch_size=6, learning_rate=5e-4)
    whole = train(tmp_path / "whole", demonstrations=demonstrations, config=config)
    cut = train(
        tmp_path / "cut",
        demonstrations=demonstrations,
        config=config.model_copy(update={"micro_batch_size": 2}),
    )
    assert whole.metrics["num_steps"] == cut.metrics["num_steps"] == 2
    assert cut.metrics["first_loss"] == pytest.approx(whole.metrics["first_loss"], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_at_the_named_step_and_leaves_nothing(
    train: Training, base: LoadedModel, tmp_path: Path
) -> None:
    model = copy.deepcopy(base.model)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is not finite") as caught:
        train(tmp_path / "sft", base=base._replace(model=model))
    assert "sft, step 1" in caught.value.sentence
    assert list(tmp_path.iterdir()) == []


def test_without_a_demonstration_that_fits_there_is_no_training(train: Training, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="over_length 6"):
        train(tmp_path / "sft", config=CONFIG.model_copy(update={"max_length": 5}))


def test_micro_batches_must_fill_the_batch() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        SftConfig(batch_size=16, micro_batch_size=3)
