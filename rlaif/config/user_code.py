"""The user's Python code, run so that whatever it does comes back as a value or as one sentence.

It may raise anything, end the process, wait for input, print, or change the folder it works in. None of that reaches
the run, and what it prints is shown as text of a stranger. Its time and its memory have no limit.
"""

from __future__ import annotations

import importlib
import io
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from rlaif.console import say
from rlaif.errors import RlaifError

OURS = str(Path(__file__).resolve().parents[1])
MAX_LINES, MAX_LINE = 200, 1000
"""Lines of what a function prints that are shown in all, and characters of one."""
MAX_WORDS = 300
"""Characters of an exception's own words in a sentence."""
MAX_VALUES = 10**7
"""Values of a generator that are read."""
Describe = Callable[[str, str], RlaifError]
"""(what happened, file and line where it did, empty where they are not known) -> the failure to raise."""


class _Ended(BaseException):
    """The code called os._exit."""


class Printed(io.TextIOBase):
    """A stdout whose lines become lines about the run's progress, up to a number of them."""

    def __init__(self, name: str) -> None:
        self._name, self._line, self._num_lines = name, "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, rest = text.split("\n")
        for line in lines:
            self._show(self._line + line)
            self._line = ""
        self._line = (self._line + rest)[: MAX_LINE + 1]
        return len(text)

    def end_line(self) -> None:
        """Show a line that was begun and not ended."""
        if self._line:
            self._show(self._line)
            self._line = ""

    def _show(self, line: str) -> None:
        self._num_lines += 1
        if self._num_lines <= MAX_LINES:
            say(f"{self._name}: {line if len(line) <= MAX_LINE else line[:MAX_LINE] + ' ...'}")
        elif self._num_lines == MAX_LINES + 1:
            say(f"{self._name}: prints more than {MAX_LINES} lines, and the rest is not shown")


def run_user_code(work: Callable[[], Any], *, printed: Printed, describe: Describe, home: str = "") -> Any:
    """Run `work`; its value, or all values of a generator. home: file of the code, to find the line that failed."""
    exit_of_process, stdin, stdout, folder = os._exit, sys.stdin, sys.stdout, _working_folder()
    process = os.getpid()

    def refuse_exit(status: int) -> NoReturn:
        if os.getpid() != process:  # a child process that the code started
            exit_of_process(status)
        raise _Ended(f"os._exit({status})")

    os._exit, sys.stdin, sys.stdout = refuse_exit, io.StringIO(), printed
    try:
        found = work()
        return list(islice(found, MAX_VALUES)) if isinstance(found, Iterator) else found
    except BaseException as error:
        if _is_interruption(error):
            raise
        raise describe(_describe_error(error), _find_place(error, home=home)) from error
    finally:
        os._exit, sys.stdin, sys.stdout = exit_of_process, stdin, stdout
        printed.end_line()
        if folder is not None and folder != _working_folder():
            os.chdir(folder)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _is_interruption(error: BaseException) -> bool:
    """Whether a person or the system interrupts the run: no line of the code itself raised KeyboardInterrupt."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    frames = _frames(error.__traceback__)
    file, line = frames[-1] if frames else (OURS, 0)
    return file.startswith(OURS) or "KeyboardInterrupt" not in linecache.getline(file, line)


def _describe_error(error: BaseException) -> str:
    if isinstance(error, _Ended):
        return f"called {error}"
    try:
        words = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the exception is the user's, and so is what makes its words
        words = ""
    return f"raised {type(error).__name__}" + (f": {words[:MAX_WORDS]}" if words else "")


def _find_place(error: BaseException, *, home: str) -> str:
    """The innermost line in the code's own file, else the innermost line that is not ours."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    hidden = (OURS, "<frozen", importlib.__file__)
    frames = [frame for frame in _frames(error.__traceback__) if not frame[0].startswith(hidden)]
    own = [frame for frame in frames if home and frame[0] == home]
    return "".join(f"{file}:{line}" for file, line in (own or frames)[-1:])


def _frames(trace: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
