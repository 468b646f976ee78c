"""What is on each annotator's screen, and what their forms do: the rules of the labelling page, without HTTP.

A form counts only for the screen that it was sent from, so that a doubled click, a second tab and a page that was left
open store nothing. Opens the sheet and the annotators' own files of answers, and no ledger; why an item was asked
about is read only for an annotator who has answered all of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.answer_file import AnswerFile, answers_path, open_answers
from rlaif.calibration.answers import CHOICES, DEAD_S, MAX_NOTE, Choice
from rlaif.calibration.sheet import SheetItem, read_sheet
from rlaif.calibration.why_asked import read_why, why_path
from rlaif.errors import DataError

Clock = Callable[[], float]
SAVED: Mapping[Choice, str] = {
    "first": "Saved: the first reply is better.",
    "second": "Saved: the second reply is better.",
    "tie": "Saved: a tie.",
    "unclear": "Saved: unclear.",
}


MAX_ASKED = 120
"""Characters of a conversation's end in the list of an answered sheet."""


class Said(NamedTuple):
    """What came of the last form, shown once."""

    text: str
    is_refusal: bool = False
    draft: str | None = None
    """A note that was not stored."""


class WhyLine(NamedTuple):
    """An item of an answered sheet, and why it was asked about."""

    number: int
    asked: str
    """How its conversation ends."""
    choice: Choice
    why: str


class Screen(NamedTuple):
    """What an annotator sees."""

    item: SheetItem | None
    """None: every item has an answer."""
    replies: tuple[str, str]
    """In the order shown."""
    place: int
    """Choices and skips that count so far. Together with the item it names the screen."""
    num_done: int
    num_skipped: int
    note: str
    said: Said | None
    can_reveal: bool = False
    """Every item has an answer, and there is a file that says why they were asked about."""
    why: tuple[WhyLine, ...] = ()
    """Empty until the annotator has answered every item and asked for it."""


class Sent(NamedTuple):
    """What a form says."""

    action: str
    """A choice, or skip, undo, note, reveal."""
    item: str
    place: str
    note: str


class Seat:
    """One annotator's open file, and what is on their screen."""

    def __init__(self, answers: AnswerFile, *, sheet: Path, clock: Clock) -> None:
        self._answers, self._sheet, self._clock = answers, sheet, clock
        self._on_screen: tuple[str, str] | None = None
        self._since = 0.0
        self._said: Said | None = None

    def show(self) -> Screen:
        """The next item, or that there is none. The first time, the order of its replies is drawn and stored."""
        item = self._answers.next_item()
        replies = ("", "") if item is None else self._answers.show(item)[1:]
        state = self._answers.state
        name = _name_screen(item, len(state.history))
        if name != self._on_screen:  # a reload shows no new item
            self._on_screen, self._since = name, self._clock()
        said, self._said = self._said, None
        kept = "" if item is None else state.notes.get(item.id, "")
        return Screen(
            item=item,
            replies=replies,
            place=len(state.history),
            num_done=len(state.answers),
            num_skipped=len(state.skips),
            note=kept if said is None or said.draft is None else said.draft,
            said=said,
            can_reveal=item is None and not state.is_revealed and why_path(self._sheet).is_file(),
            why=tuple(self._list_why()) if state.is_revealed else (),
        )

    def _list_why(self) -> Iterator[WhyLine]:
        """Why each item was asked about, in the order of the sheet."""
        reasons = read_why(self._sheet, self._answers.sheet)
        for number, item in enumerate(self._answers.sheet.items, start=1):
            asked = item.messages[-1].content if item.messages else ""
            choice = self._answers.state.answers[item.id].choice
            yield WhyLine(number, " ".join(asked.split())[-MAX_ASKED:], choice, reasons.get(item.id, ""))

    def take(self, sent: Sent) -> None:
        """Do what a form says. The next `show` says what came of it."""
        self._said = self._take(sent)

    def _take(self, sent: Sent) -> Said:
        item, state = self._answers.next_item(), self._answers.state
        is_here = (sent.item, sent.place) == self._on_screen == _name_screen(item, len(state.history))
        if not is_here:
            return Said("That came from a page that was not the newest. Nothing was stored.", is_refusal=True)
        seconds = self._clock() - self._since
        if seconds < DEAD_S:
            return Said("That came before the item could be read. Nothing was stored.", is_refusal=True)
        note = sent.note.replace("\r\n", "\n").strip()
        if len(note) > MAX_NOTE:
            too_long = f"A note holds {MAX_NOTE} characters at most, and this one has {len(note)}. Nothing was stored."
            return Said(too_long, is_refusal=True, draft=note)
        if item is not None and note != state.notes.get(item.id, ""):
            self._answers.note(item, note)
        if state.is_revealed:
            return Said("You have seen why the items were asked about, so your answers are final.", is_refusal=True)
        if sent.action == "reveal" and item is None:
            return self._reveal()
        if sent.action == "undo":
            return _say_undone(self._answers.undo())
        return (
            Said("Choose one of the buttons.", is_refusal=True) if item is None else self._decide(item, sent, seconds)
        )

    def _reveal(self) -> Said:
        if not why_path(self._sheet).is_file():
            return Said("Nothing is known of why the items were asked about.", is_refusal=True)
        read_why(self._sheet, self._answers.sheet)  # refused while the answers can still change
        self._answers.reveal()
        return Said("Your answers are final now.")

    def _decide(self, item: SheetItem, sent: Sent, seconds: float) -> Said:
        choice = next((choice for choice in CHOICES.values() if choice == sent.action), None)
        if choice is not None:
            self._answers.answer(item, choice, seconds=seconds)
            return Said(SAVED[choice])
        if sent.action == "skip":
            self._answers.skip(item)
            return Said("Skipped: the item comes back after the others.")
        if sent.action == "note":
            return Said("Note saved. Now choose.")
        return Said("Choose one of the buttons.", is_refusal=True)


def _name_screen(item: SheetItem | None, place: int) -> tuple[str, str]:
    return ("" if item is None else item.id), str(place)


def _say_undone(item_id: str | None) -> Said:
    if item_id is None:
        return Said("There is nothing to undo.", is_refusal=True)
    return Said("Undone: this item is open again.")


class Desk:
    """The sheet, and the seats of those who have come.

    A seat is taken at its owner's first page, not before: whoever has a file of answers counts as having begun. It is
    kept until the server ends, and nobody can label under that name elsewhere meanwhile.
    """

    def __init__(self, path: Path, *, folder: Path, clock: Clock = time.monotonic) -> None:
        self._path, self._folder, self._clock = path, folder, clock
        self._version = _find_version(path)
        self.sheet = read_sheet(path)
        self._seats: dict[str, _Taken] = {}

    def seat(self, who: str) -> Seat:
        """The annotator's seat. Refused where the sheet is another one by now, or their file is gone or in use."""
        self._check_sheet()
        path = answers_path(self._folder, who)
        if who in self._seats and _find_file(path) != self._seats[who].file:
            self.leave(who)
            raise DataError(
                "the file of your answers was moved away or replaced while this page was open",
                where=str(path),
                fix="have it put back, or reload the page to begin a new one",
            )
        if who not in self._seats:
            with ExitStack() as held:
                answers = held.enter_context(open_answers(self.sheet, self._folder, annotator=who))
                seat = Seat(answers, sheet=self._path, clock=self._clock)
                self._seats[who] = _Taken(seat, held.pop_all(), _find_file(path))
        return self._seats[who].seat

    def leave(self, who: str) -> None:
        """Close the annotator's file. What is on the disk counts when it is opened again."""
        if (taken := self._seats.pop(who, None)) is not None:
            with suppress(OSError):  # closing tries once more to write what could not be written
                taken.held.close()

    def close(self) -> None:
        for who in tuple(self._seats):
            self.leave(who)

    def _check_sheet(self) -> None:
        version = _find_version(self._path)
        if version == self._version:
            return
        found = read_sheet(self._path)  # refuses one that was changed, in a sentence that says what is
        if found.id != self.sheet.id:
            raise DataError(
                "another sheet is in this one's place, and labels of two sheets are no one set",
                where=str(self._path),
                fix="put the old file back, or start `rlaif spot-check serve` again for the new one",
            )
        self._version = version


class _Taken(NamedTuple):
    seat: Seat
    held: ExitStack
    """The open file, locked for this process."""
    file: tuple[int, int]


def _find_version(path: Path) -> tuple[int, int, int]:
    """Changes whenever the file is written or replaced; of a file that is not there all zeros."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _find_file(path: Path) -> tuple[int, int]:
    """Which file it is, whatever is in it."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
