"""Model folders and hub ids -> models ready to use.

Reads safetensors only and never runs custom code. A model comes with its encoder and its fingerprint, and has been run
once. Neither trains nor saves.
"""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlaif.errors import ModelError
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.model_folder import (
    ADAPTER_CONFIG,
    TOKENIZER_FILES,
    ModelFolder,
    digest_folder,
    expand_path,
    find_model_folder,
    read_json,
    shapes_of,
)
from rlaif.models.weights.reading import reading
from rlaif.models.weights.saving import make_savable
from rlaif.records import Model, ModelObserved, digest_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_INCOMPLETE = "check that the folder is complete and that its files belong together"
_HEADS = ("score.", "classifier.out_proj.")
"""How the names of a sequence classifier's last layer begin."""
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
    revision = None if expand_path(base_path).is_dir() else read_json(found.folder / ADAPTER_CONFIG).get("revision")
    if find_model_folder(base_path, revision=revision, adapters=True).is_adapter:
        raise ModelError("the adapter's base model is an adapter too", where=found.path, fix="merge that one first")
    base = load_causal_lm(base_path, revision=revision, dtype=dtype, device=device)
    tokenizer, encoder = base.tokenizer, base.encoder
    model = load_adapter(base.model, found.folder, where=found.path, merge=merge)
    if any((found.folder / name).is_file() for name in TOKENIZER_FILES):
        tokenizer = load_tokenizer(found)
        num_rows = count_rows(model)
        check_rows(tokenizer, num_rows, where=found.path)
        encoder = PromptEncoder(tokenizer, stop_token_ids=list(base.encoder.stop_token_ids), num_rows=num_rows)
    own = fingerprint(found, tokenizer=tokenizer, dtype=dtype)
    weights = digest_text(f"adapter\n{own.weights}\n{base.fingerprint.weights}")
    return LoadedModel(
        model=model,
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

    _check_head(find_model_folder(path, revision=revision))
    return _load(
        AutoModelForSequenceClassification, path, revision=revision, dtype=dtype, device=device,
        options={"num_labels": 1},
    )  # fmt: skip


def _check_head(found: ModelFolder) -> None:
    """Refuse a sequence classifier with another number of outputs than one."""
    for name, shape in shapes_of(found).items():
        if name.startswith(_HEADS) and name.endswith("weight") and len(shape) == 2 and shape[0] != 1:
            raise ModelError(
                f"the model has {shape[0]} outputs ({name}), a reward model has one",
                where=found.path,
                fix="name a reward model that was trained with num_labels=1",
            )


def _load(
    auto_class: Any, path: str, *, revision: str | None, dtype: str, device: str, options: dict[str, Any]
) -> LoadedModel:
    import torch

    if dtype not in DTYPES:
        raise ModelError(f'there is no dtype "{dtype}"', where=path, fix=f"use one of {', '.join(DTYPES)}")
    target = resolve_device(device)
    found = find_model_folder(path, revision=revision)
    tokenizer = load_tokenizer(found)
    config = read_config(found, **options)
    read_generation_config(found)  # refused by its own name
    with reading("the model cannot be loaded", where=path, fix=_INCOMPLETE):
        _check_size(auto_class, config, found)
        model, report = auto_class.from_pretrained(
            str(found.folder),
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights lack {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            where=path,
            fix="train a reward model first" if "num_labels" in options else "fetch or save the model again",
        )
    num_rows = count_rows(model)
    check_rows(tokenizer, num_rows, where=path)
    make_savable(model)
    model = model.to(target).eval()
    _check_numbers(model, where=path)
    ends = getattr(model, "generation_config", None) or model.config
    encoder = PromptEncoder(tokenizer, stop_token_ids=stop_token_ids(ends, where=path), num_rows=num_rows)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        encoder=encoder,
        fingerprint=fingerprint(found, tokenizer=tokenizer, dtype=dtype),
        path=path,
        folder=found.folder,
    )


def read_config(found: ModelFolder, **options: Any) -> Any:
    """The config in a model's folder, as transformers reads it, with other values for some options."""
    from transformers import AutoConfig

    with reading("config.json cannot be used", where=found.path, fix=_INCOMPLETE):
        config = AutoConfig.from_pretrained(
            str(found.folder), trust_remote_code=False, local_files_only=True, **options
        )
        text = config.get_text_config()
        pad, num_rows = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
        if isinstance(pad, int) and isinstance(num_rows, int) and pad >= num_rows:
            config.pad_token_id = text.pad_token_id = None  # it is never fed, and torch would refuse it
    return config


def read_generation_config(found: ModelFolder) -> Any:
    """The generation config in a model's folder; None where it has none."""
    from transformers import GenerationConfig

    if not (found.folder / "generation_config.json").is_file():
        return None
    with reading("generation_config.json cannot be used", where=found.path, fix="correct the file, or remove it"):
        return GenerationConfig.from_pretrained(str(found.folder), local_files_only=True)


def _check_size(auto_class: Any, config: Any, found: ModelFolder) -> None:
    """Refuse a config that describes a model much larger than its weights, before any memory is taken for it."""
    import torch

    shapes = shapes_of(found)
    if getattr(config, "quantization_config", None) is not None:
        return  # packed weights have fewer numbers than the model
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        described = sum(weight.numel() for weight in auto_class.from_config(config).parameters())
    held = sum(math.prod(shape) for shape in shapes.values())
    if described > 3 * held + 1_000_000:
        raise ModelError(
            f"config.json describes a model of {described:,} numbers, and the weights hold {held:,}",
            where=found.path,
            fix="put the config.json that belongs to the weights into the folder",
        )


def count_rows(model: PreTrainedModel) -> int:
    """Rows of a model's embeddings: the tokens that it can be fed."""
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def check_rows(tokenizer: PreTrainedTokenizerBase, num_rows: int, *, where: str) -> None:
    """Refuse a tokenizer with tokens that the model has no row for; a padding token is never fed, so it may be one."""
    beyond = sorted(token for token in tokenizer.get_vocab().values() if token >= num_rows)
    if beyond and beyond != [tokenizer.pad_token_id]:
        names = ", ".join(map(str, tokenizer.convert_ids_to_tokens(beyond[:3])))
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens, the model only {num_rows}: it has no row for {names}"
            + (f" and {len(beyond) - 3} more" if len(beyond) > 3 else ""),
            where=where,
            fix="put the tokenizer that belongs to the model into the folder, or save the model after"
            f" resize_token_embeddings({len(tokenizer)})",
        )


def _check_numbers(model: PreTrainedModel, *, where: str) -> None:
    """Run the model on its first tokens, so that what cannot be run or has broken weights is refused at once."""
    import torch

    num_tokens = min(4, count_rows(model))
    with reading("the model cannot be run", where=where, fix=_INCOMPLETE), torch.no_grad():
        logits = model(input_ids=torch.arange(num_tokens, device=model.device)[None], use_cache=False).logits
        is_finite = bool(torch.isfinite(logits).all())
    if not is_finite:
        raise ModelError(
            "the model's outputs are no numbers (NaN or infinite)",
            where=where,
            fix="fetch the weights again, or load them as float32",
        )


def load_tokenizer(found: ModelFolder) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder, named in messages by the path that the user gave."""
    from transformers import AutoTokenizer

    with reading(
        "the tokenizer cannot be loaded",
        where=found.path,
        fix="save the model's tokenizer into the folder, tokenizer.json",
    ):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(found.folder), trust_remote_code=False, local_files_only=True
        )
        tokenizer("a")  # settings that do not fit are met only here
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


def stop_token_ids(config: Any, *, where: str) -> list[int]:
    """End-of-sequence tokens of a generation config, or of a model's config where there is none."""
    eos = getattr(config, "eos_token_id", None)
    ids = [] if eos is None else list(eos) if isinstance(eos, list | tuple) else [eos]
    odd = [token for token in ids if type(token) is not int or token < 0]
    if odd:
        raise ModelError(
            f"eos_token_id is {eos!r}, and a token is a whole number from 0",
            where=where,
            fix="correct eos_token_id in generation_config.json, or in config.json where there is no such file",
        )
    return ids
