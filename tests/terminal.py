"""A program on a real pseudo-terminal: what is on its screen now, and keys for it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLEAR = "\x1b[2J\x1b[H"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The master side of a pseudo-terminal with a program on it."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd, self.process = fd, process
        self.written = ""
        """Everything that the program wrote."""

    def wait_for(self, text: str, *, timeout_s: float = 20.0) -> str:
        """The screen, once the text is on it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.screen:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come; the screen is:\n{self.screen}")
            self._read()
        self._read()
        return self.screen

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def choose(self, key: str, *, then: str) -> str:
        """Press a key until the text comes. After a new item the program is deaf for a moment, so wait before that."""
        for _ in range(10):
            time.sleep(0.4)
            self.press(key)
            try:
                return self.wait_for(then, timeout_s=2.0)
            except AssertionError:
                continue
        raise AssertionError(f"{key} never led to {then!r}; the screen is:\n{self.screen}")

    def redraw(self, keys: str, *, end: str) -> str:
        """Press keys that draw the screen again; the new screen, once its end is there."""
        drawn = self.written.count(CLEAR)
        self.press(keys)
        deadline = time.monotonic() + 20
        while self.written.count(CLEAR) <= drawn or not self.screen.endswith(end):
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing was drawn again; the screen is:\n{self.screen}")
            self._read()
        return self.screen

    def finish(self) -> int:
        """The program's exit code."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
        self._read()
        return self.process.wait(timeout=1)

    @property
    def screen(self) -> str:
        """What was written since the screen was last cleared, without escapes."""
        return ESCAPES.sub("", self.written.rpartition(CLEAR)[2])

    def _read(self) -> None:
        while select.select([self._fd], [], [], 0.03)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the program is gone
                return
            if not data:
                return
            self.written += data.decode(errors="replace").replace("\r\n", "\n")


def _take_terminal() -> None:
    """Make the new terminal the one whose Ctrl-C reaches this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def on_terminal(
    command: Sequence[str], *, columns: int = 80, lines: int = 24, cwd: Path, term: str = "xterm"
) -> Iterator[Terminal]:
    """A program whose input and output are a new terminal of this size."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env={**environ, "TERM": term},
        start_new_session=True, preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
