"""Model folders as they are found: what loads, and what is refused in one sentence that names file and reason."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from families import build_family
from transformers import AddedToken, AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rlaif.errors import ModelError
from rlaif.models.weights.loading import LoadedModel, load_causal_lm, load_reward_model
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.models.weights.saving import check_saving, save_model


@pytest.fixture(scope="module")
def chatml(tmp_path_factory) -> Path:
    return build_family("chatml", tmp_path_factory.mktemp("chatml"))


@pytest.fixture
def folder(chatml, tmp_path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(chatml, tmp_path / "model"))


def refusal(folder: Path | str, load: Callable[..., LoadedModel] = load_causal_lm) -> str:
    with pytest.raises(ModelError) as caught:
        load(str(folder), device="cpu")
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.sentence
    assert caught.value.fix
    return caught.value.sentence


def change(path: Path, **values: Any) -> None:
    held = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**held, **values}))


@pytest.mark.parametrize(
    "values",
    [
        {"do_sample": False, "temperature": 0.6, "top_p": 0.9},
        {"num_beams": 1, "length_penalty": 0.5, "early_stopping": True},
        {"do_sample": False, "top_k": 5, "min_p": 0.1, "typical_p": 0.5},
        {"pad_token_id": -1},
        {"return_dict_in_generate": False, "output_scores": True},
        {"an_option_of_tomorrow": {"a": [1]}},
    ],
)
def test_a_generation_config_that_transformers_would_not_save_loads_and_is_saved(folder, tmp_path, values):
    change(folder / "generation_config.json", **values)
    loaded = load_causal_lm(str(folder), device="cpu")
    check_saving(loaded.model, loaded.tokenizer, where="m")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved")
    again = load_causal_lm(str(tmp_path / "saved"), device="cpu")
    assert again.encoder.stop_token_ids == loaded.encoder.stop_token_ids


def test_a_generation_config_that_can_be_saved_is_kept_as_it_came(folder, tmp_path):
    change(folder / "generation_config.json", do_sample=True, temperature=0.6, top_p=0.9)
    loaded = load_causal_lm(str(folder), device="cpu")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved")
    kept = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (kept["do_sample"], kept["temperature"], kept["top_p"]) == (True, 0.6, 0.9)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "hidden_size", "x"),
        ("config.json", "hidden_size", -1),
        ("config.json", "hidden_size", None),
        ("config.json", "num_attention_heads", 0),
        ("config.json", "num_key_value_heads", 3),
        ("config.json", "vocab_size", 0.5),
        ("config.json", "hidden_act", "no_such_function"),
        ("config.json", "model_type", "no_such_type"),
        ("config.json", "model_type", ["llama"]),
        ("config.json", "architectures", [None]),
        ("config.json", "dtype", [[1]]),
        ("config.json", "dtype", "float7"),
        ("config.json", "rope_parameters", {"rope_type": "no_such_type"}),
        ("config.json", "layer_types", ["no", "such"]),
        ("config.json", "num_hidden_layers", 1_000_000),
        ("config.json", "vocab_size", 10**9),
        ("config.json", "intermediate_size", 10**9),
        ("generation_config.json", "max_new_tokens", -5),
        ("generation_config.json", "eos_token_id", "x"),
        ("generation_config.json", "eos_token_id", [[1]]),
        ("generation_config.json", "eos_token_id", -3),
        ("generation_config.json", "eos_token_id", True),
        ("generation_config.json", "eos_token_id", {"a": 1}),
        ("tokenizer.json", "pre_tokenizer", {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
        ("tokenizer.json", "decoder", {"type": "NoSuchDecoder"}),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {}, "merges": []}),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {"a": -1}, "merges": []}),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {"a": 10**9}, "merges": []}),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {"a": "b"}, "merges": []}),
        ("tokenizer.json", "model", 5),
        ("tokenizer.json", "added_tokens", [{"id": 10**12, "content": "x"}]),
        ("tokenizer_config.json", "tokenizer_class", "NoSuchTokenizer"),
        ("tokenizer_config.json", "tokenizer_class", 5),
        ("tokenizer_config.json", "added_tokens_decoder", {"x": {}}),
        ("tokenizer_config.json", "model_max_length", "long"),
    ],
)  # fmt: skip
def test_an_odd_value_is_a_sentence_or_does_no_harm(folder, file, field, value):
    change(folder / file, **{field: value})
    if field in ("tokenizer_class", "added_tokens_decoder"):
        with suppress(ModelError):  # transformers reads some of them past the odd value
            load_causal_lm(str(folder), device="cpu")
        return
    refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize(
    "damage", ["empty", "not UTF-8", "a list", "deep", "a folder", "a pipe", "a dead link", "half"]
)
def test_a_file_that_is_none_is_named(folder, name, damage):
    path = folder / name
    text = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "not UTF-8":
            path.write_bytes(b"\xff\xfe\x00" * 9)
        case "a list":
            path.write_bytes(b"[1]")
        case "deep":
            path.write_bytes(b"[" * 100_000)
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a dead link":
            path.symlink_to("nowhere")
        case "half":
            path.write_bytes(text[: len(text) // 2])
    assert name in refusal(folder)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"model.embed_tokens.weight": "other.bin"}, "safetensors only"),
        ({"model.embed_tokens.weight": "../model/held.safetensors"}, "not a file of this folder"),
        ({"model.embed_tokens.weight": "/etc/held.safetensors"}, "not a file of this folder"),
        ({"model.embed_tokens.weight": "gone.safetensors"}, "lacks gone.safetensors"),
        ({"model.embed_tokens.weight": 5}, "safetensors only"),
        ({}, "names no weights"),
        ([], "names no weights"),
    ],
)
def test_an_index_names_safetensors_of_its_own_folder_and_nothing_else(folder, value, said):
    (folder / "model.safetensors").rename(folder / "held.safetensors")
    (folder / "other.bin").write_bytes(pickle.dumps({"a": 1}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": value}))
    assert said in refusal(folder)


def test_weights_in_several_files_load(folder, chatml):
    whole = load_causal_lm(str(chatml), device="cpu").model
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="50KB")
    assert (folder / "model.safetensors.index.json").exists()
    again = load_causal_lm(str(folder), device="cpu").model
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x01", struct.pack("<Q", 10**15) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 60) + b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}'.ljust(60),
        struct.pack("<Q", 9) + b'{"a": {}}',
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    assert "model.safetensors" in refusal(folder)


def test_weights_that_are_no_numbers_are_refused(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "no numbers" in refusal(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"quantization_config": {"quant_method": "awq", "bits": 4}},
        {"quantization_config": "words"},
        {"attn_implementation": "some-org/some-kernel"},
        {"_attn_implementation": "some-org/some-kernel@main"},
        {"experts_implementation": {"": "org/kernel"}},
        {"text_config": {"auto_map": {"AutoModel": "a.B"}}},
    ],
)
def test_what_asks_for_code_or_a_package_that_is_not_here_is_refused(folder, values):
    change(folder / "config.json", **values)
    refusal(folder)


@pytest.mark.parametrize("path", ["~nosuchuser/model", "a\0b", "", "/nowhere/at/all", "x" * 5000])
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises(ModelError):
        find_model_folder(path)


@pytest.mark.parametrize("outputs", [2, 5])
def test_a_reward_model_with_several_outputs_is_named_for_what_it_is(folder, outputs):
    config = AutoConfig.from_pretrained(folder, num_labels=outputs)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    assert f"the model has {outputs} outputs" in refusal(folder, load_reward_model)


def add_token(folder: Path, token: str, **more: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken(token, special=True)])
    for name, value in more.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)


def test_a_padding_token_that_the_embeddings_lack_is_accepted_and_never_fed(folder):
    add_token(folder, "[PAD]", pad_token="[PAD]")
    loaded = load_causal_lm(str(folder), device="cpu")
    assert loaded.encoder.pad_token_id < loaded.model.get_input_embeddings().weight.shape[0]
    assert loaded.tokenizer.pad_token_id not in loaded.encoder.encode_response("[PAD]")
    from rlaif.reward_model.model import compute_rewards, make_reward_model

    assert compute_rewards(make_reward_model(loaded, seed=0), [[1, 2], [3]]).isfinite().all()


def test_another_token_that_the_embeddings_lack_is_named_with_the_way_out(folder):
    add_token(folder, "<|tool|>")
    said = refusal(folder)
    assert "<|tool|>" in said
    assert "resize_token_embeddings" in said
