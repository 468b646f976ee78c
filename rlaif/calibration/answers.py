"""One annotator's answers to a sheet: what the lines of their file mean, whether they can be, and which item is next.

An undo is a line like any other, so that the lines show every choice and `replay` the one that counts. Reads no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rlaif.calibration.sheet import Sheet, SheetItem
from rlaif.errors import DataError
from rlaif.records import Value, Verdict

Choice = Literal["first", "second", "tie", "unclear"]
Order = Literal["ab", "ba"]
"""Which of the sheet's replies was shown first."""
CHOICES: Mapping[str, Choice] = {"1": "first", "2": "second", "0": "tie", "u": "unclear"}
"""By the key that gives it, on a terminal and on a page."""
DEAD_S = 0.3
"""A key pressed so soon after a new item was meant for the one before."""
MAX_NOTE = 2000
FIX = "restore the file from a copy"


class Event(Value):
    """One line of the file."""

    event: Literal["begin", "shown", "answer", "skip", "undo", "note", "reveal"]
    at: str
    sheet: str = ""
    """For `begin`: id of the sheet."""
    annotator: str = ""
    """For `begin`."""
    guideline: str = ""
    """For `begin` and `answer`: digest of the guideline that was on the screen."""
    item: str = ""
    """For all events but `begin` and `reveal`."""
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
    undone: frozenset[str]
    """Items of which an answer was undone at some time."""
    history: tuple[str, ...]
    """Items answered or skipped, in order, without what was undone."""
    firsts: Mapping[str, Answer]
    """The first answer to each item, undone or not."""
    notes: Mapping[str, str]
    """The last note on each item, with an answer or without one."""
    is_revealed: bool = False
    """The annotator has seen why the items were asked about: no answer can change any more."""


def check_events(events: Sequence[Event], *, sheet: Sheet, annotator: str, where: str) -> None:
    """Refuse answers that are not this annotator's to this sheet."""
    first = events[0]
    if first.event != "begin" or first.annotator != annotator:
        raise DataError(f"these are not the answers of {annotator}", where=where, fix=FIX)
    if first.sheet != sheet.id:
        raise DataError("these are answers to another sheet", where=where, fix="name the sheet that was answered")
    known = {item.id for item in sheet.items}
    answered: set[str] = set()
    is_revealed = False
    for number, event in enumerate(events[1:], start=2):
        here = f"{where}:{number}"
        if event.event == "reveal":
            is_revealed = True
            continue
        if is_revealed:
            raise DataError(
                f"{annotator} answered after it was shown why the items were asked about", where=here, fix=FIX
            )
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
        undone=frozenset(so_far.undone),
        history=tuple(so_far.history),
        firsts=so_far.firsts,
        notes=so_far.notes,
        is_revealed=so_far.is_revealed,
    )


class _SoFar:
    """What the lines read so far come to."""

    def __init__(self) -> None:
        self.annotator = ""
        self.answers: dict[str, Answer] = {}
        self.firsts: dict[str, Answer] = {}
        self.orders: dict[str, Order] = {}
        self.skips: dict[str, int] = {}
        self.history: list[str] = []
        self.last_undone: str | None = None
        self.notes: dict[str, str] = {}
        self.undone: set[str] = set()
        self.is_revealed = False

    def add(self, event: Event, number: int) -> None:
        """number: the line's place in the file."""
        item = event.item
        if event.event == "begin":
            self.annotator = event.annotator
        elif event.event == "shown" and event.order is not None:
            self.orders.setdefault(item, event.order)
        elif event.event == "note":
            self.notes[item] = event.text
        elif event.event == "skip":
            self.skips[item] = number
            self._decide(item)
        elif event.event == "undo":
            self._undo(item)
        elif event.event == "reveal":
            self.is_revealed = True
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
                note=self.notes.get(event.item, ""),
                at=event.at,
                guideline=event.guideline,
                is_override=event.item in self.undone,
            )
            self.firsts.setdefault(event.item, self.answers[event.item])
            self._decide(event.item)

    def _decide(self, item: str) -> None:
        self.history.append(item)
        self.last_undone = None

    def _undo(self, item: str) -> None:
        if self.answers.pop(item, None) is not None:
            self.undone.add(item)
        self.skips.pop(item, None)
        if item in self.history:
            del self.history[len(self.history) - 1 - self.history[::-1].index(item) :]
        self.last_undone = item


def find_next(items: Sequence[SheetItem], state: Answered) -> SheetItem | None:
    """The undone item; else the first in the sheet's order that was not skipped; else the one skipped longest ago."""
    is_open = [item for item in items if item.id not in state.answers]
    return min(is_open, key=lambda item: (item.id != state.last_undone, state.skips.get(item.id, -1)), default=None)
