"""One annotator's answers to a sheet: a file to which each choice is appended, and the item that comes next.

A line is on the disk before the next item is shown; an undo is a line of its own, and no line is ever changed. Who
reads only the answers of one annotator learns nothing of another's. Prints nothing; terminal and page use it alike.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple

from pydantic import ValidationError

from rlaif.calibration.sheet import Sheet, SheetItem
from rlaif.errors import DataError
from rlaif.files.atomic import sync_folder, utc_now
from rlaif.files.own_files import read_own_lines
from rlaif.records import Value, Verdict

Choice = Literal["first", "second", "tie", "unclear"]
Order = Literal["ab", "ba"]
"""Which of the sheet's replies was shown first."""
NAME = re.compile(r"\w[\w.-]{0,39}")
MAX_NOTE = 2000
SUFFIX = ".jsonl"
FIX = "restore the file from a copy"


class Event(Value):
    """One line of the file."""

    event: Literal["begin", "shown", "answer", "skip", "undo", "note"]
    at: str
    sheet: str = ""
    """For `begin`: id of the sheet."""
    annotator: str = ""
    """For `begin`."""
    guideline: str = ""
    """For `begin` and `answer`: digest of the guideline that was on the screen."""
    item: str = ""
    """For all events but `begin`."""
    order: Order | None = None
    """For `shown` and `answer`."""
    choice: Choice | None = None
    """For `answer`: relative to the order shown."""
    seconds: float | None = None
    """For `answer`: from the item on the screen to the choice."""
    text: str = ""
    """For `note`."""


class Answer(NamedTuple):
    """What an annotator says of an item in the end."""

    item_id: str
    choice: Choice
    order: Order
    seconds: float | None
    note: str
    at: str
    guideline: str
    is_override: bool
    """An earlier answer to this item was undone."""

    @property
    def verdict(self) -> Verdict | None:
        """The choice as a label has it; None where the annotator could not decide."""
        return None if self.choice == "unclear" else self.choice


class Answered(NamedTuple):
    """Where an annotator stands with a sheet."""

    annotator: str
    answers: Mapping[str, Answer]
    """By item id; undone answers are not among them."""
    orders: Mapping[str, Order]
    """By id of each item that was shown: which reply comes first, this time and every time."""
    skips: Mapping[str, int]
    """Place of each item's last skip in the file, for items without an answer."""
    last_undone: str | None
    """Item to be shown again, where the last choice was undone."""
    history: tuple[str, ...]
    """Items answered or skipped, in order, without what was undone."""


def answers_folder(sheet_path: Path) -> Path:
    """The folder of a sheet's answers, unless another is named."""
    return sheet_path.with_name(f"{sheet_path.stem}.answers")


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
        """Take back the last choice or skip, of this sitting or an earlier one: its item's id, which comes next."""
        history = self.state.history
        if not history:
            return None
        self._append(Event(event="undo", at=utc_now(), item=history[-1]))
        return history[-1]

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
    path = folder / f"{check_annotator(annotator)}{SUFFIX}"
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
            answers._append(
                Event(
                    event="begin", at=utc_now(), sheet=sheet.id, annotator=annotator, guideline=sheet.guideline_digest
                )
            )
            sync_folder(folder)
        yield answers


def read_all_answers(sheet: Sheet, folder: Path) -> list[Answered]:
    """Where each annotator stands; for the owner of the sheet."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        events = list(_read_events(path))
        if events:
            check_events(events, sheet=sheet, annotator=path.name.removesuffix(SUFFIX), where=str(path))
            found.append(replay(events))
    return found


def check_events(events: Sequence[Event], *, sheet: Sheet, annotator: str, where: str) -> None:
    """Refuse answers that are not this annotator's to this sheet."""
    first = events[0]
    if first.event != "begin" or first.annotator != annotator:
        raise DataError(f"these are not the answers of {annotator}", where=where, fix=FIX)
    if first.sheet != sheet.id:
        raise DataError("these are answers to another sheet", where=where, fix="name the sheet that was answered")
    known = {item.id for item in sheet.items}
    answered: set[str] = set()
    for number, event in enumerate(events[1:], start=2):
        here = f"{where}:{number}"
        if event.item not in known:
            raise DataError(f"nobody drew an item {event.item[:40] or 'without a name'}", where=here, fix=FIX)
        if event.event == "answer":
            _check_answer(event, sheet=sheet, is_answered=event.item in answered, annotator=annotator, where=here)
            answered.add(event.item)
        elif event.event == "undo":
            answered.discard(event.item)


def _check_answer(event: Event, *, sheet: Sheet, is_answered: bool, annotator: str, where: str) -> None:
    if event.choice is None or event.order is None:
        raise DataError("the answer has no choice or no order", where=where, fix=FIX)
    if event.guideline != sheet.guideline_digest:
        raise DataError("the answer was given under another guideline than the sheet's", where=where, fix=FIX)
    if is_answered:
        raise DataError(
            f"{annotator} labelled item {event.item} twice without undoing the first label", where=where, fix=FIX
        )


def replay(events: Iterable[Event]) -> Answered:
    """What the lines of a file come to."""
    so_far = _SoFar()
    for number, event in enumerate(events):
        so_far.add(event, number)
    return Answered(
        annotator=so_far.annotator,
        answers=so_far.answers,
        orders=so_far.orders,
        skips=so_far.skips,
        last_undone=so_far.last_undone,
        history=tuple(so_far.history),
    )


class _SoFar:
    """What the lines read so far come to."""

    def __init__(self) -> None:
        self.annotator = ""
        self.answers: dict[str, Answer] = {}
        self.orders: dict[str, Order] = {}
        self.skips: dict[str, int] = {}
        self.history: list[str] = []
        self.last_undone: str | None = None
        self._notes: dict[str, str] = {}
        self._undone: set[str] = set()

    def add(self, event: Event, number: int) -> None:
        """number: the line's place in the file."""
        item = event.item
        if event.event == "begin":
            self.annotator = event.annotator
        elif event.event == "shown" and event.order is not None:
            self.orders.setdefault(item, event.order)
        elif event.event == "note":
            self._notes[item] = event.text
        elif event.event == "skip":
            self.skips[item] = number
            self._decide(item)
        elif event.event == "undo":
            self._undo(item)
        elif event.event == "answer":
            self._answer(event)

    def _answer(self, event: Event) -> None:
        if event.choice is not None and event.order is not None:
            self.skips.pop(event.item, None)
            self.answers[event.item] = Answer(
                item_id=event.item,
                choice=event.choice,
                order=event.order,
                seconds=event.seconds,
                note=self._notes.get(event.item, ""),
                at=event.at,
                guideline=event.guideline,
                is_override=event.item in self._undone,
            )
            self._decide(event.item)

    def _decide(self, item: str) -> None:
        self.history.append(item)
        self.last_undone = None

    def _undo(self, item: str) -> None:
        if self.answers.pop(item, None) is not None:
            self._undone.add(item)
        self.skips.pop(item, None)
        if item in self.history:
            del self.history[len(self.history) - 1 - self.history[::-1].index(item) :]
        self.last_undone = item


def find_next(items: Sequence[SheetItem], state: Answered) -> SheetItem | None:
    """The undone item; else the first in the sheet's order that was not skipped; else the one skipped longest ago."""
    is_open = [item for item in items if item.id not in state.answers]
    return min(is_open, key=lambda item: (item.id != state.last_undone, state.skips.get(item.id, -1)), default=None)


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
