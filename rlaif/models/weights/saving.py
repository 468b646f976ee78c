"""Trained models -> folders, with the same bytes each time; and, before any training, whether that will succeed."""

from __future__ import annotations

import copy
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.files.atomic import replace_directory
from rlaif.models.weights.reading import quiet_transformers, reading

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


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
    _write(model, tokenizer, folder, state=state)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # safetensors makes them readable for their owner alone
    if dtype is not None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["dtype"] = dtype
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")


def check_saving(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, where: str) -> None:
    """Save all of an untouched model but its weights, and refuse a model with which that fails."""
    fix = "correct the file that the reason names, or use a folder that `save_pretrained` wrote"
    with (
        reading("the model can be loaded and not saved", where=where, fix=fix),
        tempfile.TemporaryDirectory(prefix="rlaif-saving-") as folder,
    ):
        _write(model, tokenizer, Path(folder), state={})


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    state: dict[str, torch.Tensor] | None,
) -> None:
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=state)
        # Padding and truncation of the last call do not belong to the tokenizer.
        if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
            backend.no_padding()
            backend.no_truncation()
        tokenizer.save_pretrained(folder)


def make_savable(model: PreTrainedModel) -> None:
    """Drop from a model's generation config what transformers refuses to save: options that have no effect there.

    Many well-known chat models have a temperature beside `do_sample: false`.
    """
    config: Any = getattr(model, "generation_config", None)
    while config is not None and (reason := _why_not_savable(config)) is not None:
        options = set(config.to_diff_dict()) - {"do_sample", "transformers_version"}
        named = {name for name in options if re.search(rf"`{re.escape(name)}`", reason)}
        smaller = _without(config, named or {name for name in options if not name.endswith("_token_id")})
        if smaller.to_diff_dict() == config.to_diff_dict():
            return  # `check_saving` says what is wrong
        config = smaller
    if config is not None:
        model.generation_config = config


def _why_not_savable(config: GenerationConfig) -> str | None:
    try:
        config.validate(strict=True)
    except Exception as cause:  # noqa: BLE001 - whatever a stranger's values raise
        return str(cause)
    return None


def _without(config: GenerationConfig, names: set[str]) -> GenerationConfig:
    from transformers import GenerationConfig

    smaller, plain = copy.deepcopy(config), GenerationConfig()  # type: ignore[no-untyped-call]
    for name in names:
        setattr(smaller, name, getattr(plain, name, None))
    return smaller
