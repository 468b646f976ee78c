"""A causal LM's stack of layers: find it, and within a `with` block enter it, leave it half-way or recompute it.

Works with any model that keeps its layers in one list, which is tried on the model itself. Changes no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from rlaif.models.local.halving import is_out_of_memory


def find_layers(model: PreTrainedModel) -> nn.ModuleList | None:
    """The list of the model's layers, lowest first; None where no list has the length that the config names."""
    num_layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    return next((layers for layers in lists if len(layers) == num_layers), None)


@contextmanager
def entered_at(model: PreTrainedModel, hidden: Tensor, *, depth: int) -> Iterator[None]:
    """Let passes begin at layer `depth` with `hidden`, (batch, length, hidden_size), whatever their token ids are."""
    layers = _layers_of(model)
    with _replaced(layers, {at: _Passed(layers[at], at, entry=hidden if at == 0 else None) for at in range(depth)}):
        yield


@contextmanager
def left_at(model: PreTrainedModel, *, depth: int) -> Iterator[Callable[[], Tensor]]:
    """Let passes end below layer `depth`; gives a function that returns the last pass's hidden states there."""
    layers = _layers_of(model)
    passed = {at: _Passed(layers[at], at) for at in range(depth, len(layers))}
    with _replaced(layers, passed):
        yield lambda: passed[depth].seen


@contextmanager
def recomputed(model: PreTrainedModel) -> Iterator[None]:
    """Let passes keep only each layer's input and run the layer again in the backward pass.

    Chen et al. 2016, arXiv:1604.06174. The model's own switch is not used: it needs `train()`, which turns dropout on.
    """
    layers = _layers_of(model)
    own = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(_checkpointed, layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def parameters_below(model: PreTrainedModel) -> set[str]:
    """Names of the parameters that the first layer's input depends on: embeddings, tied output layers among them."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    named = list(model.named_parameters())
    flags = [parameter.requires_grad for _, parameter in named]
    hook = _layers_of(model)[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for _, parameter in named:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            model(input_ids=_some_ids(model, 2), use_cache=False)
            found = torch.autograd.grad(seen[0].sum(), [parameter for _, parameter in named], allow_unused=True)
    finally:
        hook.remove()
        for (_, parameter), flag in zip(named, flags, strict=True):
            parameter.requires_grad_(flag)
    return {name for (name, _), gradient in zip(named, found, strict=True) if gradient is not None}


@torch.no_grad()
def enters_exactly(model: PreTrainedModel, *, depth: int) -> bool:
    """True where a pass that enters at `depth` gives the logits of a whole pass, with a cache of its states too.

    Without a head, as `base_model` is, the last hidden states are compared instead of logits.
    """
    if find_layers(model) is None:
        return False
    ids = _some_ids(model, 6)
    try:
        whole = _output(model(input_ids=ids, use_cache=False))
        with left_at(model, depth=depth) as reached:
            model(input_ids=ids, use_cache=False)
            hidden = reached()
        with entered_at(model, hidden, depth=depth):
            entered = _output(model(input_ids=ids, use_cache=False))
        cache = DynamicCache()
        with entered_at(model, hidden[:, :4], depth=depth):
            model(input_ids=ids[:, :4], past_key_values=cache, use_cache=True)
        with entered_at(model, hidden[:, 4:], depth=depth):
            after = _output(model(input_ids=ids[:, 4:], past_key_values=cache, use_cache=True))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as cause:
        if is_out_of_memory(cause):
            raise
        return False  # its layers have other arguments or results than those of other models
    if not torch.equal(entered, whole):
        return False
    return bool((after - whole[:, 4:]).abs().max() <= 1e-4 * whole.std())


class _Passed(nn.Module):
    """A replacement for a layer: returns its input, or `entry` instead, and keeps the cache's count of tokens."""

    def __init__(self, layer: nn.Module, index: int, *, entry: Tensor | None = None) -> None:
        super().__init__()
        # subtle: no submodule, or the model's parameters would have other names while the block lasts
        self.__dict__.update(layer=layer, index=index, entry=entry)
        self.seen: Tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.__dict__["seen"] = hidden_states
        for given in (*args, *kwargs.values()):
            if isinstance(given, Cache):
                nothing = hidden_states.new_zeros(len(hidden_states), 1, hidden_states.shape[1], 1)
                given.update(nothing, nothing, self.index)
        entry: Tensor | None = self.__dict__["entry"]
        return hidden_states if entry is None else entry


@contextmanager
def _replaced(layers: nn.ModuleList, others: dict[int, _Passed]) -> Iterator[None]:
    own = list(layers)
    for at, other in others.items():
        layers[at] = other
    try:
        yield
    finally:
        for at in others:
            layers[at] = own[at]


def _layers_of(model: PreTrainedModel) -> nn.ModuleList:
    layers = find_layers(model)
    if layers is None:
        raise ValueError(f"{type(model).__name__} has no list of layers")
    return layers


def _output(found: Any) -> Tensor:
    output: Tensor = found.logits if hasattr(found, "logits") else found.last_hidden_state
    return output


def _some_ids(model: PreTrainedModel, length: int) -> Tensor:
    vocab = int(model.config.get_text_config().vocab_size)
    return torch.arange(length, device=next(model.parameters()).device)[None] % vocab
