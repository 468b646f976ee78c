"""The log of the questions that a stage of a run sent to its judge, and the plan of those asked in batches.

The log, questions_asked.txt in the stage's folder, has a line for each request. The line is written before the request
is sent, so that a kill leaves no request uncounted; a line torn by a kill was never sent. Knows nothing of the answers,
which are in the ledger.

    ID                 asked by an older version, or in a planned batch: the answers count the requests
    ID TOKENS COST     one request is being sent, which costs at most so much
    ID unsent          the last request did not reach any server
    ID batch           submitted in a file of questions, whose requests the journal of batches counts
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rlaif.files.batch_plan import read_plan
from rlaif.files.own_files import read_own_lines
from rlaif.models.budget import NOTHING, Spending

LOG_NAME = "questions_asked.txt"
JUDGE_FOLDER = "judge_"
"""Where further judges of a panel keep plan and log: the second in the folder judge_2 of the stage, and so on."""
_UNSENT, _IN_BATCH = "unsent", "batch"
_ID = re.compile(r"[\w.:-]+")
_FIX = "restore it from a copy, or start a new run"


@dataclass
class SentRequests:
    """The requests that were sent for one question."""

    calls: int = 0
    bound: Spending = NOTHING
    """What the dearest of the requests costs at most."""
    is_counted_by_answers: bool = False
    """Whether some lines of the question do not say how many requests there were."""


def judge_folders(stage_dir: Path) -> list[Path]:
    """The folders in which the judges of a stage keep plan and log, the first judge's first."""
    return [stage_dir, *sorted(stage_dir.glob(f"{JUDGE_FOLDER}*"), key=lambda path: (len(path.name), path.name))]


def read_question_ids(folder: Path) -> list[str]:
    """The ids of all questions in plans and log, each once."""
    return list(dict.fromkeys([*read_planned(folder), *read_streamed(folder)]))


def read_planned(folder: Path) -> list[str]:
    """The ids of the questions in the plans of batches, whether they were asked yet or not."""
    plans = [read_plan(path) for path in sorted(folder.glob("*questions_plan.json"))]
    return [key for plan in plans for batch in plan for key in batch]


def read_streamed(folder: Path) -> list[str]:
    """The ids of the questions in the log, in the order of their requests."""
    return [key for key, *rest in _lines(folder) if rest != [_UNSENT]]


def read_sent(folder: Path) -> dict[str, SentRequests]:
    """The requests that carried each question of the log alone."""
    sent: dict[str, SentRequests] = {}
    for key, *rest in _lines(folder):
        requests = sent.setdefault(key, SentRequests())
        match rest:
            case []:
                requests.is_counted_by_answers = True
            case [word] if word == _UNSENT:
                requests.calls = max(0, requests.calls - 1)
            case [tokens, cost]:
                requests.calls += 1
                bound = requests.bound
                requests.bound = Spending(1, max(bound.tokens, int(tokens)), max(bound.cost, float(cost)))
    return sent


def _lines(folder: Path) -> Iterator[list[str]]:
    yield from (line for line in read_own_lines(folder / LOG_NAME, _parse_line, fix=_FIX) if line)


def _parse_line(line: bytes) -> list[str]:
    """The words of a line: a question's id, and what `QuestionLog` writes after it."""
    words = line.decode("ascii").split()
    match words[1:] if not words or _ID.fullmatch(words[0]) else [""] * 3:
        case [] | [_]:
            return words
        case [tokens, cost] if tokens.isdecimal() and float(cost) >= 0:
            return words
    raise ValueError("this is no line of a list of questions")


class QuestionLog:
    """The log while questions are sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        self._drop_torn_line()
        return self

    def write(self, question_id: str, bound: Spending | None = None) -> None:
        """Note that a request is about to be sent, at the cost of `bound` at most; None: its answer counts requests."""
        self._note(question_id if bound is None else f"{question_id} {bound.tokens} {bound.cost!r}")

    def take_back(self, question_id: str) -> None:
        """Note that the last request of a question reached no server."""
        self._note(f"{question_id} {_UNSENT}")

    def write_batched(self, question_id: str) -> None:
        """Note that a question is in a file that is submitted as a batch."""
        self._note(f"{question_id} {_IN_BATCH}")

    def _note(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")

    def _drop_torn_line(self) -> None:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read() in (b"", b"\n"):
                return
            file.seek(0)
            self._file.truncate(file.read().rfind(b"\n") + 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
