"""Model folders and hub ids -> models ready to use; trained models -> folders, with the same bytes each time.

Reads safetensors only and never runs custom code. A model comes with its encoder and its fingerprint. Does not train.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlaif.errors import ModelError
from rlaif.files.atomic import replace_directory
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.model_folder import (
    ADAPTER_CONFIG,
    TOKENIZER_FILES,
    ModelFolder,
    digest_folder,
    find_model_folder,
    read_json,
)
from rlaif.records import Model, ModelObserved, digest_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16")


class LoadedModel(NamedTuple):
    """A model on its device, in eval mode, and what is needed to talk to it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    encoder: PromptEncoder
    fingerprint: Model
    path: str
    """Folder or hub id as the user gave it."""
    folder: Path
    """Folder on this machine that holds its files."""


def load_causal_lm(
    path: str, *, revision: str | None = None, dtype: str = "float32", device: str = "auto", merge: bool = True
) -> LoadedModel:
    """A chat model: policy or judge.

    A folder with a peft adapter gives its base model with the adapter, which is merged into the weights unless `merge`
    is False.
    """
    from transformers import AutoModelForCausalLM

    found = find_model_folder(path, revision=revision, adapters=True)
    if found.is_adapter:
        return _load_adapter(found, dtype=dtype, device=device, merge=merge)
    return _load(AutoModelForCausalLM, path, revision=revision, dtype=dtype, device=device, options={})


def _load_adapter(found: ModelFolder, *, dtype: str, device: str, merge: bool) -> LoadedModel:
    """A base model, found by the name that its adapter's config gives it, with the adapter."""
    from rlaif.models.weights.adapters import load_adapter

    base_path = base_of_adapter(found)
    revision = None if Path(base_path).is_dir() else read_json(found.folder / ADAPTER_CONFIG).get("revision")
    if find_model_folder(base_path, revision=revision, adapters=True).is_adapter:
        raise ModelError("the adapter's base model is an adapter too", where=found.path, fix="merge that one first")
    base = load_causal_lm(base_path, revision=revision, dtype=dtype, device=device)
    tokenizer, encoder = base.tokenizer, base.encoder
    if any((found.folder / name).is_file() for name in TOKENIZER_FILES):
        tokenizer = load_tokenizer(found)
        encoder = PromptEncoder(tokenizer, stop_token_ids=list(base.encoder.stop_token_ids))
    own = fingerprint(found, tokenizer=tokenizer, dtype=dtype)
    weights = digest_text(f"adapter\n{own.weights}\n{base.fingerprint.weights}")
    return LoadedModel(
        model=load_adapter(base.model, found.folder, where=found.path, merge=merge),
        tokenizer=tokenizer,
        encoder=encoder,
        fingerprint=own.model_copy(update={"weights": weights}),
        path=found.path,
        folder=found.folder,
    )


def base_of_adapter(found: ModelFolder) -> str:
    """Path or hub id of an adapter's base model.

    A relative path is taken from the working directory if a model is there, else from the adapter's folder.
    """
    base = read_json(found.folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(
            "the adapter does not name its base model", where=found.path, fix="set base_model_name_or_path"
        )
    beside = found.folder / base
    is_here = any((Path(base) / name).is_file() for name in ("config.json", ADAPTER_CONFIG))
    return str(beside) if not is_here and beside.is_dir() else base


def load_reward_model(
    path: str, *, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> LoadedModel:
    """A trained reward model: a sequence classifier with one label, whose raw logit is the reward."""
    from transformers import AutoModelForSequenceClassification

    return _load(
        AutoModelForSequenceClassification, path, revision=revision, dtype=dtype, device=device,
        options={"num_labels": 1},
    )  # fmt: skip


def _load(
    auto_class: Any, path: str, *, revision: str | None, dtype: str, device: str, options: dict[str, Any]
) -> LoadedModel:
    import torch
    from safetensors import SafetensorError

    if dtype not in DTYPES:
        raise ModelError(f'there is no dtype "{dtype}"', where=path, fix=f"use one of {', '.join(DTYPES)}")
    target = resolve_device(device)
    found = find_model_folder(path, revision=revision)
    tokenizer = load_tokenizer(found)
    try:
        with quiet_transformers():
            model, report = auto_class.from_pretrained(
                str(found.folder),
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as cause:
        raise ModelError(
            f"the model cannot be loaded: {_first_line(cause)}",
            where=path,
            fix="check that the folder is complete",
        ) from cause
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights lack {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            where=path,
            fix="train a reward model first" if "num_labels" in options else "fetch or save the model again",
        )
    num_rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > num_rows:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens, the model only {num_rows}",
            where=path,
            fix="put the tokenizer that belongs to the model into the folder",
        )
    ends = getattr(model, "generation_config", None) or model.config
    encoder = PromptEncoder(tokenizer, stop_token_ids=stop_token_ids(ends))
    return LoadedModel(
        model=model.to(target).eval(),
        tokenizer=tokenizer,
        encoder=encoder,
        fingerprint=fingerprint(found, tokenizer=tokenizer, dtype=dtype),
        path=path,
        folder=found.folder,
    )


def load_tokenizer(found: ModelFolder) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder, named in messages by the path that the user gave."""
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                str(found.folder), trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, ImportError, KeyError, AttributeError, TypeError) as cause:
        raise ModelError(
            f"the tokenizer cannot be loaded: {_first_line(cause)}",
            where=found.path,
            fix="save the model's tokenizer into the folder, tokenizer.json",
        ) from cause
    tokenizer.name_or_path = found.path
    for how_it_was_loaded in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(how_it_was_loaded, None)
    return tokenizer


def fingerprint(found: ModelFolder, *, tokenizer: PreTrainedTokenizerBase, dtype: str) -> Model:
    """The record that identifies a model."""
    digests = digest_folder(found)
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    return Model(
        engine="transformers",
        weights=digests.weights,
        tokenizer=digests.tokenizer,
        chat_template=digest_text(template),
        dtype=dtype,
        observed=ModelObserved(name=found.path),
    )


def resolve_device(device: str) -> torch.device:
    """The device of that name; `auto` is the first of cuda, mps and cpu that this machine has."""
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(kind for kind, here in has.items() if here))
    try:
        wanted = torch.device(device)
    except RuntimeError as cause:
        raise ModelError(f'there is no device "{device}"', fix="use cpu, cuda, cuda:1, mps or auto") from cause
    if not has.get(wanted.type, False) or (wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count()):
        raise ModelError(f'this machine has no device "{device}"', fix="use auto, or run `rlaif doctor`")
    return wanted


def free_memory() -> None:
    """Give back the memory of models that nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out_dir: str | Path,
    *,
    dtype: str | None = None,
) -> None:
    """Write the model's folder atomically: it is there complete, or not at all."""
    with replace_directory(Path(out_dir)) as folder:
        write_model(model, tokenizer, folder, dtype=dtype)


def write_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, dtype: str | None = None
) -> None:
    """Write weights, configs, tokenizer and chat template into an existing folder; `dtype` converts the weights."""
    import torch

    state = None
    if dtype is not None:
        converted: dict[int, torch.Tensor] = {}  # tied weights stay one tensor
        state = {
            name: converted.setdefault(tensor.data_ptr(), tensor.detach().to(getattr(torch, dtype)))
            for name, tensor in model.state_dict().items()
        }
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=state)
        # Padding and truncation of the last call do not belong to the tokenizer.
        if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
            backend.no_padding()
            backend.no_truncation()
        tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # safetensors makes them readable for their owner alone
    if dtype is not None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["dtype"] = dtype
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Turn off progress bars and warnings of transformers: errors are raised anyway."""
    from transformers.utils import logging

    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def stop_token_ids(config: Any) -> list[int]:
    """End-of-sequence tokens of a generation config, or of a model's config where there is none."""
    eos = getattr(config, "eos_token_id", None)
    return [] if eos is None else [eos] if isinstance(eos, int) else list(eos)


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip() or type(cause).__name__).split("\n", 1)[0]
