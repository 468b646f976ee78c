"""LoRA adapters of peft (Hu et al. 2021, arXiv:2106.09685): put on a model, loaded from a folder, merged, saved.

The model keeps its class, with adapters inside its linear layers. peft merges them layer by layer, and a merged model
is compared with the adapted one before it is returned. Trains nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rlaif.errors import ModelError, TrainingError
from rlaif.files.atomic import replace_directory
from rlaif.models.weights.adapter_options import check_options
from rlaif.models.weights.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_json
from rlaif.models.weights.patterns import check_patterns
from rlaif.models.weights.reading import describe_cause, quiet_transformers, reading
from rlaif.models.weights.weights_header import Shapes, read_shapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"
_PREFIX = "base_model.model."
"""Prefix of a model's parameter names in an adapter's file, as peft writes it."""
_NUM_COMPARED = 16
"""Number of tokens on which a merged model is compared with the adapted one."""
_TOLERANCES = {torch.float32: 0.01, torch.float64: 0.01}
_HALF_TOLERANCE = 0.5
"""Largest difference of two logits, in standard deviations of the logits.

[M] Rounding alone gives 6e-6 in float32, and .08 in bfloat16, at 24 layers.
"""


def has_adapter(model: nn.Module) -> bool:
    return any(True for _ in _adapted(model))


def is_of_adapter(name: str) -> bool:
    """Whether a parameter, by its name, belongs to an adapter."""
    return ".lora_" in name


def add_adapter(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: int,
    target_modules: str | Sequence[str],
    seed: int,
    options: str = "ppo.model.lora",
) -> None:
    """Put new adapters on a model. They change nothing yet: one of two factors is zero, the other drawn with `seed`.

    options: where the user's options stand, for messages.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, task_type="CAUSAL_LM",
        fan_in_fan_out=_keeps_weights_transposed(model),
    )  # fmt: skip
    # subtle: the draw must not move the caller's generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, adapter_name=ADAPTER)
        except ValueError as cause:
            raise ModelError(
                f"no adapter can be put on the model: {str(cause).splitlines()[0]}",
                where=f"{options}.target_modules",
                fix="name linear layers of this model, or say all-linear",
            ) from cause


def load_adapter(model: PreTrainedModel, folder: Path, *, where: str, merge: bool) -> PreTrainedModel:
    """The model with a folder's adapter in its layers, or merged into its weights."""
    from peft import PeftModel

    config = read_json(folder / ADAPTER_CONFIG)
    check_options(config, where=where, merge=merge)
    check_patterns(config, [name for name, _ in model.named_modules()], where=where)
    shapes = read_shapes(folder / ADAPTER_WEIGHTS)
    _check_ranks(config, shapes, where=where)
    _fit_rows(model, shapes)
    with reading(
        "the adapter does not fit its base model",
        where=where,
        fix="check base_model_name_or_path and the adapter's other options in adapter_config.json",
    ):
        wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=ADAPTER, is_trainable=not merge)
    found: Any = wrapped.get_base_model().eval()
    try:
        if merge:
            expected = _logits(found)
            found = wrapped.merge_and_unload()
            _forget(found)
            _compare(found.eval(), expected)
        else:
            merge_adapter(found)
    except (TrainingError, RuntimeError, ValueError, NotImplementedError) as cause:
        what = cause.what if isinstance(cause, TrainingError) else describe_cause(cause)
        raise ModelError(
            f"the adapter cannot be merged into its base model: {what}",
            where=where,
            fix="use an adapter that peft merges exactly, or give a merged model",
        ) from cause
    result: PreTrainedModel = found
    return result


def _check_ranks(config: Mapping[str, Any], shapes: Shapes, *, where: str) -> None:
    """Refuse ranks far above those of the stored factors before memory is taken for them."""
    most = max([1024, *(size for shape in shapes.values() for size in shape)])
    pattern = config.get("rank_pattern")
    for rank in (config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())):
        if rank is not None and (type(rank) is not int or not 0 < rank <= most):
            raise ModelError(
                f"adapter_config.json says a rank of {rank!r}, which does not fit the adapter's weights",
                where=where,
                fix="put the config that belongs to the adapter into its folder",
            )


def _fit_rows(model: PreTrainedModel, shapes: Shapes) -> None:
    """Give the base model as many rows as an adapter that was trained with added tokens has."""
    embeddings: Any = model.get_input_embeddings()
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    names = [f"{_PREFIX}{name}." for name, module in model.named_modules() if module in (embeddings, output)]
    rows = {
        shape[1] if name.endswith("lora_embedding_A") else shape[0]
        for name, shape in shapes.items()
        if name.startswith(tuple(names))
        and len(shape) == 2
        and not name.endswith(("lora_embedding_B", "lora_A.weight"))
    }
    if len(rows) == 1 and rows != {embeddings.weight.shape[0]}:
        # subtle: new rows are drawn, then the adapter's take their place; the draw must not move the caller's generator
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(rows.pop(), mean_resizing=False)


def merge_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """A plain model with the adapters merged into its weights. Weights without an adapter share memory with `model`.

    The logits of a few tokens are compared: a merged model with other logits is refused.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    merged = copy.deepcopy(model, shared)
    for name, layer in list(_adapted(merged)):
        plain = layer.get_base_layer()
        for part, parameter in list(plain.named_parameters(recurse=False)):
            setattr(plain, part, nn.Parameter(parameter.detach().clone()))
        with torch.no_grad():
            layer.merge(adapter_names=[ADAPTER])
        merged.set_submodule(name, plain)
    _forget(merged)
    _untie(merged)
    _compare(merged, _logits(model))
    return merged


def save_adapter(model: PreTrainedModel, out_dir: Path, *, base: str) -> None:
    """Save only the adapter, in a folder that peft loads. `base`: path or hub id of the adapter's base model."""
    from peft import get_peft_model_state_dict

    config = copy.deepcopy(model.peft_config[ADAPTER])
    config.base_model_name_or_path, config.inference_mode = base, True
    tensors: dict[str, Tensor] = get_peft_model_state_dict(model, adapter_name=ADAPTER)
    with replace_directory(out_dir) as folder:
        save_file(
            {f"{_PREFIX}{name}": tensor.contiguous() for name, tensor in tensors.items()}, folder / ADAPTER_WEIGHTS
        )
        config.save_pretrained(str(folder))


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers with an adapter, by name."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"):
            yield name, module


def _forget(model: PreTrainedModel) -> None:
    """Remove the notes that peft and transformers keep on a model about an adapter that is no longer there."""
    for note in ("peft_config", "_hf_peft_config_loaded", "active_adapter"):
        model.__dict__.pop(note, None)


def _untie(model: PreTrainedModel) -> None:
    """Untie the output layer in the config where it no longer is the embeddings, so that both are saved and loaded."""
    embeddings, output = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if output is not None and output.weight is not embeddings.weight:
        for config in (model.config, model.config.get_text_config()):
            if getattr(config, "tie_word_embeddings", False):
                config.tie_word_embeddings = False


@torch.no_grad()
def _logits(model: PreTrainedModel) -> Tensor:
    """Logits after a few tokens from all over the vocabulary: (tokens, vocabulary)."""
    embeddings: Any = model.get_input_embeddings()
    num_tokens = embeddings.weight.shape[0]
    ids = torch.arange(_NUM_COMPARED, device=embeddings.weight.device) * (num_tokens // _NUM_COMPARED) % num_tokens
    was_training = model.training
    model.train(False)
    logits: Tensor = model(input_ids=ids[None], use_cache=False).logits[0]
    model.train(was_training)
    return logits


def _compare(merged: PreTrainedModel, expected: Tensor) -> None:
    """Refuse a merged model with other logits. expected: logits of the adapted model."""
    found = _logits(merged)
    gap, spread = float((found - expected).float().abs().max()), float(expected.float().std())
    tolerance = _TOLERANCES.get(found.dtype, _HALF_TOLERANCE)
    if not gap <= tolerance * spread:  # written so that NaN counts as a difference
        raise TrainingError(
            f"merged with its adapter the model says something else: its logits differ by {gap:.3g}, and they spread"
            f" by {spread:.3g}",
            fix="the last checkpoint holds what was trained; train an adapter that peft merges exactly",
        )


def _keeps_weights_transposed(model: PreTrainedModel) -> bool:
    """Whether linear layers keep their weights transposed, as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())
