"""Adapters as folders: loaded with their base model, merged or not, written as peft writes them, and refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build_family
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from rlaif.config.ppo_model import PpoModelConfig
from rlaif.errors import ModelError, TrainingError
from rlaif.models.weights.adapter_options import MERGED_ONLY, NEUTRAL, USED, check_options
from rlaif.models.weights.adapters import add_adapter, has_adapter, merge_adapter, save_adapter
from rlaif.models.weights.loading import load_causal_lm
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.models.weights.saving import save_model
from rlaif.policy.ppo.trained import make_trained

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family("llama3", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def made_by_peft(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter as its users make one, whose factors are both drawn."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(str(folder))
    return folder


@pytest.fixture
def folder(made_by_peft: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(made_by_peft, tmp_path / "adapter"))


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("merge", [True, False])
def test_an_adapters_folder_stands_for_its_base_model_with_the_adapter(
    base: Path, made_by_peft: Path, merge: bool
) -> None:
    loaded = load_causal_lm(str(made_by_peft), device="cpu", merge=merge)
    expected = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(made_by_peft)))
    torch.testing.assert_close(logits(loaded.model), expected, atol=1e-5, rtol=1e-5)
    plain = load_causal_lm(str(base), device="cpu")
    assert not torch.allclose(logits(plain.model), expected, atol=1e-2)
    assert has_adapter(loaded.model) is not merge
    assert (loaded.model.state_dict().keys() == plain.model.state_dict().keys()) is merge
    assert loaded.encoder.stop_token_ids == plain.encoder.stop_token_ids


def test_the_fingerprint_names_the_adapter_and_its_base_model(base: Path, folder: Path, tmp_path: Path) -> None:
    first = load_causal_lm(str(folder), device="cpu").fingerprint.weights
    assert first == load_causal_lm(str(folder), device="cpu", merge=False).fingerprint.weights
    other_base = Path(shutil.copytree(base, tmp_path / "other_base"))
    config = json.loads((other_base / "config.json").read_text())
    (other_base / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    seen = {first, load_causal_lm(str(base), device="cpu").fingerprint.weights}
    for changed in ({"base_model_name_or_path": str(other_base)}, {"lora_alpha": 9}):
        change(folder, **changed)
        seen.add(load_causal_lm(str(folder), device="cpu").fingerprint.weights)
    assert len(seen) == 4


def test_a_base_model_beside_the_adapter_is_found(base: Path, folder: Path) -> None:
    shutil.copytree(base, folder.parent / "base")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "../base"}))
    assert load_causal_lm(str(folder), device="cpu").path == str(folder)


def test_what_is_written_is_what_peft_reads(base: Path, tmp_path: Path) -> None:
    model = load_causal_lm(str(base), device="cpu").model
    add_adapter(model, rank=3, alpha=6, target_modules=["q_proj", "down_proj"], seed=1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_adapter(model, tmp_path / "adapter", base=str(base))
    read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(tmp_path / "adapter"))
    assert torch.equal(logits(read), logits(model))
    again = load_causal_lm(str(tmp_path / "adapter"), device="cpu")
    torch.testing.assert_close(logits(again.model), logits(model), atol=1e-5, rtol=1e-5)


def test_a_merged_model_is_saved_as_any_other(base: Path, tmp_path: Path) -> None:
    loaded = load_causal_lm(str(base), device="cpu")
    add_adapter(loaded.model, rank=3, alpha=6, target_modules="all-linear", seed=1)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_model(merge_adapter(loaded.model), loaded.tokenizer, tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(plain), logits(loaded.model), atol=1e-5, rtol=1e-5)
    assert not list((tmp_path / "merged").glob("adapter*"))


def refusal(folder: Path, *, merge: bool = True) -> str:
    with pytest.raises(ModelError) as caught:
        load_causal_lm(str(folder), device="cpu", merge=merge)
    return caught.value.sentence


def change(folder: Path, **options: object) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | options))


def test_adapters_that_cannot_be_used_are_refused_in_a_sentence(folder: Path) -> None:
    change(folder, modules_to_save=["lm_head"])
    assert "whole layers too" in refusal(folder, merge=False)
    change(folder, modules_to_save=None)
    for kind in ("IA3", "LOHA", "ADALORA", "PROMPT_TUNING"):
        change(folder, peft_type=kind)
        assert f"of the kind {kind}" in refusal(folder)
    change(folder, peft_type="LORA", base_model_name_or_path=None)
    assert "does not name its base model" in refusal(folder)
    change(folder, base_model_name_or_path=str(folder))
    assert "base model is an adapter too" in refusal(folder)
    (folder / "adapter_model.safetensors").unlink()
    assert "has no adapter_model.safetensors" in refusal(folder)


def test_where_a_whole_model_is_needed_an_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="holds an adapter, not a whole model"):
        find_model_folder(str(folder))


OPTIONS: dict[str, dict[str, Any]] = {
    "DoRA": {"use_dora": True},
    "rank-stabilised": {"use_rslora": True},
    "ranks and alphas by layer": {
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"down_proj": 32},
        "use_rslora": True,
    },
    "one layer": {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
    "all but one": {"exclude_modules": ["up_proj"]},
    "dropout": {"lora_dropout": 0.5, "init_lora_weights": "gaussian"},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "the output layer": {"target_modules": ["lm_head", "q_proj"], "use_dora": True},
}


def write_adapter(model: Any, folder: Path, **options: Any) -> torch.Tensor:
    """An adapter with all of its weights drawn; the logits of the adapted model."""
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **options}))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
            elif "lora_" in name or "modules_to_save" in name:
                parameter.normal_(0, 0.1)
    adapted.save_pretrained(str(folder))
    return logits(adapted)


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "trained"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_supported_option_is_merged_and_saved_exactly(
    base: Path, tmp_path: Path, options: dict[str, Any], merge: bool
) -> None:
    expected = write_adapter(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter", **options)
    loaded = load_causal_lm(str(tmp_path / "adapter"), device="cpu", merge=merge)
    torch.testing.assert_close(logits(loaded.model), expected, atol=1e-5, rtol=1e-4)
    merged = loaded.model if merge else merge_adapter(loaded.model)
    save_model(merged, loaded.tokenizer, tmp_path / "merged")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(saved), expected, atol=1e-5, rtol=1e-4)
    assert merge or has_adapter(loaded.model)


def test_a_dora_adapter_is_trained_and_written_as_peft_reads_it(base: Path, tmp_path: Path) -> None:
    write_adapter(AutoModelForCausalLM.from_pretrained(base), tmp_path / "start", use_dora=True)
    start = load_causal_lm(str(tmp_path / "start"), device="cpu", merge=False).model
    model = make_trained(start, PpoModelConfig(train="lora"), seed=0)
    before = logits(start)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert any("magnitude" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    optimizer = torch.optim.SGD(trained, lr=0.5)
    model(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    assert torch.equal(logits(start), before)
    assert not torch.allclose(logits(model), before, atol=1e-3)
    torch.testing.assert_close(logits(merge_adapter(model)), logits(model), atol=1e-5, rtol=1e-4)
    save_adapter(model, tmp_path / "adapter", base=str(base))
    read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(read), logits(model), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("target", ["wte", "c_attn"])
def test_merging_keeps_what_embeddings_and_output_layer_say_where_they_are_tied(tmp_path: Path, target: str) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=64)).eval()
    options = {"fan_in_fan_out": True} if target == "c_attn" else {}
    expected = write_adapter(model, tmp_path, target_modules=[target], **options)
    merged = merge_adapter(model)
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-4)
    assert merged.config.tie_word_embeddings is (target == "c_attn")
    assert model.config.tie_word_embeddings
    merged.save_pretrained(tmp_path / "merged")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(saved), expected, atol=1e-5, rtol=1e-4)


def test_whole_layers_are_merged_and_are_not_trained(base: Path, tmp_path: Path) -> None:
    options = {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}
    expected = write_adapter(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter", **options)
    loaded = load_causal_lm(str(tmp_path / "adapter"), device="cpu")
    torch.testing.assert_close(logits(loaded.model), expected, atol=1e-5, rtol=1e-4)
    assert "modules_to_save: ['lm_head']" in refusal(tmp_path / "adapter", merge=False)


def test_an_adapter_that_peft_cannot_merge_is_refused_before_it_is_trained(base: Path, tmp_path: Path) -> None:
    write_adapter(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter", lora_bias=True)
    for merge in (True, False):
        assert "cannot be merged into its base model" in refusal(tmp_path / "adapter", merge=merge)


def test_a_merged_model_that_says_something_else_is_refused(base: Path) -> None:
    """A layer does more than its factors say."""
    model = load_causal_lm(str(base), device="cpu").model
    add_adapter(model, rank=3, alpha=6, target_modules=["q_proj", "down_proj"], seed=1)
    merge_adapter(model)
    layer = next(module for name, module in model.named_modules() if name.endswith("0.mlp.down_proj"))
    layer.register_forward_hook(lambda module, given, out: out * 1.5)
    with pytest.raises(TrainingError, match=r"says something else: its logits differ by \d.*checkpoint"):
        merge_adapter(model)


def test_half_precision_is_not_taken_for_a_difference(base: Path, tmp_path: Path) -> None:
    write_adapter(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter", use_dora=True)
    for dtype in ("bfloat16", "float16"):
        load_causal_lm(str(tmp_path / "adapter"), device="cpu", dtype=dtype)
        load_causal_lm(str(tmp_path / "adapter"), device="cpu", dtype=dtype, merge=False)


def test_every_option_of_peft_is_known_by_name() -> None:
    known = {*USED, *MERGED_ONLY, *NEUTRAL}
    assert {field.name for field in dataclasses.fields(LoraConfig)} <= known
    assert len(known) == len(USED) + len(MERGED_ONLY) + len(NEUTRAL)
    for merge in (True, False):
        check_options({**LoraConfig().to_dict(), "from_a_later_peft": None}, where="x", merge=merge)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"{name}", value) for name in NEUTRAL for value in ({"a": 1}, 2)),
        *(
            ("init_lora_weights", value)
            for value in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", 1)
        ),
        ("use_qalora", True),
        ("layer_replication", [[0, 2]]),
        ("from_a_later_peft", True),
        ("from_a_later_peft", 0.0),
    ],
)
def test_an_option_that_changes_what_a_layer_computes_is_refused_by_name(name: str, value: object) -> None:
    for merge in (True, False):
        with pytest.raises(ModelError, match=f"an option that is not supported: {name}: "):
            check_options({"peft_type": "LORA", name: value}, where="x", merge=merge)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("target_modules", "(.*a.*)*(.*b.*)*(.*.)*!"),
        ("target_modules", "((a+)+)+$"),
        ("target_modules", "("),
        ("target_modules", "(a|b|ab)*c{2,}(.*)*x" * 40),
        ("exclude_modules", "(.*.*)+!"),
        ("layers_pattern", ["(x+x+)+y"]),
        ("rank_pattern", {"(q|.*)*z": 4}),
        ("alpha_pattern", {"(.+)+!": 4}),
        ("r", 10**9),
        ("r", "x"),
        ("r", -1),
        ("lora_alpha", "x"),
        ("target_modules", 5),
        ("target_modules", ["no_such_module"]),
        ("peft_type", "NO_SUCH_TYPE"),
        ("base_model_name_or_path", 5),
        ("task_type", "NO_SUCH_TASK"),
    ],
)
def test_an_odd_adapter_config_is_one_sentence_in_seconds(folder: Path, option: str, value: Any) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, option: value}))
    begun = time.monotonic()
    with pytest.raises(ModelError) as caught:
        load_causal_lm(str(folder), device="cpu")
    assert "\n" not in caught.value.sentence
    assert time.monotonic() - begun < 10


def test_the_patterns_that_people_use_are_run(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    usual = (
        r"(?:.*?(?:language|text)?.*?(?:self_attn|mlp).*?(?:q_proj|v_proj|down_proj).*?)"
        r"|(?:\bmodel\.layers\.[\d]{1,}\.self_attn\.(?:q_proj|v_proj))"
    )
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": usual}))
    load_causal_lm(str(folder), device="cpu")


@pytest.mark.parametrize("added", [8, -4])
def test_an_adapter_trained_with_other_rows_than_its_base_has_is_loaded_with_its_own(
    base: Path, tmp_path: Path, added: int
) -> None:
    loaded = load_causal_lm(str(base), device="cpu")
    rows = loaded.model.get_input_embeddings().weight.shape[0] + added
    loaded.model.resize_token_embeddings(rows)
    whole = ["embed_tokens", "lm_head"]
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=whole, task_type="CAUSAL_LM")
    adapted = get_peft_model(loaded.model, config)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    with torch.no_grad():
        adapted.get_input_embeddings().weight[-1] = 7.0
    adapted.save_pretrained(tmp_path / "adapter")
    again = load_causal_lm(str(tmp_path / "adapter"), device="cpu").model
    assert again.get_input_embeddings().weight.shape[0] == rows
    assert bool((again.get_input_embeddings().weight[-1] == 7.0).all())
