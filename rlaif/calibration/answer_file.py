"""The file of one annotator's answers to a sheet: begun, continued, appended to, read, or written from another tool's.

A line is on the disk before the next item is shown, and no line is ever changed. Prints nothing; terminal and page use
it alike.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from rlaif.calibration.answers import (
    FIX,
    MAX_NOTE,
    Answer,
    Answered,
    Choice,
    Event,
    Order,
    check_events,
    find_next,
    replay,
)
from rlaif.calibration.sheet import Sheet, SheetItem
from rlaif.errors import DataError
from rlaif.files.atomic import sync_folder, utc_now, write_atomically
from rlaif.files.own_files import read_own_lines

NAME = re.compile(r"\w[\w.-]{0,39}")
SUFFIX = ".jsonl"


def answers_folder(sheet_path: Path) -> Path:
    """The folder of a sheet's answers, unless another is named."""
    return sheet_path.with_name(f"{sheet_path.stem}.answers")


def answers_path(folder: Path, annotator: str) -> Path:
    """The annotator's file in a folder of answers."""
    return folder / f"{check_annotator(annotator)}{SUFFIX}"


def check_annotator(name: str) -> str:
    """The name, refused where it could not name a file."""
    if not NAME.fullmatch(name) or not name.isprintable():
        raise DataError(
            f'"{name[:40]}" cannot name an annotator',
            where="--as",
            fix="use letters, digits, `.`, `_` and `-`, at most 40 of them",
        )
    return name


class AnswerFile:
    """The answers of one annotator, open to be continued by this process alone."""

    def __init__(self, file: IO[bytes], sheet: Sheet, events: list[Event], rng: random.Random) -> None:
        self._file, self.sheet, self._events, self._rng = file, sheet, events, rng

    @property
    def state(self) -> Answered:
        return replay(self._events)

    def show(self, item: SheetItem) -> tuple[Order, str, str]:
        """The order in which this annotator sees the two replies, drawn when the item is first shown; and both."""
        order: Order | None = self.state.orders.get(item.id)
        if order is None:
            order = "ab" if self._rng.random() < 0.5 else "ba"
            self._append(Event(event="shown", at=utc_now(), item=item.id, order=order))
        first, second = (item.a, item.b) if order == "ab" else (item.b, item.a)
        return order, first, second

    def answer(self, item: SheetItem, choice: Choice, *, seconds: float | None = None) -> None:
        """Store a choice on an item that was shown and has no answer."""
        state = self.state
        if item.id in state.answers:
            raise DataError(f"item {item.id} has an answer already", fix="undo it first")
        self._append(
            Event(
                event="answer", at=utc_now(), item=item.id, order=state.orders[item.id], choice=choice,
                guideline=self.sheet.guideline_digest, seconds=None if seconds is None else round(seconds, 2),
            )
        )  # fmt: skip

    def skip(self, item: SheetItem) -> None:
        """Put an item behind all others."""
        self._append(Event(event="skip", at=utc_now(), item=item.id))

    def note(self, item: SheetItem, text: str) -> None:
        """Keep a remark on an item; it replaces an earlier one."""
        self._append(Event(event="note", at=utc_now(), item=item.id, text=text[:MAX_NOTE]))

    def undo(self) -> str | None:
        """Take back the last choice or skip, of this sitting or an earlier one: its item's id, which comes next.

        None where there is none, or where the annotator has seen why the items were asked about.
        """
        history = self.state.history
        if not history or self.state.is_revealed:
            return None
        self._append(Event(event="undo", at=utc_now(), item=history[-1]))
        return history[-1]

    def reveal(self) -> None:
        """Note that the annotator, who has answered every item, is shown why they were asked about."""
        if self.next_item() is not None:
            raise DataError("not every item has an answer yet", fix="answer the others first")
        if not self.state.is_revealed:
            self._append(Event(event="reveal", at=utc_now()))

    def next_item(self) -> SheetItem | None:
        """The item to show; None where all have answers."""
        return find_next(self.sheet.items, self.state)

    def _append(self, event: Event) -> None:
        line = event.model_dump_json(exclude_defaults=True) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.append(event)


@contextmanager
def open_answers(
    sheet: Sheet, folder: Path, *, annotator: str, rng: random.Random | None = None
) -> Iterator[AnswerFile]:
    """The annotator's answers to the sheet, begun or continued; another process cannot open them meanwhile."""
    path = answers_path(folder, annotator)
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"somebody is labelling this sheet as {annotator} now", where=str(path), fix="give another name by --as"
            ) from error
        _drop_torn_line(file)
        events = list(_read_events(path))
        answers = AnswerFile(file, sheet, events, rng or random.SystemRandom())
        if events:
            check_events(events, sheet=sheet, annotator=annotator, where=str(path))
        else:
            answers._append(_begin(sheet, annotator))
            sync_folder(folder)
        yield answers


def write_answers(sheet: Sheet, folder: Path, given: Mapping[str, Sequence[Answer]]) -> None:
    """The files of annotators who answered elsewhere; refused, all of them, where one has a file already."""
    for annotator in given:
        path = answers_path(folder, annotator)
        if path.exists():
            raise DataError(
                f"there are answers of {annotator} already",
                where=str(path),
                fix="name another --answers folder, or rename the annotator in the file that is imported",
            )
    folder.mkdir(parents=True, exist_ok=True)
    for annotator, answers in given.items():
        lines = [_begin(sheet, annotator), *(event for answer in answers for event in _events_of(answer))]
        text = "".join(line.model_dump_json(exclude_defaults=True) + "\n" for line in lines)
        write_atomically(answers_path(folder, annotator), text)


def _begin(sheet: Sheet, annotator: str) -> Event:
    return Event(event="begin", at=utc_now(), sheet=sheet.id, annotator=annotator, guideline=sheet.guideline_digest)


def _events_of(answer: Answer) -> Iterator[Event]:
    at, item = answer.at, answer.item_id
    yield Event(event="shown", at=at, item=item, order=answer.order)
    if answer.note:
        yield Event(event="note", at=at, item=item, text=answer.note[:MAX_NOTE])
    yield Event(
        event="answer", at=at, item=item, order=answer.order, choice=answer.choice, guideline=answer.guideline,
        seconds=answer.seconds,
    )  # fmt: skip


def read_all_answers(sheet: Sheet, folder: Path) -> list[Answered]:
    """Where each annotator stands; for the owner of the sheet."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        events = list(_read_events(path))
        if events:
            check_events(events, sheet=sheet, annotator=path.name.removesuffix(SUFFIX), where=str(path))
            found.append(replay(events))
    return found


def _read_events(path: Path) -> Iterator[Event]:
    yield from read_own_lines(path, _parse_event, fix=FIX, noun="the file of answers")


def _parse_event(line: bytes) -> Event:
    try:
        return Event.model_validate(json.loads(line))
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False, include_input=False)[0]["msg"]) from error


def _drop_torn_line(file: IO[bytes]) -> None:
    """Remove the rest of a line that a kill cut off: it was never acknowledged."""
    file.seek(0)
    data = file.read()
    if torn := len(data.rpartition(b"\n")[2]):
        file.truncate(len(data) - torn)
    file.seek(0, os.SEEK_END)
