"""Halve a batch that does not fit into memory, again and again, down to single rows.

Knows the errors of each kind of device that mean "out of memory". Catches nothing else.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from rlaif.errors import ModelError

Result = TypeVar("Result")

_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
"""Words of a plain RuntimeError that mean "out of memory", on devices without an error class: CPU and MPS."""


def in_halves(
    run: Callable[[Sequence[int]], Result], rows: Sequence[int], *, join: Callable[[Result, Result], Result]
) -> Result:
    """The results of `run` for the rows, in their order; rows that run out of memory are cut in the middle."""
    try:
        return run(rows)
    except (RuntimeError, MemoryError) as cause:
        if not is_out_of_memory(cause):
            raise
        if len(rows) == 1:
            raise ModelError(
                "one prompt alone does not fit into memory",
                fix="use a smaller model, a shorter dtype (bfloat16), or another device",
            ) from cause
    # outside the handler: its traceback would keep the failed batch's tensors alive
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(rows) // 2
    return join(in_halves(run, rows[:middle], join=join), in_halves(run, rows[middle:], join=join))


def is_out_of_memory(cause: BaseException) -> bool:
    if isinstance(cause, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(cause, RuntimeError) and any(words in str(cause).lower() for words in _NO_MEMORY)
