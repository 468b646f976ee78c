"""Model folders: what loads, what is refused in one sentence, and that saving gives the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import CHAT_FAMILIES, SIMPLE_TEMPLATE, build_family
from transformers import AutoConfig, AutoModelForSequenceClassification

from rlaif.errors import ModelError
from rlaif.models.weights.loading import load_causal_lm, load_reward_model, resolve_device
from rlaif.models.weights.saving import save_model, write_model
from rlaif.records import Segment, SegmentedMessage


@pytest.fixture(scope="module")
def llama3(tmp_path_factory) -> Path:
    return build_family("llama3", tmp_path_factory.mktemp("llama3"))


@pytest.fixture
def folder(llama3, tmp_path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(llama3, tmp_path / "model"))


def refusal(folder: Path | str, **options) -> str:
    with pytest.raises(ModelError) as caught:
        load_causal_lm(str(folder), device="cpu", **options)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("name", CHAT_FAMILIES)
def test_every_family_loads_and_reads_a_chat(name, tmp_path):
    loaded = load_causal_lm(str(build_family(name, tmp_path)), device="cpu")
    ids = loaded.encoder.encode([SegmentedMessage("user", (Segment("Hello", False),))])
    logits = loaded.model(torch.tensor([ids])).logits
    assert logits.shape == (1, len(ids), len(loaded.tokenizer))
    assert not loaded.model.training


def test_stop_tokens_of_the_generation_config_are_read(llama3):
    loaded = load_causal_lm(str(llama3), device="cpu")
    names = loaded.tokenizer.convert_ids_to_tokens(loaded.encoder.stop_token_ids)
    assert set(names) == {"<|eot_id|>", "<|end_of_text|>"}


def test_a_model_without_chat_template_is_refused_until_one_is_added(tmp_path):
    build_family("byte_bpe_no_template", tmp_path)
    sentence = refusal(tmp_path)
    assert "no chat template" in sentence
    assert "chat_template.jinja" in sentence
    (tmp_path / "chat_template.jinja").write_text(SIMPLE_TEMPLATE)
    assert load_causal_lm(str(tmp_path), device="cpu").encoder.encode_response("hi")


def test_a_folder_that_does_not_exist_is_refused():
    assert "does not exist" in refusal("/nowhere/at/all")
    assert "does not exist" in refusal("./nowhere")


def test_a_file_is_no_model(folder):
    assert "is a file, not a folder" in refusal(folder / "config.json")


def test_a_revision_of_a_folder_is_refused(folder):
    assert "has no meaning for a folder" in refusal(folder, revision="main")


def test_a_folder_without_config_is_refused(folder):
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)


def test_a_folder_without_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "only pickled weights (pytorch_model.bin)" in refusal(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert "no weights (*.safetensors)" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_custom_code_is_refused_and_not_run(folder, name):
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Evil: pass\n")
    fields = json.loads((folder / name).read_text())
    fields["auto_map"] = {"AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (folder / name).write_text(json.dumps(fields))
    assert "asks to run code" in refusal(folder)
    assert not (folder / "ran").exists()


def test_a_broken_config_is_refused(folder):
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refusal(folder)


def test_broken_weights_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    assert "not a whole safetensors file" in refusal(folder)


@pytest.mark.parametrize("text", ["{}", '"words"', '{"model": '])
def test_a_broken_tokenizer_is_refused(folder, text):
    (folder / "tokenizer.json").write_text(text)
    assert "tokenizer.json" in refusal(folder)


def test_weights_that_lack_a_tensor_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "the weights lack model.layers.2." in refusal(folder)


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))
    assert "cannot be loaded" in refusal(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(folder, tmp_path):
    other = build_family("gemma", tmp_path / "gemma")
    shutil.copy(other / "tokenizer.json", folder)
    assert "tokens, the model only" in refusal(folder)


def test_an_unknown_dtype_or_device_is_refused(folder):
    assert 'no dtype "int8"' in refusal(folder, dtype="int8")
    with pytest.raises(ModelError, match='no device "tpu9"'):
        resolve_device("tpu9")
    with pytest.raises(ModelError, match='this machine has no device "cuda:99"'):
        resolve_device("cuda:99")
    assert resolve_device("cpu") == torch.device("cpu")


def test_the_fingerprint_names_bytes_and_not_places(llama3, folder):
    first, second = (load_causal_lm(str(path), device="cpu").fingerprint for path in (llama3, folder))
    assert first.id == second.id
    assert second.observed.name == str(folder)


def test_the_fingerprint_changes_with_weights_tokenizer_template_and_dtype(folder):
    before = load_causal_lm(str(folder), device="cpu")
    ids = {before.fingerprint.id, load_causal_lm(str(folder), device="cpu", dtype="bfloat16").fingerprint.id}
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + "{# changed #}")
    ids.add(load_causal_lm(str(folder), device="cpu").fingerprint.id)
    with torch.no_grad():
        next(before.model.parameters())[0, 0] += 1
    write_model(before.model, before.tokenizer, folder)
    ids.add(load_causal_lm(str(folder), device="cpu").fingerprint.id)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"][0]["rstrip"] = True
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    ids.add(load_causal_lm(str(folder), device="cpu").fingerprint.id)
    assert len(ids) == 5


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_saving_gives_the_same_bytes_wherever_and_whenever(llama3, tmp_path):
    loaded = load_causal_lm(str(llama3), device="cpu")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "a")
    loaded.tokenizer.backend_tokenizer.enable_padding(length=4)
    loaded.tokenizer.backend_tokenizer.enable_truncation(2)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "b")
    again = load_causal_lm(str(tmp_path / "b"), device="cpu")
    save_model(again.model, again.tokenizer, tmp_path / "c")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b") == files_of(tmp_path / "c")
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= set(
        files_of(tmp_path / "a")
    )


@pytest.mark.parametrize("name", ["gemma", "chatml"])
def test_saving_in_bfloat16_halves_the_file_and_leaves_the_model_alone(name, tmp_path):
    loaded = load_causal_lm(str(build_family(name, tmp_path / name)), device="cpu")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "half", dtype="bfloat16")
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in (name, "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.55
    assert loaded.model.dtype == torch.float32
    assert AutoConfig.from_pretrained(tmp_path / "half").dtype == torch.bfloat16
    again = load_causal_lm(str(tmp_path / "half"), device="cpu")
    for (_, mine), (_, theirs) in zip(loaded.model.state_dict().items(), again.model.state_dict().items(), strict=True):
        assert torch.equal(mine.bfloat16().float(), theirs)


def test_saving_replaces_a_folder_as_a_whole(llama3, tmp_path):
    loaded = load_causal_lm(str(llama3), device="cpu")
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.safetensors").touch()
    save_model(loaded.model, loaded.tokenizer, out)
    assert not (out / "old.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "notes.txt").write_text("mine")
    save_model(loaded.model, loaded.tokenizer, out)
    assert not (out / "notes.txt").exists()
    assert (tmp_path / "out.kept-1" / "notes.txt").read_text() == "mine"


def test_a_chat_model_is_no_reward_model(llama3):
    with pytest.raises(ModelError, match=r"the weights lack score.weight .*: train a reward model first"):
        load_reward_model(str(llama3), device="cpu")


def test_a_reward_model_loads_with_its_head(llama3, tmp_path):
    chat = load_causal_lm(str(llama3), device="cpu")
    config = AutoConfig.from_pretrained(llama3, num_labels=1)
    head = AutoModelForSequenceClassification.from_config(config)
    save_model(head, chat.tokenizer, tmp_path / "rm")
    loaded = load_reward_model(str(tmp_path / "rm"), device="cpu")
    assert torch.equal(loaded.model.score.weight, head.score.weight)
    assert loaded.encoder.encode_response("hi") == chat.encoder.encode_response("hi")


HUB_SCRIPT = """
import json
from rlaif.errors import ModelError
from rlaif.models.weights.model_folder import digest_folder, find_model_folder
found = find_model_folder("someone/tiny")
try:
    find_model_folder("someone/absent")
except ModelError as error:
    print(json.dumps([found.path, digest_folder(found).weights, error.sentence]))
"""


def test_a_hub_model_is_named_by_its_commit_and_a_missing_one_is_refused(llama3, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(llama3, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    path, weights, sentence = json.loads(done.stdout)
    assert (path, weights) == ("someone/tiny", commit)
    assert 'there is no folder "someone/absent"' in sentence


def test_loading_and_saving_are_silent(llama3, tmp_path, capfd):
    loaded = load_causal_lm(str(llama3), device="cpu")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "out")
    assert capfd.readouterr() == ("", "")
