"""The batches of a stage: decided once, stored in a file, and kept by a resumed run.

In other batches the last bits of a local model's scores differ, so an interrupted stage continues with
the batches it began with. Asks no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from rlaif.errors import RunFolderError
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import json_of, read_own

Item = TypeVar("Item")
_PLAN = json_of(list[list[str]])


def planned_batches(path: Path, missing: Sequence[str], *, batch_size: int) -> list[list[str]]:
    """The batches stored in `path`; where there are none yet, `missing` is cut into batches and these are stored."""
    return planned_groups(path, [[key] for key in missing], size=lambda _: 1, budget=batch_size)


def planned_groups(
    path: Path, groups: Sequence[Sequence[str]], *, size: Callable[[str], int], budget: int
) -> list[list[str]]:
    """The batches stored in `path`; where there are none yet, those of `cut_into_batches` are stored."""
    if os.path.lexists(path):
        return read_plan(path)
    batches = cut_into_batches(groups, size=size, budget=budget)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(batches))
    return batches


def read_plan(path: Path) -> list[list[str]]:
    """The batches stored in `path`. Raises `RunFolderError` where the file is damaged."""
    batches: list[list[str]] = read_own(path, _PLAN, fix="restore it from a copy, or start a new run")
    return batches


def find_strangers(batches: Sequence[Sequence[str]], wanted: Container[str]) -> list[str]:
    """Keys in a stored plan that are not wanted now: something that they are made from has changed."""
    return [key for batch in batches for key in batch if key not in wanted]


def refuse_other_plan(path: Path, *, num: int, changed: str) -> NoReturn:
    """Raise an error about `num` unwanted keys of a plan; `changed` says what changed, as far as is known."""
    raise RunFolderError(
        f"{num} requests that this stage planned are not the ones it needs now: {changed} since the stage began",
        where=str(path),
        fix="put it back, or start a new run",
    )


def cut_into_batches(groups: Sequence[Sequence[Item]], *, size: Callable[[Item], int], budget: int) -> list[list[Item]]:
    """Groups in their order, in batches whose sizes add up to `budget` at most.

    A group that fits into a batch is not cut; a larger one is cut where the budget ends. An item larger than the
    budget is a batch alone.
    """
    batches: list[list[Item]] = [[]]
    room = budget
    for group in groups:
        sizes = [size(item) for item in group]
        if room < sum(sizes) <= budget:
            batches.append([])
            room = budget
        for item, taken in zip(group, sizes, strict=True):
            if taken > room and batches[-1]:
                batches.append([])
                room = budget
            batches[-1].append(item)
            room -= taken
    return [batch for batch in batches if batch]
