"""Every method leaves frozen weights as they were, to the bit, and changes all others: METHODS 3, row 7."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import SIMPLE_TEMPLATE as PLAIN
from families import build_family

from rlaif.config.by_preferences import DpoConfig, KtoConfig
from rlaif.config.ift import IftConfig
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.config.rft import IrftConfig, RftConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, ModelError
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.methods import METHODS
from rlaif.policy.methods.by_preferences import encode_for
from rlaif.policy.methods.dpo import make_trainer
from rlaif.policy.ppo.trained import find_trained
from rlaif.policy.preference_items import find_pairs
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Demonstration, Message, PreferenceRow, Prompt

PROMPTS = [Prompt(messages=(Message(role="user", content=f"Where is the {name}?"),)) for name in ("tower", "garden")]
GOOD, BAD = ("This way please.", "Over there."), ("No.", "Look for it.")
DEMONSTRATIONS = [
    (prompt, Demonstration(prompt_id=prompt.id, response=text)) for prompt, text in zip(PROMPTS, GOOD, strict=True)
]
PAIRS = [
    PreferenceRow(prompt=prompt, chosen=good, rejected=bad)
    for prompt, good, bad in zip(PROMPTS, GOOD, BAD, strict=True)
]
STEPS: dict[str, Any] = {"num_epochs": 2, "batch_size": 2, "learning_rate": 1e-2, "weight_decay": 0.1}
OPTIONS: dict[str, Callable[[dict[str, Any]], RunConfig]] = {
    "sft": lambda given: RunConfig(sft=SftConfig(**STEPS, **given)),
    "ift": lambda given: RunConfig(ift=IftConfig(**STEPS, **given, lam=0)),
    "irft": lambda given: RunConfig(irft=IrftConfig(**STEPS, **given, num_sections=1)),
    "dpo": lambda given: RunConfig(dpo=DpoConfig(**STEPS, **given)),
    "kto": lambda given: RunConfig(kto=KtoConfig(**STEPS, **given)),
    "rft": lambda given: RunConfig(
        rft=RftConfig(num_alternations=2, policy_steps=1, learning_rate=1e-2),
        ppo=PpoConfig(
            num_prompts_per_step=2, num_samples_per_prompt=2, response_length=8, learning_rate=1e-2,
            value_warmup_steps=0, kl_coef=0.1, model=PpoModelConfig(**given),
        ),
    ),
}  # fmt: skip
CASES = [*(("llama3", name) for name in OPTIONS), ("gpt2", "sft"), ("gpt2", "dpo")]
UPPER, LORA = {"train": "last_layers", "num_layers": 1}, {"train": "lora", "lora": {"rank": 2}}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    """GPT-2 has learned positions, and its output layer is tied to the embeddings."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bases")
    build_family("llama3", folder / "llama3")
    build_family("byte_bpe_no_template", folder / "gpt2", chat_template=PLAIN)
    return {name: load_causal_lm(str(folder / name), device="cpu") for name in ("llama3", "gpt2")}


@pytest.fixture
def base(bases: dict[str, LoadedModel]) -> LoadedModel:
    return bases["llama3"]


def train(base: LoadedModel, folder: Path, *, method: str, weights: dict[str, Any]) -> TrainedPolicy:
    task = Task(
        start=base, initial=base, config=OPTIONS[method](weights), folder=folder, seed=5,
        demonstrations=DEMONSTRATIONS, preferences=PAIRS,
    )  # fmt: skip
    return METHODS[method].train(task)


def named(base: LoadedModel) -> dict[str, Any]:
    """The upper layer's norms, and all of the lower one."""
    layers = "model.layers" if hasattr(base.model, "model") else "transformer.h"
    norms = "*norm.weight" if hasattr(base.model, "model") else "*ln_1.weight"
    return {"train": "names", "names": (f"{layers}.0", norms)}


@pytest.mark.parametrize(
    ("family", "method"), [*(("llama3", name) for name in OPTIONS), ("gpt2", "sft"), ("gpt2", "dpo")]
)
@pytest.mark.parametrize("kind", ["last_layers", "names", "lora"])
def test_frozen_weights_stay_to_the_bit_and_all_others_change(
    bases: dict[str, LoadedModel], tmp_path: Path, family: str, method: str, kind: str
) -> None:
    base = bases[family]
    weights = {"last_layers": UPPER, "lora": LORA, "names": named(base)}[kind]
    before = {name: tensor.clone() for name, tensor in base.model.named_parameters()}
    config = OPTIONS[method](weights)
    trained = train(base, tmp_path, method=method, weights=weights)
    if kind == "lora":
        embeddings = base.model.get_output_embeddings().weight, base.model.get_input_embeddings().weight
        expected = {
            name for name, one in base.model.named_parameters()
            if one.ndim == 2 and all(one is not other for other in embeddings) and "wpe" not in name
        }  # fmt: skip
    else:
        expected = find_trained(base.model, config.weights_of(method))
    assert 0 < len(expected) < len(before)
    for name, tensor in trained.model.named_parameters():
        assert torch.equal(tensor, before[name]) != (name in expected), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.named_parameters())
    assert trained.weights is not None
    sizes = {name: tensor.numel() for name, tensor in before.items()}
    if kind == "lora":
        assert trained.weights.frozen == sum(sizes.values())
        assert 0 < trained.weights.trained < sum(sizes[name] for name in expected)
    else:
        assert trained.weights == (sum(sizes[n] for n in expected), sum(sizes[n] for n in sizes.keys() - expected))


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_every_weight_changes_where_all_are_trained(base: LoadedModel, tmp_path: Path, method: str) -> None:
    trained = train(base, tmp_path, method=method, weights={})
    for (name, new), old in zip(trained.model.named_parameters(), base.model.parameters(), strict=True):
        assert not torch.equal(new, old), name
    assert trained.weights is not None
    assert trained.weights.frozen == 0
    assert trained.adapted is None


def test_the_reference_is_the_model_without_its_adapter_and_stands_in_memory_once(
    base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DPO's reference is the starting policy, whose memory the adapted model uses; its first rewards are zero."""
    seen: list[Any] = []

    def watched(**given: Any) -> Any:
        seen.append((given["model"], given["reference"]))
        return make_trainer(**given)

    monkeypatch.setattr("rlaif.policy.methods.dpo.make_trainer", watched)
    trained = train(base, tmp_path, method="dpo", weights=LORA)
    [(learner, reference)] = seen
    assert learner is trained.adapted
    own = {name: tensor.data_ptr() for name, tensor in reference.named_parameters()}
    frozen = {
        name.replace(".base_layer.", "."): tensor.data_ptr()
        for name, tensor in learner.named_parameters()
        if "lora_" not in name
    }
    assert frozen == own
    encoded = encode_for(base, find_pairs(PAIRS, labels="hard"), config=DpoConfig(), name="dpo")
    ids = torch.tensor([[*encoded.prompt_ids[0], *encoded.response_ids[0][0]]])
    for layer in learner.modules():
        if hasattr(layer, "lora_A"):
            layer.enable_adapters(False)
    with torch.no_grad():
        assert torch.equal(learner(ids).logits, reference(ids).logits)


@pytest.mark.parametrize("method", ["sft", "kto"])
def test_frozen_weights_are_trained_over_with_gradient_checkpointing(
    base: LoadedModel, tmp_path: Path, method: str
) -> None:
    plain, checkpointed = (
        train(base, tmp_path, method=method, weights={**LORA, "gradient_checkpointing": again})
        for again in (False, True)
    )
    for one, other in zip(plain.model.parameters(), checkpointed.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_policy_in_bfloat16_is_trained_in_float32_whatever_is_frozen(base: LoadedModel, tmp_path: Path) -> None:
    halved: Any = copy.deepcopy(base.model)
    trained = train(base._replace(model=halved.bfloat16()), tmp_path, method="sft", weights=UPPER)
    assert {tensor.dtype for tensor in trained.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_what_the_model_does_not_have_is_refused_by_the_methods_own_option(
    base: LoadedModel, tmp_path: Path, method: str
) -> None:
    for weights, error, where in (
        ({"train": "last_layers", "num_layers": 9}, ConfigError, "num_layers"),
        ({"train": "names", "names": ("model.layer.0",)}, ConfigError, "names"),
        ({"train": "lora", "lora": {"target_modules": ("qq_proj",)}}, ModelError, r"lora\.target_modules"),
    ):
        with pytest.raises(error, match=rf"\({method}\.{where}\)"):
            train(base, tmp_path, method=method, weights=weights)


def test_an_adapter_that_trl_would_never_train_is_refused(base: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an adapter on the output layer would never be trained"):
        train(base, tmp_path, method="sft", weights={"train": "lora", "lora": {"target_modules": ("lm_head",)}})


def test_options_that_do_nothing_with_the_weights_that_are_trained_are_refused() -> None:
    for config in (SftConfig, IftConfig, IrftConfig, DpoConfig, KtoConfig):
        with pytest.raises(ValueError, match="num_layers does nothing with train: all"):
            config.model_validate({"num_layers": 3}, context={"typed": True})
        with pytest.raises(ValueError, match="names go together"):
            config.model_validate({"names": ["*"]})
