"""Intuitive fine-tuning of tiny models: what its passes compute, and that without both of its parts it is SFT."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build_family
from torch import Tensor

from rlaif.config.ift import IftConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.methods.descent import encode_sequences
from rlaif.policy.methods.ift import check_ift, compute_losses, count_ift_steps, train_ift_task
from rlaif.policy.methods.sft import train_sft
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Demonstration, Message, Prompt
from rlaif.training.listener import Listener

ANSWERS = {"tower": "This way please.", "garden": "The garden is closed.", "museum": "Go in."}


def demonstrate(place: str, response: str) -> tuple[Prompt, Demonstration]:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    return prompt, Demonstration(prompt_id=prompt.id, response=response)


DEMONSTRATIONS = [demonstrate(place, response) for place, response in ANSWERS.items()]
STEPS: dict[str, Any] = {"num_epochs": 4, "batch_size": 3, "learning_rate": 2e-3}


@pytest.fixture(scope="module", params=["llama3", "gemma"])
def base(request: Any, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Llama-3's embeddings are apart from its output layer; Gemma's are tied to it and scaled."""
    torch.set_num_threads(1)
    return load_causal_lm(str(build_family(request.param, tmp_path_factory.mktemp("base") / "it")), device="cpu")


def sequences_of(base: LoadedModel) -> list[TokenSequence]:
    return encode_sequences(DEMONSTRATIONS, base=base, max_length=100, options="ift")[0]


def train(base: LoadedModel, folder: Path, *, listener: Listener | None = None, **options: Any) -> TrainedPolicy:
    config = RunConfig(ift=IftConfig(**{**STEPS, **options}))
    task = Task(
        start=base, initial=base, config=config, folder=folder, seed=5, demonstrations=DEMONSTRATIONS,
        listener=listener or Listener(),
    )  # fmt: skip
    return train_ift_task(task)


def slow_losses(model: Any, sequence: TokenSequence, *, lam: float) -> Tensor:
    """The losses of one response, written down token by token from whole logits."""
    ids = [*sequence.prompt_ids, *sequence.response_ids]
    start = len(sequence.prompt_ids)
    embed = model.get_input_embeddings()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        rows = []
        for place, token in enumerate(ids):
            row = embed(torch.tensor([token]))[0]
            if place >= start:
                guess = logits[place - 1].argmax()
                row = (1 - lam) * row + lam * embed(guess[None])[0]
            rows.append(row)
    logprobs = model(inputs_embeds=torch.stack(rows)[None]).logits[0].log_softmax(dim=-1)
    return -torch.stack([logprobs[start + t - 1, token] for t, token in enumerate(sequence.response_ids)])


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_the_losses_are_those_of_a_slow_loop_over_single_tokens(base: LoadedModel, lam: float) -> None:
    sequences = sequences_of(base)
    found = compute_losses(base.model, sequences, lam=lam, pad_id=base.encoder.pad_token_id)
    for row, sequence in enumerate(sequences):
        length = len(sequence.response_ids)
        torch.testing.assert_close(
            found.losses[row, :length], slow_losses(base.model, sequence, lam=lam), atol=2e-5, rtol=1e-5
        )
        assert found.mask[row].tolist() == [True] * length + [False] * (found.mask.shape[1] - length)
        assert not found.losses[row, length:].any()


def test_guesses_are_mixed_in_at_the_responses_places_only(base: LoadedModel) -> None:
    """The first response token has only the prompt before it, so its loss does not depend on lambda."""
    sequences = sequences_of(base)
    pad_id = base.encoder.pad_token_id
    plain, mixed = (compute_losses(base.model, sequences, lam=lam, pad_id=pad_id).losses for lam in (0.0, 0.8))
    torch.testing.assert_close(mixed[:, 0], plain[:, 0], atol=1e-5, rtol=0)
    assert float((mixed[:, 1] - plain[:, 1]).detach().abs().max()) > 1e-3


def test_lambda_and_gamma_zero_are_sft_weight_for_weight(base: LoadedModel, tmp_path: Path) -> None:
    sft = train_sft(base=base, demonstrations=DEMONSTRATIONS, config=SftConfig(**STEPS), seed=1)
    ift = train(base, tmp_path, lam=0.0, gamma=0.0)
    assert ift.metrics["first_loss"] == pytest.approx(sft.metrics["first_loss"], abs=1e-5)
    assert ift.metrics["last_loss"] == pytest.approx(sft.metrics["last_loss"], abs=1e-4)
    moved = max(
        float((a - b).abs().max()) for a, b in zip(sft.model.parameters(), base.model.parameters(), strict=True)
    )
    apart = max(float((a - b).abs().max()) for a, b in zip(sft.model.parameters(), ift.model.parameters(), strict=True))
    assert apart < 0.02 * moved
    other = train(base, tmp_path, lam=0.5, gamma=0.95)
    assert (
        max(float((a - b).abs().max()) for a, b in zip(sft.model.parameters(), other.model.parameters(), strict=True))
        > 0.2 * moved
    )


def test_with_lambda_the_input_embeddings_get_no_gradient_of_their_own(base: LoadedModel, tmp_path: Path) -> None:
    before = base.model.get_input_embeddings().weight.detach().clone()
    trained = train(base, tmp_path, lam=0.5)
    is_tied = base.model.get_input_embeddings().weight is base.model.get_output_embeddings().weight
    assert torch.equal(trained.model.get_input_embeddings().weight, before) is not is_tied
    assert not torch.equal(train(base, tmp_path, lam=0.0).model.get_input_embeddings().weight, before)


def test_micro_batches_give_the_same_steps(base: LoadedModel, tmp_path: Path) -> None:
    whole, cut = (train(base, tmp_path, micro_batch_size=size) for size in (None, 1))
    assert cut.metrics["last_loss"] == pytest.approx(whole.metrics["last_loss"], rel=1e-3)


@pytest.mark.parametrize("options", [{"train": "last_layers", "num_layers": 1}, {"train": "lora"}], ids=str)
def test_a_part_of_the_weights_can_be_trained(base: LoadedModel, tmp_path: Path, options: dict[str, Any]) -> None:
    trained = train(base, tmp_path, **options)
    names = [
        name
        for (name, new), (_, old) in zip(trained.model.named_parameters(), base.model.named_parameters(), strict=True)
        if not torch.equal(new, old)
    ]
    assert names
    if options["train"] == "lora":
        assert trained.adapted is not None
        assert all(name.endswith("proj.weight") for name in names)
    else:
        assert not any(name.startswith("model.layers.0.") for name in names)


def test_steps_are_reported_and_the_seed_fixes_every_weight(base: LoadedModel, tmp_path: Path) -> None:
    rows: list[Any] = []
    before = copy.deepcopy(base.model.state_dict())
    first = train(base, tmp_path, batch_size=2, listener=Listener(on_metrics=rows.append))
    assert [row.step for row in rows] == list(range(1, 9)) == list(range(1, 1 + first.steps))
    assert set(rows[0].numbers) == {"loss", "unweighted_loss", "grad_norm", "learning_rate"}
    assert first.metrics["last_loss"] < first.metrics["first_loss"]
    again = train(base, tmp_path, batch_size=2)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())


def test_what_cannot_be_trained_is_refused_in_a_sentence(base: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ift learns from demonstrations and there are none \(sft\.demonstrations\)"):
        check_ift(RunConfig(), 1)
    named = RunConfig(sft=SftConfig(demonstrations="d.jsonl"))
    check_ift(named, 1)
    with pytest.raises(ConfigError, match="ift trains in one process"):
        check_ift(named, 2)
    with pytest.raises(StageError, match="over_length 3"):
        train(base, tmp_path, max_length=5)
    with pytest.raises(ValueError, match="propagation does nothing with gamma: 0"):
        IftConfig.model_validate({"gamma": 0, "propagation": "repository"}, context={"typed": True})
    with pytest.raises(ConfigError, match=r"\(ift\.num_layers\)"):
        train(base, tmp_path, train="last_layers", num_layers=99)


def test_a_loss_that_is_not_finite_stops_at_the_named_step(base: LoadedModel, tmp_path: Path) -> None:
    model = copy.deepcopy(base.model)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is not finite") as caught:
        train(base._replace(model=model), tmp_path)
    assert "ift, step 1" in caught.value.sentence


def test_the_steps_are_counted_before_they_are_taken(base: LoadedModel, tmp_path: Path) -> None:
    task = Task(
        start=base, initial=base, config=RunConfig(ift=IftConfig(num_epochs=3, batch_size=2)), folder=tmp_path, seed=1,
        demonstrations=DEMONSTRATIONS,
    )  # fmt: skip
    assert count_ift_steps(task) == 6
    assert train_ift_task(replace(task, seed=2)).steps == 6
