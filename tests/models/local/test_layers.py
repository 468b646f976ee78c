"""A model entered half-way, left half-way, and run again for its gradients, against one plain pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from rlaif.models.local.layers import entered_at, enters_exactly, find_layers, left_at, parameters_below, recomputed

IDS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
SIZES = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}


@pytest.fixture(params=["llama", "gpt2", "gemma3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    match request.param:
        case "llama":
            made: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2))
        case "gpt2":  # adds learned positions to what it is given
            made = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=32, n_layer=3, n_head=2, n_positions=32))
        case _:  # scales its embeddings, and some of its layers see three tokens back only
            made = Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, num_key_value_heads=2, head_dim=8, sliding_window=3))
    return made.eval()


def test_entered_with_what_the_lower_layers_say_it_gives_the_same_logits(model: PreTrainedModel) -> None:
    whole = model(input_ids=IDS, use_cache=False).logits
    for depth in (1, 2):
        with left_at(model, depth=depth) as reached:
            model(input_ids=IDS, use_cache=False)
            hidden = reached()
        with entered_at(model, hidden, depth=depth):
            assert torch.equal(model(input_ids=torch.zeros_like(IDS), use_cache=False).logits, whole)
        with entered_at(model, hidden.flip(-1), depth=depth):
            assert not torch.allclose(model(input_ids=IDS, use_cache=False).logits, whole, atol=1e-4)
        assert enters_exactly(model, depth=depth)
    assert torch.equal(model(input_ids=IDS, use_cache=False).logits, whole)


def test_the_model_is_as_it_was_after_a_pass_that_failed(model: PreTrainedModel) -> None:
    layers = find_layers(model)
    assert layers is not None
    before = list(layers)

    def fail() -> None:
        with left_at(model, depth=1):
            assert list(layers) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(layers) == before


def test_a_model_whose_layers_hand_on_something_else_is_not_entered(model: PreTrainedModel) -> None:
    layers = find_layers(model)
    assert layers is not None
    inner = layers[2].forward
    seen: list[Tensor] = []

    def changing(hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
        seen.append(hidden)
        return inner(hidden, *args, **kwargs) + len(seen)

    layers[2].forward = changing
    assert not enters_exactly(model, depth=2)


def test_what_lies_below_the_layers_is_found_by_what_they_depend_on(model: PreTrainedModel) -> None:
    embedding = {
        LlamaForCausalLM: {"model.embed_tokens.weight"},
        GPT2LMHeadModel: {"transformer.wte.weight", "transformer.wpe.weight"},
        Gemma3ForCausalLM: {"model.embed_tokens.weight"},
    }
    model.requires_grad_(False)
    assert parameters_below(model) == embedding[type(model)]
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_recomputed_layers_run_twice_and_give_the_same_gradients(model: PreTrainedModel) -> None:
    runs = 0

    def count(*args: object) -> None:
        nonlocal runs
        runs += 1

    layers = find_layers(model)
    assert layers is not None
    for layer in layers:  # children run again with their layer, the layer's own hooks do not
        next(layer.children()).register_forward_pre_hook(count)

    def gradients() -> list[Tensor]:
        loss = torch.log_softmax(model(input_ids=IDS, use_cache=False).logits, dim=-1)[..., 7].sum()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    plain = gradients()
    assert runs == 3
    with recomputed(model):
        again = gradients()
    assert runs == 3 + 6
    for one, other in zip(again, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))
    with recomputed(model), torch.no_grad():
        model(input_ids=IDS, use_cache=False)
    gradients()
    assert runs == 3 + 6 + 3 + 3
