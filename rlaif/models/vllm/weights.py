"""A model in memory -> a folder that vLLM starts from, or takes new weights from.

The output layer is always written separately: where it is tied to the embeddings, [M] vLLM 0.32 without a GPU keeps
the old one after new weights came. Does not change the model.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.errors import ModelError
from rlaif.models.weights.reading import quiet_transformers

_TIED = "tie_word_embeddings"


@torch.no_grad()
def write_for_vllm(model: PreTrainedModel, folder: Path, *, dtype: str) -> None:
    """Write weights in `dtype` and config, but no tokenizer, into an existing folder, named as in a checkpoint."""
    number_format = getattr(torch, dtype)
    converted: dict[int, Tensor] = {}  # tied weights stay one tensor: saving drops one of its names
    state = {
        name: converted.setdefault(tensor.data_ptr(), tensor.to(number_format))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in model.state_dict().items()
    }
    output = _tied_output(model, state)
    with quiet_transformers():
        try:
            model.save_pretrained(folder, state_dict=state, max_shard_size="1000TB")
        except OSError as cause:
            raise ModelError(
                f"the policy's weights cannot be handed to vLLM: {cause.strerror or cause}",
                where=str(folder),
                fix="make room, or name another folder in ppo.rollout.server.weights_dir",
            ) from cause
    if output is not None:
        name, weight = output
        save_file({name: weight.clone()}, folder / "output_layer.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = dtype
    for part in (config, config.get("text_config", {})):
        if _TIED in part or part is config:
            part[_TIED] = part.get(_TIED, False) and output is None
    path.write_text(json.dumps(config, indent=1))


def _tied_output(model: PreTrainedModel, state: dict[str, Tensor]) -> tuple[str, Tensor] | None:
    """Name and weight of an output layer that is tied to the embeddings; None where it is separate."""
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if layer is None or layer.weight is not model.get_input_embeddings().weight:
        return None
    name = next(name for name, module in model.named_modules() if module is layer)
    return f"{name}.weight", state[f"{name}.weight"]
