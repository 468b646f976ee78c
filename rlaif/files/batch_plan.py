"""Which items are asked together: decided once, written down, and kept by a resumed run.

Other batch compositions change the last bits of a local model's scores, so an interrupted stage goes
on with the batches it began with. Asks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from rlaif.errors import RunFolderError
from rlaif.files.atomic import write_atomically

Item = TypeVar("Item")


def planned_batches(path: Path, missing: Sequence[str], *, batch_size: int) -> list[list[str]]:
    """The batches in `path`; where there is no plan yet, `missing` in its order, cut and written there."""
    return planned_groups(path, [[key] for key in missing], size=lambda _: 1, budget=batch_size)


def planned_groups(
    path: Path, groups: Sequence[Sequence[str]], *, size: Callable[[str], int], budget: int
) -> list[list[str]]:
    """The batches in `path`; where there is no plan yet, those that `cut_into_batches` makes, written there."""
    if path.is_file():
        batches: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return batches
    batches = cut_into_batches(groups, size=size, budget=budget)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(batches))
    return batches


def find_strangers(batches: Sequence[Sequence[str]], asked: Container[str]) -> list[str]:
    """Keys in a stored plan that are not asked for now: something that they were made of has changed."""
    return [key for batch in batches for key in batch if key not in asked]


def refuse_other_plan(path: Path, *, num: int, changed: str) -> NoReturn:
    """`changed`: what is no longer as the stage began with it, as far as it can be told."""
    raise RunFolderError(
        f"{num} of what this stage planned to ask for is not asked for now: {changed} since the stage began",
        where=str(path),
        fix="put it back, or start a new run",
    )


def cut_into_batches(groups: Sequence[Sequence[Item]], *, size: Callable[[Item], int], budget: int) -> list[list[Item]]:
    """Groups in their order, in batches whose sizes add up to `budget` at most.

    A group that fits into a batch is not cut; one that does not is cut where the budget ends. An item larger
    than the budget is a batch of its own.
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
