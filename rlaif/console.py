"""What the user sees: results on stdout, progress on stderr, untrusted text made harmless.

Progress is a bar on a terminal; elsewhere it is one plain line per tenth of the work or per 30 seconds.
Decides nothing.
"""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

console = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def show_text(text: str) -> Text:
    """Text from a model or a data set, safe to print: never markup, with control and direction characters visible."""
    shown = "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else f"<U+{ord(c):04X}>" for c in text)
    return Text(shown)


_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


_logs: list[TextIO] = []


@contextmanager
def keep_log(path: Path) -> Iterator[None]:
    """Write every line of `say` inside the block to a file too."""
    with path.open("a", encoding="utf-8") as log:
        _logs.append(log)
        try:
            yield
        finally:
            _logs.remove(log)


def say(line: str) -> None:
    """Print one plain line about the run's progress on stderr, and write it to the run's log."""
    shown = show_text(line)
    notes.print(shown)
    for log in _logs:
        log.write(shown.plain + "\n")
        log.flush()


class Progress:
    """Progress of one stage: items done and failed, tokens and time left. With an empty label nothing is printed."""

    def __init__(self, label: str, total: int, *, unit: str = "") -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = self._failed = self._tokens = self._known = 0
        self._causes: Counter[str] = Counter()
        self._start = self._last_said = time.monotonic()
        self._next_tenth = 1
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if notes.is_terminal and self._label:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn("{task.fields[extra]}", markup=False), console=notes,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(show_text(self._label).plain, total=self._total, extra="")
        return self

    def count_known(self, count: int) -> None:
        """Count items that were done before this attempt: they say nothing of how fast the rest will be."""
        if count:
            self._known += count
            self._done += count
            self._next_tenth = self._done * 10 // max(self._total, 1) + 1
            self._show("", is_due=self._done >= self._total)

    def advance(
        self, count: int = 1, *, failed: int = 0, causes: Iterable[str] = (), tokens: int = 0, note: str = ""
    ) -> None:
        """Count `count` more items as done. Each cause in `causes` is one failure beside those that `failed` counts."""
        before = self._causes.total()
        self._causes.update(causes)
        is_first = self._done == self._known > 0
        self._done += count
        self._failed += failed + self._causes.total() - before
        self._tokens += tokens
        self._show(note, is_due=is_first or (self._total > 0 and self._done * 10 >= self._next_tenth * self._total))

    def _show(self, note: str, *, is_due: bool) -> None:
        """Update the bar; elsewhere print a line where one is due, or where the last is older than 30 seconds."""
        known = f"{self._known} of {self._total} were there already" if self._known else ""
        tokens = f"{self._tokens / 1000:.0f} k tokens" if self._tokens else ""
        extra = ", ".join(part for part in (known, self._describe_failed(), tokens, note) if part)
        if self._bar is not None:  # what was there already is left out: a bar finds the time left by its own speed
            new, total = max(self._done - self._known, 0), max(self._total - self._known, 0)
            self._bar.update(self._task, completed=new, total=total, extra=show_text(extra).plain)
            return
        now = time.monotonic()
        if self._label and (is_due or now - self._last_said > 30):
            self._next_tenth = self._done * 10 // max(self._total, 1) + 1
            self._last_said = now
            say(f"{self._label}: {self._done}/{self._total}{f' {self._unit}' if self._unit else ''}"
                f"{f' ({extra})' if extra else ''}{self._describe_time(now - self._start)}")  # fmt: skip

    def _describe_time(self, elapsed: float) -> str:
        """The time left by the speed of this attempt, or the time taken; nothing where nothing new was done yet."""
        if self._done >= self._total:
            return f", {elapsed:.1f} s"
        new = self._done - self._known
        return f", {elapsed / new * (self._total - self._done):.0f} s left" if new > 0 else ""

    def _describe_failed(self) -> str:
        why = ", ".join(f"{cause} {count}" for cause, count in self._causes.most_common())
        return f"{self._failed} failed{f': {why}' if why else ''}" if self._failed else ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
