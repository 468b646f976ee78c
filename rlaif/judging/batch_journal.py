"""The journal of the batches that a stage submitted to a server's batch endpoint.

Each step of a batch is a line of batches.jsonl, which is on the disk before the next step is taken. A list of the
batch's questions is written beside it. Sends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import RunFolderError
from rlaif.files.atomic import sync_folder
from rlaif.models.budget import Spending
from rlaif.models.endpoint.prompt import PlainChat
from rlaif.models.endpoint.settings import Settings

JOURNAL_NAME = "batches.jsonl"
FILES_NAME = "batches"


class SentLine(NamedTuple):
    """One question of a batch, as it was sent."""

    question_id: str
    attempt: int
    num_shown: int
    """How many responses the question shows."""
    neutralised: int
    num_bytes: int

    @property
    def plain(self) -> PlainChat:
        """What the list keeps of the question's prompt."""
        return PlainChat([], self.neutralised, self.num_bytes)


@dataclass
class Submission:
    """A batch and how far it got."""

    name: str
    num_questions: int
    bound: Spending
    """What the batch can cost at most."""
    settings: Settings
    file_id: str | None = None
    batch_id: str | None = None
    is_counted: bool = False
    """Whether the journal counts the batch's calls; older versions counted them by the list of questions."""


class BatchJournal:
    """The batches of one stage that are not collected yet."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the folder of the stage."""
        self._path, self._files = folder / JOURNAL_NAME, folder / FILES_NAME
        self.settings: Settings | None = None
        """The settings that the server was found to accept."""
        self.open: dict[str, Submission] = {}
        self._num_batches = 0
        for step in self._read():
            self._take(step)
        for name in [name for name, submission in self.open.items() if submission.file_id is None]:
            self.drop(name)  # never left this machine

    @staticmethod
    def exists(folder: Path) -> bool:
        return (folder / JOURNAL_NAME).is_file()

    def next_name(self) -> str:
        return f"{self._num_batches + 1:04d}"

    def requests_path(self, name: str) -> Path:
        """The file of requests that is uploaded."""
        self._files.mkdir(parents=True, exist_ok=True)
        return self._files / f"{name}.jsonl"

    def answers_path(self, name: str) -> Path:
        return self._files / f"{name}.answers"

    def prepare(self, submission: Submission, sent: Iterable[SentLine]) -> None:
        """Note a batch whose questions are written down, before anything is sent."""
        with self._sent_path(submission.name).open("w", encoding="ascii") as file:
            file.writelines(f"{' '.join(map(str, line))}\n" for line in sent)
            file.flush()
            os.fsync(file.fileno())
        self._note(
            {
                "step": "prepared", "batch": submission.name, "questions": submission.num_questions,
                "bound": list(submission.bound), "settings": list(submission.settings),
                "counted": submission.is_counted,
            }
        )  # fmt: skip

    def uploaded(self, name: str, file_id: str) -> None:
        self._note({"step": "uploaded", "batch": name, "file_id": file_id})
        self.requests_path(name).unlink(missing_ok=True)

    def submitted(self, name: str, batch_id: str) -> None:
        self._note({"step": "submitted", "batch": name, "batch_id": batch_id})

    def collected(self, name: str, *, status: str, num_asked: int | None = None) -> None:
        """Note that all answers of a batch are in the ledger.

        `num_asked`: how many of its questions the server worked on; None: all.
        """
        asked = self.open[name].num_questions if num_asked is None else num_asked
        self._note({"step": "collected", "batch": name, "status": status, "asked": asked})
        self._remove_files(name)

    def drop(self, name: str) -> None:
        """Note that a batch is given up: the server does not know it, or nobody waits for its answers."""
        self._note({"step": "dropped", "batch": name})
        self._remove_files(name)

    def learn(self, settings: Settings) -> None:
        self._note({"step": "learnt", "settings": list(settings)})

    def sent(self, name: str) -> dict[str, SentLine]:
        """The questions of a batch, by id."""
        lines = (line.split() for line in self._sent_path(name).read_text(encoding="ascii").splitlines())
        return {key: SentLine(key, *map(int, numbers)) for key, *numbers in lines}

    def _sent_path(self, name: str) -> Path:
        return self._files / f"{name}.sent"

    def _remove_files(self, name: str) -> None:
        for path in (self.requests_path(name), self.answers_path(name), self._sent_path(name)):
            path.unlink(missing_ok=True)

    def _note(self, step: dict[str, Any]) -> None:
        is_new = not self._path.is_file()
        with self._path.open("ab") as file:
            file.write(json.dumps(step).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self._path.parent)
        self._take(step)

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self._path.is_file():
            return
        data = self._path.read_bytes()
        *lines, torn = data.split(b"\n")
        if torn:  # by a kill: the step that the line was to name did not happen
            with self._path.open("rb+") as file:
                file.truncate(len(data) - len(torn))
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise RunFolderError(
                    "the list of batches is damaged", where=f"{self._path}:{number}", fix="restore it from a copy"
                ) from error

    def _take(self, step: dict[str, Any]) -> None:
        name = step.get("batch", "")
        match step["step"]:
            case "prepared":
                self._num_batches = int(name)
                self.open[name] = Submission(
                    name, step["questions"], Spending(*step["bound"]), Settings(*step["settings"]),
                    is_counted=step.get("counted", False),
                )  # fmt: skip
            case "uploaded":
                self.open[name].file_id = step["file_id"]
            case "submitted":
                self.open[name].batch_id = step["batch_id"]
            case "collected" | "dropped":
                self.open.pop(name)
            case "learnt":
                self.settings = Settings(*step["settings"])


def count_batch_calls(folder: Path) -> int:
    """The calls of a stage's batches: the questions that a server worked on, or may be working on. Changes nothing."""
    path = folder / JOURNAL_NAME
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    waiting: dict[str, int] = {}
    uploaded: set[str] = set()
    calls = 0
    for step in map(json.loads, lines):
        name = step.get("batch", "")
        match step["step"]:
            case "prepared" if step.get("counted"):
                waiting[name] = step["questions"]
            case "uploaded":
                uploaded.add(name)
            case "collected" if name in waiting:
                waiting.pop(name)
                calls += step["asked"]
    return calls + sum(count for name, count in waiting.items() if name in uploaded)
