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
from rlaif.models.weights.weights_header import INDEX, WEIGHTS, Shapes, check_sizes, read_all_shapes
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
_READ = (".json", ".jinja", ".txt", ".model", ".safetensors")
"""Endings of the files that are read from a model's folder."""
_LARGEST_JSON = 1 << 29
_LARGEST_ID = 1 << 26
"""Bytes of a JSON file, and a token's number, beyond which no model of today comes near."""
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
        return (self.folder / ADAPTER_CONFIG).is_file() and not has_whole_weights(self.folder)


def find_model_folder(path: str, *, revision: str | None = None, adapters: bool = False) -> ModelFolder:
    """The folder of a path, or of a hub id after fetching it; refused unless it can hold a model.

    adapters: allow a peft adapter.
    """
    folder = expand_path(path)
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
    _check_files(found)
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


def expand_path(path: str) -> Path:
    """A path with its ~ replaced by the folder of that user."""
    try:
        folder = Path(path).expanduser()
        folder.exists()  # refuses a path that the system cannot ask for
    except (RuntimeError, ValueError) as cause:
        raise ModelError(
            "there is no such path", where=path.replace("\0", "\\0"), fix="give an existing folder or a hub id"
        ) from cause
    except OSError as cause:
        raise ModelError(
            f"the model folder cannot be reached: {cause.strerror}", where=path, fix="check its path and permissions"
        ) from cause
    return folder


def has_whole_weights(folder: Path) -> bool:
    """Whether a folder has the weights of a whole model, in one file or in several by an index."""
    return (folder / WEIGHTS).exists() or (folder / INDEX).exists()


def check_model_path(path: str, *, revision: str | None = None, adapters: bool = False) -> None:
    """Refuse what `find_model_folder` refuses, as far as this is known without asking the hub."""
    if expand_path(path).exists() or not _HUB_ID.fullmatch(path):
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


def _check_files(found: ModelFolder) -> None:
    """Whatever is named as a file that is read can be read: no pipe, no broken link, no folder."""
    try:
        odd = [path for path in sorted(found.folder.iterdir()) if path.suffix in _READ and not path.is_file()]
    except OSError as cause:
        raise ModelError(
            f"the model folder cannot be read: {cause.strerror}", where=found.path, fix="check its permissions"
        ) from cause
    if odd:
        kind = "a folder" if odd[0].is_dir() else "a link that leads nowhere" if odd[0].is_symlink() else "no file"
        raise ModelError(
            f"{odd[0].name} in the model folder is {kind}", where=found.path, fix="fetch or save the model again"
        )


def _check(found: ModelFolder) -> None:
    folder, where = found.folder, found.path
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the model folder has no config.json",
            where=where,
            fix="give the folder that `save_pretrained` wrote",
        )
    config = read_json(folder / "config.json")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            _check_no_code(name, read_json(folder / name), where=where)
    check_sizes(config, shapes_of(found), where=where)
    if (folder / "tokenizer.json").is_file():
        _check_vocabulary(read_json(folder / "tokenizer.json"), where=where)
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ModelError(
            "the model folder has no tokenizer",
            where=where,
            fix="save the model's tokenizer into it, tokenizer.json",
        )


def shapes_of(found: ModelFolder) -> Shapes:
    """Names and shapes of a whole model's tensors; refuses weights that are not safetensors, or not all there."""
    folder, where = found.folder, found.path
    if not any(folder.glob("*.safetensors")) and not (folder / INDEX).is_file():
        pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        what = f"only pickled weights ({pickled[0]})" if pickled else "no weights (*.safetensors)"
        raise ModelError(
            f"the model folder has {what}",
            where=where,
            fix="save the model with `save_pretrained` as safetensors",
        )
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"the folder holds a whole model and an adapter ({ADAPTER_CONFIG})",
            where=where,
            fix="move one of them to a folder of its own",
        )
    single = (folder / WEIGHTS).is_file()
    index = None if single or not (folder / INDEX).is_file() else read_json(folder / INDEX)
    return read_all_shapes(folder, where=where, index=index)


def _check_no_code(name: str, value: Any, *, where: str) -> None:
    """Refuse a config that asks for code, wherever it does so: classes of its own, or kernels of the hub."""
    if isinstance(value, list):
        for item in value:
            _check_no_code(name, item, where=where)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "auto_map" and item:
            raise ModelError(
                f"{name} asks to run code that comes with the model (auto_map)",
                where=where,
                fix="use a model whose architecture is part of transformers",
            )
        if key.endswith("implementation") and "/" in json.dumps(item):
            raise ModelError(
                f"{name} asks for a kernel from the hub ({key}: {item}), which is code",
                where=where,
                fix=f"remove {key} from {name}",
            )
        _check_no_code(name, item, where=where)


def _check_vocabulary(tokenizer: dict[str, Any], *, where: str) -> None:
    """Refuse a tokenizer without tokens, or with numbers of tokens that are none."""
    again = "save the model's tokenizer into the folder again"
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ModelError("tokenizer.json is not a tokenizer", where=where, fix=again)
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict | list) or not vocabulary:
        raise ModelError("tokenizer.json has no vocabulary (model.vocab)", where=where, fix=again)
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    added = tokenizer.get("added_tokens")
    numbers += [token.get("id") for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    odd = [number for number in numbers if type(number) is not int or not 0 <= number < _LARGEST_ID]
    if odd:
        raise ModelError(
            f"tokenizer.json gives a token the number {json.dumps(odd[0])[:40]}, which can be none",
            where=where,
            fix=again,
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError("the file is too large for one of a model", where=str(path), fix="fetch the model again")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise ModelError(
            f"the file cannot be read: {cause.strerror}", where=str(path), fix="check its permissions"
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
            try:
                with path.open("rb") as file:
                    lines.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
            except OSError as cause:
                raise ModelError(
                    f"the file cannot be read: {cause.strerror}", where=str(path), fix="check its permissions"
                ) from cause
    return digest_text("".join(lines))
