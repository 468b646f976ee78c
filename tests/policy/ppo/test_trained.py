"""What is frozen stays, what is trained changes, and the reference is what the policy was: METHODS 3, row 7."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlaif.config.ppo_model import PpoModelConfig
from rlaif.config.weights import LoraConfig
from rlaif.errors import ConfigError, ModelError
from rlaif.models.local.upper_layers import trunk_depth
from rlaif.models.weights.adapters import add_adapter, has_adapter, merge_adapter
from rlaif.policy.ppo.batching import PaddedBatch, TokenSequence, pad_batch
from rlaif.policy.ppo.passes import compute_frozen, compute_logprobs
from rlaif.policy.ppo.reference import choose_reference
from rlaif.policy.ppo.start import make_learner
from rlaif.policy.ppo.trained import find_trained, make_trained

SEQUENCES = [
    TokenSequence([1, 2, 3], [4, 5, 6, 7]),
    TokenSequence([8, 9], [15]),
    TokenSequence([1, 2, 3], [15]),
    TokenSequence([8, 9], [3, 15, 15, 2, 2, 2, 1]),
    TokenSequence([1, 2, 3], [0, 0]),
    TokenSequence([11], [12, 13]),
]


@pytest.fixture(params=["llama", "gpt2"])
def policy(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    if request.param == "gpt2":  # learned positions, and an output layer tied to the embeddings
        config = GPT2Config(
            vocab_size=16, n_embd=32, n_layer=4, n_head=2, n_positions=32, bos_token_id=None, eos_token_id=None
        )
        model: PreTrainedModel = GPT2LMHeadModel(config)
    else:
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2)
        )
    for parameter in model.parameters():
        parameter.data *= 2
    return model.eval()


def make_batch(frozen: list[Tensor] | None = None) -> PaddedBatch:
    return pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"), frozen=frozen)


def train(policy: PreTrainedModel, config: PpoModelConfig, *, num_steps: int = 3) -> Any:
    """The learner after some steps of AdamW, whose weight decay also moves weights without gradients."""
    learner = make_learner(policy, config, seed=1, value_start=None)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in learner.parameters() if parameter.requires_grad], lr=1e-2, weight_decay=0.1
    )
    frozen = None
    if learner.computing.depth:
        frozen = compute_frozen(learner.model, make_batch(), computing=learner.computing)
    for _ in range(num_steps):
        now = learner(make_batch(frozen), temperature=1.0)
        optimizer.zero_grad()
        (now.logprobs.sum() + now.values.square().sum() + now.values.sum()).backward()
        optimizer.step()
    return learner


def is_upper(name: str) -> bool:
    """Of the upper two of four layers, or after them."""
    parts = name.split(".")
    in_layer = [int(part) for part in parts if part.isdigit()]
    return in_layer[0] >= 2 if in_layer else parts[-2] in ("norm", "ln_f", "lm_head")


def test_last_layers_change_and_all_below_them_stays_to_the_bit(policy: PreTrainedModel) -> None:
    before = {name: tensor.clone() for name, tensor in policy.named_parameters()}
    learner = train(policy, PpoModelConfig(train="last_layers", num_layers=2))
    for name, tensor in learner.model.named_parameters():
        assert torch.equal(tensor, before[name]) != is_upper(name), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.named_parameters())


def test_frozen_weights_stand_in_memory_once_and_trained_ones_apart(policy: PreTrainedModel) -> None:
    learner = make_learner(policy, PpoModelConfig(train="last_layers"), seed=1, value_start=None)
    own = dict(policy.named_parameters())
    for name, tensor in learner.model.named_parameters():
        assert (tensor.data_ptr() == own[name].data_ptr()) != is_upper(name), name


def test_the_trunk_says_what_the_references_says_and_the_hydra_is_the_whole_reference(policy: PreTrainedModel) -> None:
    start = copy.deepcopy(policy)
    learner = train(policy, PpoModelConfig(train="last_layers", num_layers=2))
    chosen = choose_reference(learner.model, policy, policy, PpoModelConfig(train="last_layers"))
    assert (chosen.mode, learner.computing.depth) == ("hydra", 2)
    frozen = compute_frozen(learner.model, make_batch(), computing=learner.computing)
    of_start = compute_frozen(start, make_batch(), computing=learner.computing)
    assert all(torch.equal(one, other) for one, other in zip(frozen, of_start, strict=True))
    assert [tensor.shape for tensor in frozen] == [(len(p) + len(r), 32) for p, r in SEQUENCES]
    whole = compute_logprobs(start, make_batch(), temperature=0.7)
    hydra = compute_logprobs(chosen.model, make_batch(frozen), temperature=0.7, computing=learner.computing)
    torch.testing.assert_close(hydra, whole, atol=1e-6, rtol=0)
    assert not torch.allclose(learner(make_batch(frozen), temperature=0.7).logprobs, whole, atol=1e-3)


@pytest.mark.parametrize("worth_sharing", [0.0, 2.0], ids=["prompts apart", "whole sequences"])
def test_passes_above_the_frozen_layers_have_the_gradients_of_whole_ones(
    policy: PreTrainedModel, worth_sharing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.policy.ppo.passes.WORTH_SHARING", worth_sharing)
    learner = make_learner(policy, PpoModelConfig(train="last_layers"), seed=1, value_start=None)
    torch.nn.init.normal_(learner.value_head.weight)
    frozen = compute_frozen(learner.model, make_batch(), computing=learner.computing)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    found = []
    for batch in (make_batch(frozen), make_batch()):
        now = learner(batch, temperature=0.7)
        found.append((now, torch.autograd.grad((now.logprobs + now.values).sum(), trained)))
    (entered, entered_grads), (whole, whole_grads) = found
    torch.testing.assert_close(entered.logprobs, whole.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(entered.values, whole.values, atol=1e-5, rtol=1e-5)
    for one, other in zip(entered_grads, whole_grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.abs().max()), rtol=0)


def test_below_the_adapters_is_the_policy_as_it_came(policy: PreTrainedModel) -> None:
    before = {name: tensor.clone() for name, tensor in policy.named_parameters()}
    config = PpoModelConfig(train="lora", lora=LoraConfig(rank=4))
    learner = train(policy, config)
    assert choose_reference(learner.model, policy, policy, config).mode == "adapter_off"
    for name, tensor in learner.model.named_parameters():
        plain = name.replace(".base_layer.", ".")
        assert ("lora_" in name) != (plain in before), name
        if plain in before:
            assert torch.equal(tensor, before[plain])
            assert tensor.data_ptr() == dict(policy.named_parameters())[plain].data_ptr()
    with torch.no_grad():
        expected = compute_logprobs(policy, make_batch(), temperature=0.7)
        for layer in learner.model.modules():
            if hasattr(layer, "lora_A"):
                layer.enable_adapters(False)
        assert torch.equal(compute_logprobs(learner.model, make_batch(), temperature=0.7), expected)


def test_every_linear_layer_but_the_output_gets_an_adapter_and_all_of_them_learn(policy: PreTrainedModel) -> None:
    config = PpoModelConfig(train="lora", lora=LoraConfig(rank=4))
    begun = make_trained(policy, config, seed=1)
    learned = dict(train(policy, config).model.named_parameters())
    adapters = {name: tensor for name, tensor in begun.named_parameters() if "lora_" in name}
    linear = [name for name, tensor in policy.named_parameters() if tensor.ndim == 2 and any(c.isdigit() for c in name)]
    assert len(adapters) == 2 * len(linear)
    for name, tensor in adapters.items():
        assert bool(tensor.any()) == ("lora_A" in name), "one factor drawn, one zero"
        assert not torch.equal(tensor, learned[name]), name


def test_adapters_on_the_upper_layers_alone_leave_a_trunk_that_is_run_once_for_learner_and_reference(
    policy: PreTrainedModel,
) -> None:
    config = PpoModelConfig(train="lora", lora=LoraConfig(rank=4, num_layers=1))
    model = make_trained(policy, config, seed=1)
    adapted = {name for name, _ in model.named_parameters() if "lora_" in name}
    linear = [name for name, tensor in policy.named_parameters() if tensor.ndim == 2 and ".3." in name]
    assert len(adapted) == 2 * len(linear)
    assert all(".3." in name for name in adapted)
    assert trunk_depth(model) == 3
    assert choose_reference(model, policy, policy, config).shares_trunk
    kept, whole = (
        dict(train(policy, config.model_copy(update={"cache_trunk": cache})).model.named_parameters())
        for cache in (True, False)
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(kept[name], tensor, atol=1e-5, rtol=1e-4)


def test_adapters_on_the_upper_layers_reach_the_named_ones_alone(policy: PreTrainedModel) -> None:
    name = "q_proj" if isinstance(policy, LlamaForCausalLM) else "c_attn"
    config = PpoModelConfig(train="lora", lora=LoraConfig(num_layers=2, target_modules=(name,)))
    adapted = [name for name, _ in make_trained(policy, config, seed=1).named_parameters() if "lora_A" in name]
    assert len(adapted) == 2
    assert all(f".{name}." in one for one in adapted)


def test_new_adapters_depend_on_the_seed_alone_and_leave_the_generator_where_it_was(policy: PreTrainedModel) -> None:
    config = PpoModelConfig(train="lora")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = make_trained(policy, config, seed=3)
    assert torch.equal(torch.rand(1), expected)
    again, other = (dict(make_trained(policy, config, seed=seed).named_parameters()) for seed in (3, 4))
    drawn = [(name, tensor) for name, tensor in first.named_parameters() if "lora_A" in name]
    assert all(torch.equal(tensor, again[name]) and not torch.equal(tensor, other[name]) for name, tensor in drawn)


def test_a_merged_model_is_plain_says_the_same_and_leaves_the_policy_alone(policy: PreTrainedModel) -> None:
    before = copy.deepcopy(policy.state_dict())
    learner = train(policy, PpoModelConfig(train="lora"))
    merged = merge_adapter(learner.model)
    assert merged.state_dict().keys() == before.keys()
    assert type(merged) is type(policy)
    assert has_adapter(learner.model)
    assert not has_adapter(merged)
    with torch.no_grad():
        said, expected = (compute_logprobs(model, make_batch(), temperature=1.0) for model in (merged, learner.model))
        torch.testing.assert_close(said, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(said, compute_logprobs(policy, make_batch(), temperature=1.0), atol=1e-2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())


def test_a_policy_that_starts_with_an_adapter_goes_on_with_it_and_the_kl_is_taken_to_it(
    policy: PreTrainedModel,
) -> None:
    add_adapter(policy, rank=3, alpha=6, target_modules="all-linear", seed=9)
    torch.manual_seed(2)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    start = {name: tensor.clone() for name, tensor in policy.named_parameters()}
    config = PpoModelConfig(train="lora")
    at_first = make_learner(policy, config, seed=1, value_start=None)
    chosen = choose_reference(at_first.model, policy, policy, config)
    assert chosen.mode == "start_adapter"
    with torch.no_grad():
        said = at_first(make_batch(), temperature=0.7).logprobs
        assert torch.equal(said, compute_logprobs(chosen.model, make_batch(), temperature=0.7)), "KL is 0 at step 0"
    learner = train(policy, config)
    for name, tensor in learner.model.named_parameters():
        assert torch.equal(tensor, start[name]) != ("lora_" in name), name
    assert all(torch.equal(tensor, start[name]) for name, tensor in policy.named_parameters())


def test_names_are_patterns_over_weights_and_over_whole_layers(policy: PreTrainedModel) -> None:
    layer, norm = ("model.layers.3", "norm") if isinstance(policy, LlamaForCausalLM) else ("transformer.h.3", "ln_1")
    names = [name for name, _ in policy.named_parameters()]
    found = find_trained(policy, PpoModelConfig(train="names", names=(layer, f"*{norm}.weight")))
    assert found == {name for name in names if name.startswith(f"{layer}.") or name.endswith(f"{norm}.weight")}
    with pytest.raises(ConfigError) as caught:
        find_trained(policy, PpoModelConfig(train="names", names=(f"{layer}.attn.q_prj.weight",)))
    assert f'no weight of the policy is called "{layer}.attn.q_prj.weight"' in str(caught.value)
    assert f"{layer}." in str(caught.value.fix)


@pytest.mark.parametrize(
    ("train_what", "names", "depth"),
    [
        ("all", (), 0),
        ("names", ("*.3",), 3),
        ("names", ("*.3", "*.1"), 1),
        ("names", ("*.3", "*embed_tokens*", "*wte*"), 0),
        ("last_layers", (), 2),
    ],
)
def test_the_trunk_reaches_up_to_the_lowest_trained_layer(
    policy: PreTrainedModel, train_what: Any, names: tuple[str, ...], depth: int
) -> None:
    prefix = "model.layers" if isinstance(policy, LlamaForCausalLM) else "transformer.h"
    own = {"*embed_tokens*": LlamaForCausalLM, "*wte*": GPT2LMHeadModel}
    patterns = tuple(name.replace("*.", f"{prefix}.") for name in names if own.get(name, type(policy)) is type(policy))
    assert trunk_depth(make_trained(policy, PpoModelConfig(train=train_what, names=patterns), seed=1)) == depth


def test_more_layers_than_there_are_are_refused(policy: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="the policy has 4 layers and the last 5 are to be trained"):
        find_trained(policy, PpoModelConfig(train="last_layers", num_layers=5))
    with pytest.raises(ConfigError, match="the last 5 are to be trained"):
        make_trained(policy, PpoModelConfig(train="lora", lora=LoraConfig(num_layers=5)), seed=1)


def test_adapters_on_layers_that_there_are_not_are_refused(policy: PreTrainedModel) -> None:
    config = PpoModelConfig(train="lora", lora=LoraConfig(target_modules=("qq_proj",)))
    with pytest.raises(ModelError, match="no adapter can be put on the model"):
        make_trained(policy, config, seed=1)


def test_a_reference_is_a_copy_where_that_is_asked_for_or_nothing_else_is_exact(policy: PreTrainedModel) -> None:
    other = copy.deepcopy(policy)
    next(iter(other.parameters())).data += 1.0
    upper = PpoModelConfig(train="last_layers")
    model = make_trained(policy, upper, seed=1)
    assert choose_reference(model, policy, copy.deepcopy(policy), upper).mode == "hydra"
    assert choose_reference(model, policy, other, upper) == (other, "copy")
    copied = choose_reference(model, policy, policy, PpoModelConfig(train="last_layers", reference="copy"))
    assert copied.mode == "copy"
    assert copied.model is not policy
    assert not {p.data_ptr() for p in copied.model.parameters()} & {p.data_ptr() for p in model.parameters()}
    with pytest.raises(ConfigError, match="the reference cannot be hydra: part of what lies below"):
        choose_reference(model, policy, other, PpoModelConfig(train="last_layers", reference="hydra"))
    lora = PpoModelConfig(train="lora", reference="start_adapter")
    with pytest.raises(ConfigError, match="cannot be start_adapter: the policy does not start with an adapter"):
        choose_reference(make_trained(policy, lora, seed=1), policy, policy, lora)
