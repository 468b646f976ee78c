"""A causal LM's last layer, removed or extended within a `with` block.

Without it a pass ends in hidden states, so that logits need never be held for all tokens at once. With one more
column, any pass gives a number per token beside the logits. Changes no weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_TOLERANCE = 1e-4
_found: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def find_linear_head(model: PreTrainedModel) -> nn.Linear | None:
    """The linear layer whose output is the model's logits; None where the model changes that output.

    Tried once on the model itself: some models scale or cap the layer's output.
    """
    head = _output_layer(model)
    if head is None:
        return None
    if model not in _found:
        _found[model] = _makes_the_logits(model, head)
    return head if _found[model] else None


@contextmanager
def replaced_head(model: PreTrainedModel, layer: nn.Module) -> Iterator[None]:
    """The model with `layer` in the place of its head."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    model.set_output_embeddings(layer)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.set_output_embeddings(head)  # type: ignore[no-untyped-call]


@contextmanager
def float32_head(model: PreTrainedModel) -> Iterator[None]:
    """The model with its head computed in float32, under autocast too; unchanged where no head is found."""
    head = _output_layer(model)
    if head is None:
        yield
        return
    with replaced_head(model, _InFloat32(head)):
        yield


class _InFloat32(nn.Module):
    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = self.head(hidden.to(self.head.weight.dtype))
            return logits


@contextmanager
def extra_column(model: PreTrainedModel, column: nn.Module) -> Iterator[None]:
    """The model with one more number after its logits, (..., vocab + 1): what `column` gives for the hidden state."""
    head = find_linear_head(model)
    if head is None:
        raise ValueError("a column needs a model whose logits are a linear layer's output")
    with replaced_head(model, _WithColumn(head, column)):
        yield


class _WithColumn(nn.Module):
    def __init__(self, head: nn.Linear, column: nn.Module) -> None:
        super().__init__()
        self.head, self.column = head, column

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.cat([self.head(hidden), self.column(hidden).to(hidden.dtype)], dim=-1)


def _output_layer(model: PreTrainedModel) -> nn.Linear | None:
    try:
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    except NotImplementedError:
        return None
    return head if isinstance(head, nn.Linear) else None


@torch.no_grad()
def _makes_the_logits(model: PreTrainedModel, head: nn.Linear) -> bool:
    ids = torch.arange(3, device=head.weight.device)[None] % head.out_features
    logits = model(input_ids=ids, use_cache=False).logits
    with replaced_head(model, nn.Identity()):
        hidden = model(input_ids=ids, use_cache=False).logits
    if hidden.shape[-1] != head.in_features:
        return False
    spread = logits.float().std().clamp(min=1e-6)
    return bool(((head(hidden) - logits).float().abs().max() / spread) <= _TOLERANCE)
