"""metrics.jsonl: one JSON object per line with a round, a stage, a step and that step's numbers.

Rows are appended while a stage trains and are on disk when `write` returns; a line torn by a kill does not count as a
row. Does not know what the numbers mean.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, NotRequired

from typing_extensions import TypedDict

from rlaif.errors import DataError
from rlaif.files.own_files import json_of, read_own


class _Row(TypedDict):
    """What a line must hold; each further key has a number, or null where it was not finite."""

    round: NotRequired[int]
    stage: str
    step: int


_ROW = json_of(_Row)


class MetricsRow(NamedTuple):
    round: int
    stage: str
    step: int
    numbers: Mapping[str, float | None]
    """Name -> value; None where the value was not a finite number."""


class MetricsLog:
    """The numbers of one round, each row once: a resumed stage first cuts what came after its checkpoint.

    All rounds of a run share the file.
    """

    def __init__(self, path: str | Path, *, round: int = 0) -> None:
        self.path = Path(path)
        self.round = round
        self._whole = False

    def write(self, stage: str, *, step: int, numbers: Mapping[str, float]) -> None:
        """Append one row and flush it; a value that is not finite becomes null.

        `numbers` may repeat the step under its own name.
        """
        if "stage" in numbers or "round" in numbers or numbers.get("step", step) != step:
            raise ValueError("the numbers name a round, a stage or another step")
        row = {"round": self.round, "stage": stage, "step": step}
        row |= {name: value if math.isfinite(value) else None for name, value in numbers.items() if name != "step"}
        if not self._whole:
            self._drop_torn_line()
        with self.path.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")

    def read(self, stage: str | None = None) -> list[MetricsRow]:
        """The round's rows of one stage, or of all, in the order written; none where there is no file."""
        rows = [self._parse(line, number) for number, line in enumerate(self._lines(), start=1)]
        return [row for row in rows if row.round == self.round and (stage is None or row.stage == stage)]

    def cut(self, stage: str, *, after_step: int) -> int:
        """Remove the round's rows of a stage's later steps than a resumed checkpoint's; how many there were."""
        lines = self._lines()
        rows = [self._parse(line, number) for number, line in enumerate(lines, start=1)]
        kept = [
            line
            for line, row in zip(lines, rows, strict=True)
            if (row.round, row.stage) != (self.round, stage) or row.step <= after_step
        ]
        if len(kept) < len(lines):
            self._replace(b"".join(line + b"\n" for line in kept))
        return len(lines) - len(kept)

    def _lines(self) -> list[bytes]:
        """Whole lines only: what follows the last newline was torn by a kill."""
        if not os.path.lexists(self.path):
            return []
        return read_own(self.path, lambda data: data.split(b"\n"), fix="restore it from a copy")[:-1]

    def _parse(self, line: bytes, number: int) -> MetricsRow:
        try:
            row = _ROW(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                "this line is not a row of metrics", where=f"{self.path}:{number}", fix="remove the line"
            ) from error
        round, stage, step = row.pop("round", 0), row.pop("stage"), row.pop("step")
        return MetricsRow(round, stage, step, MappingProxyType(row))

    def _drop_torn_line(self) -> None:
        if self.path.is_file() and (data := self.path.read_bytes()) and not data.endswith(b"\n"):
            self._replace(data[: data.rfind(b"\n") + 1])
        self._whole = True

    def _replace(self, data: bytes) -> None:
        part = self.path.with_name(f".{self.path.name}.part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
