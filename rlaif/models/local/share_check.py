"""Whether a model can run prompts with shared beginnings as a tree: tried on the model itself.

Takes a model and the longest sequence that it will see; answers yes or no. Runs a handful of tokens once per model and
changes nothing.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from rlaif.models.local.branches import branch_tree
from rlaif.models.local.halving import is_out_of_memory
from rlaif.models.local.prefix_tree import build_tree
from rlaif.models.local.tree_pass import run_tree

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_HALF_TOLERANCE = 0.05
_KINDS = ("sdpa", "eager")
"""Attention implementations that take any mask; others may ignore it."""
_found: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def can_share(model: PreTrainedModel, *, longest: int, pad_id: int) -> bool:
    """True where a tree's logits are those of plain passes, for sequences of `longest` tokens at most."""
    window = attention_window(model)
    if getattr(model, "_is_stateful", False) or (window is not None and longest > window):
        return False
    if model not in _found:
        takes_masks = model._supports_sdpa and model.config._attn_implementation in _KINDS
        _found[model] = takes_masks and _agrees(model, pad_id=pad_id)
    return _found[model]


def attention_window(model: PreTrainedModel) -> int | None:
    """How many tokens back the layer with the smallest window sees; None where all layers see everything.

    Our mask is the same for all layers, so it is right only within the smallest window.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and all(kind == "full_attention" for kind in kinds):
        return None
    if kinds is None and getattr(config, "use_sliding_window", True) is False:
        return None
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    return min((int(window) for window in windows if isinstance(window, int)), default=None)


@torch.no_grad()
def _agrees(model: PreTrainedModel, *, pad_id: int) -> bool:
    """Whether a small tree, with one more token on each row, gives the logits of plain passes over whole sequences."""
    vocab = int(model.config.get_text_config().vocab_size)
    prompts = [[token % vocab for token in (*range(1, 9), *own)] for own in ((9, 10, 11), (12,), (13, 14, 15, 16, 17))]
    tree = build_tree(prompts, min_saved=1)
    device = next(model.parameters()).device
    try:
        states = run_tree(model, tree, pad_id=pad_id)
        after = branch_tree(states, steps=1).step(model, torch.tensor([1, 1, 1], device=device))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as cause:
        if is_out_of_memory(cause):
            raise
        return False  # it takes no cache or mask, or another form of them than other models do
    found = torch.cat([states.logits[[states.row_of[leaf] for leaf in tree.leaves]], after])
    plain = [
        model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0, -1]
        for ids in (*prompts, *([*prompt, 1] for prompt in prompts))
    ]
    expected = torch.stack(plain)
    spread = float(expected.float().std())
    tolerance = _TOLERANCE.get(expected.dtype, _HALF_TOLERANCE)
    return float((found - expected).float().abs().max()) <= tolerance * spread
