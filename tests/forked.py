"""`python -m rlaif` in real processes that need not import torch: forked from one that has imported it.

For tests that start the command dozens of times, where the imports would cost more than what is tested. Each process
has its own pid, is killed as any other is, and ends with the command's own exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["rlaif.cli", "rlaif.pipeline"])


class Forked(NamedTuple):
    """A command under way, or ended; what it prints goes to `errors`."""

    process: multiprocessing.process.BaseProcess
    errors: Path

    @property
    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def send(self, number: int) -> None:
        """Signal the process."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, *, timeout: float = 300) -> tuple[int, str]:
        """The exit code, negative for a signal, and what was printed."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"the command still ran after {timeout} s: {self.errors.read_text()}")
        return code, self.errors.read_text()


def start_rlaif(arguments: Sequence[str], *, errors: Path) -> Forked:
    """Start the command; it inherits the environment of the first call of this function."""
    process = _SERVER.Process(target=_run, args=(list(arguments), str(errors)))
    process.start()
    return Forked(process, errors)


def _run(arguments: list[str], errors: str) -> None:
    out = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.argv = ["rlaif", *arguments]

    from rlaif.cli import main

    main()
