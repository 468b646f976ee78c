"""The finished cells of a study on disk: one line each, appended when it is finished.

The first line says what was paid for; a folder holds cells of the same prices only. A line that a kill cut off is
left out, and its cell is owed again. Trains nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from rlaif.errors import DataError, RunFolderError, RunFolderInUse
from rlaif.files.atomic import sync_folder
from rlaif.study.plan import Prices

CELLS_FILE = "cells.jsonl"
FORMAT = 1


class CellResult(BaseModel):
    """What one training came to."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: str
    budget: float
    noise: float | None
    """Of the demonstrations; None where there were none."""
    seed: int
    success: float
    """Share of held-out prompts whose response has all wanted qualities."""
    quality: float
    """Mean share of the wanted qualities."""
    kl: float
    """Nats per response to the starting policy."""
    length: float
    """Tokens per response."""
    num_demonstrations: int
    demonstration_tokens: int
    num_responses: int
    """Responses that got feedback."""
    spent: float
    wall_s: float
    """Seconds that the training took by the clock."""
    cpu_s: float
    """Seconds that it took of one core."""
    measuring_s: float
    """Seconds of measuring it, by the clock."""

    @property
    def key(self) -> tuple[str, float, float | None, int]:
        return (self.recipe, self.budget, self.noise, self.seed)


class Finished:
    """The cells file, held by this process: what is in it, and how a cell is added."""

    def __init__(self, file: IO[str], cells: Sequence[CellResult]) -> None:
        self._file = file
        self.cells = list(cells)

    def add(self, cell: CellResult) -> None:
        """Store a cell; it is on the disk when this returns."""
        _append(self._file, cell.model_dump_json())
        self.cells.append(cell)


@contextmanager
def open_finished(folder: Path, prices: Prices) -> Iterator[Finished]:
    """The cells of a folder, which is made where it is missing. Holds the file: a second process is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CELLS_FILE
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderInUse(
                "another process works on this study", where=str(folder), fix="wait for it, or give another --out"
            ) from None
        if path.stat().st_size == 0:
            _append(file, json.dumps({"format": FORMAT, "prices": prices.model_dump()}))
            sync_folder(folder)
            yield Finished(file, [])
            return
        stored, cells = _read(path)
        if stored != prices:
            raise RunFolderError(
                f"the study in this folder has {_describe_changes(stored, prices)}",
                where=str(path),
                fix="give the same options, or another folder by --out",
            )
        if not path.read_bytes().endswith(b"\n"):  # a line that a kill cut off
            _append(file, "")
        yield Finished(file, cells)


def read_finished(folder: Path) -> tuple[Prices, list[CellResult]]:
    """The prices and the finished cells of a folder."""
    path = folder / CELLS_FILE
    if not path.is_file():
        raise DataError("there is no study here", where=str(folder), fix="run `rlaif study curves` with this --out")
    return _read(path)


def _append(file: IO[str], line: str) -> None:
    file.write(line + "\n")
    file.flush()
    os.fsync(file.fileno())


def _read(path: Path) -> tuple[Prices, list[CellResult]]:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    try:
        head = json.loads(lines[0])
        if head["format"] != FORMAT:
            raise ValueError("another format")
        prices = Prices.model_validate(head["prices"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "the first line does not say what was paid for", where=str(path), fix="give another folder by --out"
        ) from error
    cells: dict[tuple[str, float, float | None, int], CellResult] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            cell = CellResult.model_validate_json(line)
        except ValidationError as error:
            if _is_cut_off(line):
                continue
            raise DataError("the line is no cell of a study", where=f"{path}:{number}", fix="remove it") from error
        cells.setdefault(cell.key, cell)
    return prices, list(cells.values())


def _is_cut_off(line: str) -> bool:
    """Whether a line is the beginning of a JSON object that was never finished."""
    return line.startswith("{") and not line.rstrip().endswith("}")


def _describe_changes(stored: Prices, given: Prices) -> str:
    there, here = stored.model_dump(), given.model_dump()
    return ", ".join(f"{name} {there[name]} and not {here[name]}" for name in there if there[name] != here[name])
