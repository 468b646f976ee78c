"""The loss on held-out demonstrations is that of their response's tokens, and falls where they are like the learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import build_family

from rlaif.config.sft import SftConfig
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.methods.held_out import describe_held_out, measure_held_out, read_held_out, write_held_out
from rlaif.policy.methods.sft import train_sft
from rlaif.records import Demonstration, Message, Prompt

CONFIG = SftConfig(num_epochs=15, batch_size=4, learning_rate=2e-2, max_length=60)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.set_num_threads(1)
    return load_causal_lm(str(build_family("llama3", tmp_path_factory.mktemp("base") / "llama3")), device="cpu")


def demonstrate(place: str, response: str = "This way please.") -> tuple[Prompt, Demonstration]:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    return prompt, Demonstration(prompt_id=prompt.id, response=response)


def test_the_loss_is_the_mean_of_the_responses_tokens_each_computed_alone(base: LoadedModel) -> None:
    shown = [demonstrate("tower"), demonstrate("market", "Over there."), demonstrate("harbour", "on " * 100)]
    loss = measure_held_out(shown, base=base, trained=base.model, config=CONFIG)
    total, num = 0.0, 0
    for prompt, written in shown[:2]:
        before, answer = base.encoder.encode(prompt.as_segments()), base.encoder.encode_response(written.response)
        with torch.no_grad():
            logprobs = base.model(input_ids=torch.tensor([[*before, *answer]])).logits[0].float().log_softmax(-1)
        for place, token in enumerate(answer):
            total -= float(logprobs[len(before) + place - 1, token])
            num += 1
    assert (loss.num_demonstrations, loss.num_tokens) == (2, num)
    assert loss.before == loss.after == pytest.approx(total / num, rel=1e-5)


def test_training_lowers_the_loss_on_what_is_like_it(base: LoadedModel, tmp_path: Path) -> None:
    learnt = [demonstrate(place) for place in ("museum", "library", "garden", "hall")]
    trained = train_sft(base=base, demonstrations=learnt, config=CONFIG, seed=1)
    loss = measure_held_out([demonstrate("tower")], base=base, trained=trained.model, config=CONFIG)
    assert loss.before is not None
    assert loss.after is not None
    assert loss.after < 0.5 * loss.before
    assert f"{loss.after:.3f} after" in describe_held_out(loss)
    write_held_out(loss, tmp_path)
    assert read_held_out(tmp_path) == loss
    assert read_held_out(tmp_path / "elsewhere") is None


def test_where_nothing_fits_there_is_no_loss(base: LoadedModel) -> None:
    loss = measure_held_out([demonstrate("x", "on " * 100)], base=base, trained=base.model, config=CONFIG)
    assert (loss.before, loss.after, loss.num_demonstrations) == (None, None, 0)
    assert "no held-out demonstration is short enough" in describe_held_out(loss)
