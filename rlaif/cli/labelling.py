"""Labelling a sheet at a terminal: one item a screen, one key a choice; without a terminal, one line a choice.

Shows the sheet, the guideline and how far the annotator is, and nothing else. Opens no ledger. What is stored, and
which item comes next, is decided in `rlaif.calibration`.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.text import Text

from rlaif.calibration.answer_file import AnswerFile
from rlaif.calibration.answers import CHOICES, DEAD_S
from rlaif.calibration.sheet import SheetItem
from rlaif.calibration.why_asked import read_why, why_path
from rlaif.cli.label_page import HELP, KEYS, MIN_WIDTH, PAGING, Page, make_page, wrap
from rlaif.console import console, show_text

FURTHER = {"\x1b[B": " ", "\x1b[6~": " ", "\r": " ", "\n": " ", "\x1b[A": "b", "\x1b[5~": "b"}
"""Arrows, page keys and Enter turn the page."""
MakePage = Callable[[int, int | None, bool], Page]
"""Width, height and whether the guideline is whole -> the page."""


class Screen(Protocol):
    """The terminal or pipe at which an annotator reads and answers."""

    def ask(self, make: MakePage, *, progress: str, further: str = "") -> str:
        """Show a new page and return the key or line that decides; an empty one where the input has ended.

        further: a key that decides on this page alone.
        """
        ...

    def read_text(self, prompt: str) -> str:
        """A line of text."""
        ...


def label_at_terminal(answers: AnswerFile, *, sheet: Path) -> None:
    """Ask about one item after another until all have answers or the annotator leaves; every choice is saved."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", ""):
        with full_screen(sys.stdin.fileno()) as screen:
            _label(answers, screen, sheet=sheet)
    else:
        _label(answers, Lines(), sheet=sheet)


def _label(answers: AnswerFile, screen: Screen, *, sheet: Path) -> None:
    try:
        while (item := answers.next_item()) is not None or answers.state.history:
            if item is None:
                if not _end(answers, screen, sheet=sheet):
                    return
            elif not _label_item(answers, screen, item):
                return
    except KeyboardInterrupt:  # Ctrl-C leaves like q: all choices are on the disk
        return


def _end(answers: AnswerFile, screen: Screen, *, sheet: Path) -> bool:
    """The page after the last item; False where the annotator leaves."""
    has_why, is_revealed = why_path(sheet).is_file(), answers.state.is_revealed
    if is_revealed and not has_why:
        return False
    page = partial(_why_page, answers, read_why(sheet, answers.sheet)) if is_revealed else partial(_last_page, has_why)
    said = screen.ask(page, progress=_describe_progress(answers), further="w" if has_why else "")[:1].lower()
    if said == "w" and has_why and not is_revealed:
        read_why(sheet, answers.sheet)  # refused while the answers can still change
        answers.reveal()
        return True
    return said == "z" and answers.undo() is not None


def _label_item(answers: AnswerFile, screen: Screen, item: SheetItem) -> bool:
    """Ask about one item; False where the annotator leaves."""
    _, *replies = answers.show(item)

    def make(width: int, height: int | None, whole: bool) -> Page:
        both = (replies[0], replies[1])
        return make_page(answers.sheet, item, replies=both, width=width, height=height, whole=whole)

    began = time.monotonic()
    while True:
        said = screen.ask(make, progress=_describe_progress(answers))
        key = said[:1].lower()
        if key in CHOICES:
            answers.answer(item, CHOICES[key], seconds=time.monotonic() - began)
        elif key == "s":
            answers.skip(item)
        elif key == "z":
            answers.undo()
        elif key == "n":
            if text := said[1:].strip() or screen.read_text("note: ").strip():
                answers.note(item, text)
            continue
        return key not in ("q", "")


def _describe_progress(answers: AnswerFile) -> str:
    state = answers.state
    skipped = f", {len(state.skips)} skipped for later" if state.skips else ""
    return f"{len(state.answers)} of {len(answers.sheet.items)} done{skipped}"


def _last_page(has_why: bool, width: int, height: int | None, whole: bool) -> Page:
    why = " w shows why these items were asked about, and makes your answers final." if has_why else ""
    words = f"Every item has an answer. Thank you. Press z to undo the last choice, q to leave.{why}"
    return Page(tuple(wrap(Text(words), max(width, MIN_WIDTH))))


def _why_page(answers: AnswerFile, reasons: Mapping[str, str], width: int, height: int | None, whole: bool) -> Page:
    lines = ["Why these items were asked about. Your answers are final; q leaves."]
    for number, item in enumerate(answers.sheet.items, start=1):
        choice = answers.state.answers[item.id].choice
        asked = " ".join(item.messages[-1].content.split())[-60:] if item.messages else ""
        lines.append(f"{number}. {asked} (you: {choice}): {reasons.get(item.id, '')}")
    return Page(tuple(line for text in lines for line in wrap(show_text(text), max(width, MIN_WIDTH))))


class Lines:
    """Pages one below the other, and answers line by line: for pipes and for terminals that cannot clear the screen."""

    def ask(self, make: MakePage, *, progress: str, further: str = "") -> str:
        width = min(shutil.get_terminal_size().columns, 100) - 1
        console.print()
        for line in make(width, None, True).lines:
            console.print(line)
        while True:
            said = self.read_text(f"[{progress}] {KEYS}: ")
            if not said or said.strip()[:1].lower() in (*CHOICES, "s", "z", "n", "q", *further):
                return said.strip()
            console.print(show_text(f"\n{HELP}"))

    def read_text(self, prompt: str) -> str:
        console.print(show_text(prompt), end="")
        sys.stdout.flush()
        return sys.stdin.buffer.readline().decode(errors="replace")


class FullScreen:
    """One page at a time on a terminal, and single keys."""

    def __init__(self, fd: int, cooked: list[object]) -> None:
        """cooked: the settings under which the terminal reads whole lines."""
        self._fd, self._cooked = fd, cooked
        self._is_first = True

    def ask(self, make: MakePage, *, progress: str, further: str = "") -> str:
        offset, message, whole, has_seen_end = 0, "", self._is_first, False
        self._is_first = False
        is_new = True
        while True:
            width, height = self._size()
            page = make(width, height, whole)
            foot = self._foot(progress, message, width=width)
            room = max(1, height - len(foot) - 1)
            last = max(0, len(page.lines) - room)
            offset = min(offset, last)
            has_seen_end = has_seen_end or offset == last
            self._draw(page, foot, offset=offset, room=room)
            if is_new:  # typed before the item was on the screen
                time.sleep(DEAD_S)
                termios.tcflush(self._fd, termios.TCIFLUSH)
                is_new = False
            key = self._read_key()
            message = ""
            if key in (" ", "b"):
                step = max(1, room - 1)
                offset = min(last, offset + step) if key == " " else max(0, offset - step)
            elif key == "g":
                whole, offset = not whole, 0
            elif key in ("1", "2", "0") and not has_seen_end:
                message = "read to the end first: space turns the page"
            elif key in (*CHOICES, "s", "z", "n", "q", "", *further):
                return key
            else:
                message = f"{HELP} {PAGING}"

    def read_text(self, prompt: str) -> str:
        """A line, read as a terminal reads lines, with its own editing."""
        raw = termios.tcgetattr(self._fd)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._cooked)  # type: ignore[arg-type]
        try:
            console.print(show_text(f"\n{prompt}"), end="")
            sys.stdout.flush()
            return os.read(self._fd, 8192).decode(errors="replace")
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)

    def _size(self) -> tuple[int, int]:
        size = os.get_terminal_size(self._fd)
        return size.columns or 80, size.lines or 24

    def _foot(self, progress: str, message: str, *, width: int) -> list[Text]:
        lines = wrap(show_text(f"{progress}   {KEYS}   ? help"), max(width - 1, MIN_WIDTH))
        return [*(wrap(show_text(message), max(width - 1, MIN_WIDTH)) if message else []), *lines]

    def _draw(self, page: Page, foot: list[Text], *, offset: int, room: int) -> None:
        sys.stdout.write("\x1b[2J\x1b[H")
        shown = page.window(offset, room)
        for line in shown:
            console.print(line, crop=True, no_wrap=True, overflow="crop")
        sys.stdout.write("\n" * (room - len(shown)))
        hidden = len(page.lines) - offset - len(shown)
        more = f"--- {hidden} more lines: space ---" if hidden else "---"
        console.print(show_text(more), style="dim")
        for number, line in enumerate(foot, start=1):
            console.print(line, style="bold", end="" if number == len(foot) else "\n")
        sys.stdout.flush()

    def _read_key(self) -> str:
        """One key; empty where the terminal is gone."""
        try:
            data = os.read(self._fd, 1)
            while data[:1] == b"\x1b" and len(data) < 8 and select.select([self._fd], [], [], 0.02)[0]:
                data += os.read(self._fd, 1)
            while data and data[0] >= 0xC0 and len(data) < 4 and select.select([self._fd], [], [], 0.02)[0]:
                data += os.read(self._fd, 1)
        except OSError:
            return ""
        key = data.decode(errors="replace")
        return FURTHER.get(key, key.lower() if len(key) == 1 and key != "\x04" else "q" if key == "\x04" else "?")


@contextmanager
def full_screen(fd: int) -> Iterator[FullScreen]:
    """The terminal's other screen, single keys without echo; whatever happens the terminal is as before afterwards."""
    cooked = termios.tcgetattr(fd)
    sys.stdout.write("\x1b[?1049h")
    try:
        tty.setcbreak(fd)
        yield FullScreen(fd, cooked)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, cooked)
        sys.stdout.write("\x1b[?1049l")
        sys.stdout.flush()
