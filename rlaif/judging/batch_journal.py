"""The journal of the batches that a stage submitted to a server's batch endpoint.

Each step of a batch is a line of batches.jsonl, which is on the disk before the next step is taken. A list of the
batch's questions is written beside it. Sends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from annotated_types import Len
from pydantic import Discriminator, StringConstraints
from typing_extensions import TypedDict

from rlaif.files.atomic import sync_folder
from rlaif.files.own_files import json_of, read_own, read_own_lines, refuse_damage
from rlaif.models.budget import Spending
from rlaif.models.endpoint.prompt import PlainChat
from rlaif.models.endpoint.settings import Settings

JOURNAL_NAME = "batches.jsonl"
FILES_NAME = "batches"
_NOUN = "the list of batches"
_FIX = "restore it from a copy, or start a new run"


class _Prepared(TypedDict):
    step: Literal["prepared"]
    batch: Annotated[str, StringConstraints(pattern="^[0-9]+$")]
    questions: int
    bound: Annotated[list[float], Len(3, 3)]
    settings: list[Any]
    counted: NotRequired[bool]


class _Uploaded(TypedDict):
    step: Literal["uploaded"]
    batch: str
    file_id: str


class _Submitted(TypedDict):
    step: Literal["submitted"]
    batch: str
    batch_id: str


class _Collected(TypedDict):
    step: Literal["collected"]
    batch: str
    asked: NotRequired[int]


class _Dropped(TypedDict):
    step: Literal["dropped"]
    batch: str


class _Learnt(TypedDict):
    step: Literal["learnt"]
    settings: list[Any]


_Step = _Prepared | _Uploaded | _Submitted | _Collected | _Dropped | _Learnt
_STEP = json_of(Annotated[_Step, Discriminator("step")])


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


def _parse_sent(data: bytes) -> list[SentLine]:
    found = []
    for line in data.decode("ascii").splitlines():
        key, attempt, num_shown, neutralised, num_bytes = line.split()
        found.append(SentLine(key, int(attempt), int(num_shown), int(neutralised), int(num_bytes)))
    return found


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
        self._drop_torn_line()
        for number, step in enumerate(read_own_lines(self._path, _STEP, fix=_FIX, noun=_NOUN), start=1):
            with refuse_damage(self._path, fix=_FIX, line=number, noun=_NOUN):
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
        return {line.question_id: line for line in read_own(self._sent_path(name), _parse_sent, fix=_FIX)}

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

    def _drop_torn_line(self) -> None:
        """Drop what a kill left of a line: the step that it was to name did not happen."""
        if not self._path.is_file():
            return
        data = self._path.read_bytes()
        if torn := data.rpartition(b"\n")[2]:
            with self._path.open("rb+") as file:
                file.truncate(len(data) - len(torn))

    def _take(self, step: dict[str, Any]) -> None:
        """Take a step. Raises ValueError for a step of a batch that is not open, or with other settings."""
        name = step.get("batch", "")
        if step["step"] in ("uploaded", "submitted", "collected", "dropped") and name not in self.open:
            raise ValueError(f"batch {name} was not begun, or is over")
        match step["step"]:
            case "prepared":
                self._num_batches = int(name)
                self.open[name] = Submission(
                    name, step["questions"], Spending(*step["bound"]), _settings_of(step["settings"]),
                    is_counted=step.get("counted", False),
                )  # fmt: skip
            case "uploaded":
                self.open[name].file_id = step["file_id"]
            case "submitted":
                self.open[name].batch_id = step["batch_id"]
            case "collected" | "dropped":
                self.open.pop(name)
            case "learnt":
                self.settings = _settings_of(step["settings"])


def _settings_of(values: list[Any]) -> Settings:
    if not 2 <= len(values) <= len(Settings._fields):
        raise ValueError("there are no such settings")
    return Settings(*values)


def count_batch_calls(folder: Path) -> int:
    """The calls of a stage's batches: the questions that a server worked on, or may be working on. Changes nothing."""
    waiting: dict[str, int] = {}
    uploaded: set[str] = set()
    calls = 0
    for step in read_own_lines(folder / JOURNAL_NAME, _STEP, fix=_FIX, noun=_NOUN):
        name = step.get("batch", "")
        match step["step"]:
            case "prepared" if step.get("counted"):
                waiting[name] = step["questions"]
            case "uploaded":
                uploaded.add(name)
            case "collected" if name in waiting:
                waiting.pop(name)
                calls += step.get("asked", 0)
    return calls + sum(count for name, count in waiting.items() if name in uploaded)
