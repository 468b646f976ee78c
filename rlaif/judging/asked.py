"""Which questions a stage of a run sent to its judge: from its plan of batches, and from its list of streamed ones.

A line torn by a kill was never sent. Says nothing of the answers, which are in the ledger.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

ASKED_NAME = "questions_asked.txt"
JUDGE_FOLDER = "judge_"
"""A panel's second judge keeps its plan and list in the folder judge_2 of the stage, and so on."""


def judge_folders(stage_dir: Path) -> list[Path]:
    """Where the judges of a stage keep what they asked, the first judge's first."""
    return [stage_dir, *sorted(stage_dir.glob(f"{JUDGE_FOLDER}*"), key=lambda path: (len(path.name), path.name))]


def read_asked(folder: Path) -> list[str]:
    """The ids of the questions, each once."""
    return list(dict.fromkeys([*read_planned(folder), *read_streamed(folder)]))


def read_planned(folder: Path) -> list[str]:
    """Those in the plan of batches, asked by now or not."""
    plans = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*questions_plan.json"))]
    return [key for plan in plans for batch in plan for key in batch]


def read_streamed(folder: Path) -> list[str]:
    """Those that were sent one by one."""
    path = folder / ASKED_NAME
    return list(filter(None, path.read_text(encoding="utf-8").split("\n")[:-1])) if path.is_file() else []


class AskedLog:
    """The ids of questions that were sent, a line each; written before they are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        self._file = self._path.open("ab", buffering=0)
        self._file.write(b"\n" if torn else b"")
        return self

    def write(self, question_id: str) -> None:
        self._file.write(question_id.encode() + b"\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
