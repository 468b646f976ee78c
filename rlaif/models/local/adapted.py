"""Layers with a LoRA adapter, computed with fewer passes over their outputs than peft makes.

peft multiplies an adapter's output by its scale and then adds it, each a pass over (tokens, features) that reads and
writes memory, and again in the backward pass. Here the scale is applied to the (tokens, rank) product, and the rest is
added while it is multiplied. The result is the same but for rounding. Changes no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

LARGE = 1 << 16
"""Weights that a layer must have. [M] A smaller one gains nothing: its time goes into calls, not into memory."""


@contextmanager
def joined_adapters(model: nn.Module) -> Iterator[None]:
    """Let passes compute the large layers whose adapter is a plain one in float32 with fewer passes over memory."""
    layers = [(layer, forward) for layer in model.modules() if (forward := _find_forward(layer)) is not None]
    own = [layer.__dict__.get("forward") for layer, _ in layers]
    for layer, forward in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for (layer, _), forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _find_forward(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The layer's pass in this module's way; None where its adapter does more than add B(A(x)) times a number."""
    if not hasattr(layer, "lora_A") or not hasattr(layer, "get_base_layer"):
        return None
    adapted: Any = layer
    base, names = adapted.get_base_layer(), list(adapted.active_adapters)
    if adapted.disable_adapters or adapted.merged or type(base) is not nn.Linear or len(names) != 1:
        return None
    name = names[0]
    if name not in adapted.lora_A or adapted.lora_variant or not isinstance(adapted.lora_dropout[name], nn.Identity):
        return None
    down, up = adapted.lora_A[name], adapted.lora_B[name]
    parts = [base.weight, down.weight, up.weight]
    is_plain = type(down) is type(up) is nn.Linear and down.bias is None and up.bias is None
    is_frozen = not any(parameter.requires_grad for parameter in base.parameters())
    if not is_plain or not is_frozen or any(type(part.data) is not Tensor for part in parts):
        return None
    if base.weight.numel() < LARGE or {(part.dtype, part.device.type) for part in parts} != {(torch.float32, "cpu")}:
        return None
    return partial(_forward, base, down, up, float(adapted.scaling[name]))


def _forward(base: nn.Linear, down: nn.Linear, up: nn.Linear, scale: float, x: Tensor) -> Tensor:
    joined: Tensor = _Joined.apply(x, base, down.weight, up.weight, scale)  # type: ignore[no-untyped-call]
    return joined


class _Joined(torch.autograd.Function):
    """x @ weight.T + bias + scale * (x @ down.T) @ up.T, with gradients for x, down and up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: nn.Linear, down: Tensor, up: Tensor, scale: float) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = (flat @ down.T).mul_(scale)
        out = torch.nn.functional.linear(flat, base.weight, base.bias).addmm_(low, up.T)
        ctx.save_for_backward(flat, base.weight, down, up, low)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], base.out_features)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, down, up, low = ctx.saved_tensors
        needs_x, _, needs_down, needs_up, _ = ctx.needs_input_grad
        grad = grads[0].reshape(-1, len(weight))
        of_low = (grad @ up).mul_(ctx.scale) if needs_x or needs_down else None
        of_x = (grad @ weight).addmm_(of_low, down).view(ctx.shape) if needs_x and of_low is not None else None
        return (
            of_x,
            None,
            of_low.T @ flat if needs_down and of_low is not None else None,
            grad.T @ low if needs_up else None,
            None,
        )
