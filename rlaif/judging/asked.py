"""Which questions a stage of a run sent to its judge: from its plan of batches, and from its list of streamed ones.

A line torn by a kill was never sent. Says nothing of the answers, which are in the ledger.
"""

from __future__ import annotations

import json
from pathlib import Path

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
