"""A path or hub id -> a checked model folder and the digests of what is in it.

Refuses what cannot be used or should not be run (custom code, pickled weights) before anything is loaded.
Does not import torch and does not load models.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import ModelError
from rlaif.records import digest_text

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "tekken.json",
)  # fmt: skip
"""The files that a tokenizer is read from; the chat template has a separate digest."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "tokenizer.model", "tekken.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})?")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of a peft adapter's folder."""
_HUB_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors", "*.md")


class ModelFolder(NamedTuple):
    """A folder on this machine that can be loaded."""

    path: str
    """Path or hub id as the user gave it."""
    folder: Path
    commit: str | None
    """The commit of a hub model; None for a folder."""

    @property
    def is_adapter(self) -> bool:
        """True where it holds a peft adapter, which needs a base model, and no whole model."""
        return (self.folder / ADAPTER_CONFIG).is_file() and not (self.folder / "config.json").is_file()


def expand_home(path: str) -> Path:
    """The path with a leading ~ or ~user replaced by that home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ModelError("there is no such home folder", where=path, fix="write the whole path") from error


def find_model_folder(path: str, *, revision: str | None = None, adapters: bool = False) -> ModelFolder:
    """The folder of a path, or of a hub id after fetching it; refused unless it can hold a model.

    adapters: allow a peft adapter.
    """
    folder = expand_home(path)
    if folder.is_dir():
        if revision is not None:
            raise ModelError(
                f'the revision "{revision}" has no meaning for a folder', where=path, fix="leave revision out"
            )
        found = ModelFolder(path, folder, None)
    elif folder.exists():
        raise ModelError("the model is a file, not a folder", where=path, fix="give the folder that holds config.json")
    elif not _HUB_ID.fullmatch(path):
        raise ModelError(
            "the model folder does not exist",
            where=path,
            fix="give an existing folder or a hub id such as owner/name",
        )
    else:
        found = _fetch(path, revision=revision)
    if not found.is_adapter:
        _check(found)
    elif not adapters:
        raise ModelError(
            "the folder holds an adapter, not a whole model",
            where=path,
            fix="merge it into its base model first; only `engine: transformers` loads a policy from its adapter",
        )
    elif not (found.folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"the adapter has no {ADAPTER_WEIGHTS}", where=path, fix="save the adapter as safetensors")
    return found


def check_model_path(path: str, *, revision: str | None = None, adapters: bool = False) -> None:
    """Refuse what `find_model_folder` refuses, as far as this is known without asking the hub."""
    if expand_home(path).exists() or not _HUB_ID.fullmatch(path):
        find_model_folder(path, revision=revision, adapters=adapters)


def _fetch(hub_id: str, *, revision: str | None) -> ModelFolder:
    """A hub model's folder, after downloading what the cache lacks; the folder is named by its commit."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionResolutionError

    try:
        folder = Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=list(_HUB_FILES), ignore_patterns=["*/*"])
        )
    except (OSError, ValueError, httpx.HTTPError, RevisionResolutionError) as cause:
        at = f" at revision {revision}" if revision else ""
        reason = str(cause).strip().split("\n", 1)[0]
        raise ModelError(
            f'there is no folder "{hub_id}", and the hub gave no such model{at} ({type(cause).__name__}: {reason})',
            fix="check the name, the network, and your access to the model",
        ) from cause
    return ModelFolder(hub_id, folder, folder.name)


def _check(found: ModelFolder) -> None:
    folder, where = found.folder, found.path
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the model folder has no config.json",
            where=where,
            fix="give the folder that `save_pretrained` wrote",
        )
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in read_json(folder / name):
            raise ModelError(
                f"{name} asks to run code that comes with the model (auto_map)",
                where=where,
                fix="use a model whose architecture is part of transformers",
            )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        what = f"only pickled weights ({pickled[0]})" if pickled else "no weights (*.safetensors)"
        raise ModelError(
            f"the model folder has {what}",
            where=where,
            fix="save the model with `save_pretrained` as safetensors",
        )
    if (folder / "tokenizer.json").is_file() and "model" not in read_json(folder / "tokenizer.json"):
        raise ModelError(
            "tokenizer.json is not a tokenizer",
            where=where,
            fix="save the model's tokenizer into the folder again",
        )
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ModelError(
            "the model folder has no tokenizer",
            where=where,
            fix="save the model's tokenizer into it, tokenizer.json",
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as cause:
        raise ModelError(
            f"the file cannot be read: {cause.strerror or cause}", where=str(path), fix="fetch the model again"
        ) from cause
    except (ValueError, RecursionError) as cause:
        raise ModelError("the file is not valid JSON", where=str(path), fix="fetch the model again") from cause
    if not isinstance(value, dict):
        raise ModelError("the file is not a JSON object", where=str(path), fix="fetch the model again")
    return value


class FolderDigests(NamedTuple):
    """Digests of a model folder's weights and of its tokenizer."""

    weights: str
    """Hub commit, or digest of the weights and the configs that say how to run them."""
    tokenizer: str


def digest_folder(found: ModelFolder) -> FolderDigests:
    """The digests that identify a model. Reads all of the weights, unless a commit identifies them."""
    tokenizer = _digest_files(found.folder / name for name in TOKENIZER_FILES)
    if found.commit is not None:
        return FolderDigests(found.commit, tokenizer)
    weights = sorted(found.folder.glob("*.safetensors"))
    configs = [found.folder / name for name in ("config.json", "generation_config.json", ADAPTER_CONFIG)]
    return FolderDigests(_digest_files([*weights, *configs]), tokenizer)


def _digest_files(paths: Iterable[Path]) -> str:
    """sha256 over the names and the sha256 of those files that exist."""
    lines = []
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                lines.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
    return digest_text("".join(lines))
