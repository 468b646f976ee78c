"""What the headers of a folder's safetensors say: names and shapes of the tensors, without reading a weight.

A config's sizes are compared with them before a model is built, for a stranger's config may ask for any amount of
memory. An index is followed: it may name nothing but safetensors in its own folder. Does not import torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.errors import ModelError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000
"""Bytes: the library's own limit."""
_COUNTS = re.compile(r"(^|_)(n_?layers?|num_layers|num_hidden_layers|num_\w*layers)$")
_SIZES = re.compile(r"(_size|_dim|_heads|_experts|_rank|_channels|^n_(embd|inner|head)|^d_(model|ff|kv|inner|state))$")
_NO_SIZES = re.compile(r"window|chunk|image|patch|crop|batch|kernel|block|group|vocab_size_per")
"""Names of options that say how something is computed, and not how large a weight is."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape."""


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors of one safetensors file by its header."""
    broken = f"{path.name} is not a whole safetensors file"
    fix = "fetch or save the model again"
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
                raise ModelError(f"{broken}: its header is cut off", where=str(path), fix=fix)
            header = json.loads(file.read(length))
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        if any(not isinstance(size, int) or size < 0 for shape in shapes.values() for size in shape):
            raise ModelError(f"{broken}: its header names a size that is none", where=str(path), fix=fix)
    except OSError as cause:
        raise ModelError(f"the weights cannot be read: {cause.strerror}", where=str(path), fix=fix) from cause
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as cause:
        raise ModelError(f"{broken}: its header is not valid", where=str(path), fix=fix) from cause
    return shapes


def read_all_shapes(folder: Path, *, where: str, index: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """The tensors of a model's folder. index: the content of its index file, where it has one and no single file."""
    names = [WEIGHTS] if index is None else sorted(set(_files_of(index, where=where)))
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(f"the model folder lacks {name}", where=where, fix="fetch or save the model again")
        shapes.update(read_shapes(folder / name))
    return shapes


def _files_of(index: Mapping[str, Any], *, where: str) -> Iterator[str]:
    files = index.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ModelError(f"{INDEX} names no weights (weight_map)", where=where, fix="fetch or save the model again")
    for name in files.values():
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            raise ModelError(
                f'{INDEX} names "{name}", and weights are read from safetensors only',
                where=where,
                fix="save the model with `save_pretrained` as safetensors",
            )
        if Path(name).name != name:
            raise ModelError(
                f'{INDEX} names "{name}", which is not a file of this folder', where=where, fix="fetch the model again"
            )
        yield name


def check_sizes(config: Mapping[str, Any], shapes: Shapes, *, where: str) -> None:
    """Refuse a config that speaks of more layers than there are tensors, or of a size that no tensor could have."""
    num_values = sum(math.prod(shape) for shape in shapes.values())
    for name, value in _sizes_in(config):
        limit, of = (len(shapes), "tensors") if _COUNTS.search(name) else (num_values, "numbers in all")
        if value > limit:
            raise ModelError(
                f"config.json says {name}: {value:,}, and the weights hold {limit:,} {of}",
                where=where,
                fix="put the config.json that belongs to the weights into the folder",
            )


def _sizes_in(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _sizes_in(value)
        elif type(value) is int and _is_size(name):
            yield name, value


def _is_size(name: str) -> bool:
    return bool(_COUNTS.search(name) or _SIZES.search(name)) and not _NO_SIZES.search(name)
