"""Adapters as folders: loaded with their base model, merged or not, written as peft writes them, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from families import build_family
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from rlaif.errors import ModelError
from rlaif.models.adapters import add_adapter, has_adapter, merge_adapter, save_adapter
from rlaif.models.loading import load_causal_lm, save_model
from rlaif.models.model_folder import find_model_folder

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
    change(folder, peft_type="IA3", modules_to_save=None)
    assert "of the kind IA3" in refusal(folder)
    change(folder, peft_type="LORA", base_model_name_or_path=None)
    assert "does not name its base model" in refusal(folder)
    change(folder, base_model_name_or_path=str(folder))
    assert "base model is an adapter too" in refusal(folder)
    (folder / "adapter_model.safetensors").unlink()
    assert "has no adapter_model.safetensors" in refusal(folder)


def test_where_a_whole_model_is_needed_an_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="holds an adapter, not a whole model"):
        find_model_folder(str(folder))
