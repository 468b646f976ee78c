"""A model in training as the folder that vLLM reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rlaif.models.vllm.weights import write_for_vllm


def make(*, tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def read(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        part = load_file(path)
        assert not part.keys() & tensors.keys()
        tensors |= part
    return tensors


@pytest.mark.parametrize("tied", [False, True])
def test_the_folder_holds_every_weight_and_an_output_layer_of_its_own(tmp_path: Path, tied: bool) -> None:
    model = make(tied=tied)
    write_for_vllm(model, tmp_path, dtype="float32")
    found = read(tmp_path)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in model.state_dict().items())
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert model.config.tie_word_embeddings is tied, "the model itself is left as it was"


def test_weights_are_converted_in_the_folder_and_not_in_the_model(tmp_path: Path) -> None:
    model = make(tied=True)
    write_for_vllm(model, tmp_path, dtype="bfloat16")
    assert {tensor.dtype for tensor in read(tmp_path).values()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_what_is_not_tied_loads_again_as_the_same_model(tmp_path: Path) -> None:
    model = make(tied=False)
    write_for_vllm(model, tmp_path, dtype="float32")
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
