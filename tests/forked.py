"""`python -m rlaif` in real processes that need not import torch: forked from one that has imported it.

For tests that start the command many times, where the imports would cost more than what is tested. Each process has
its own pid, folder and environment, is killed as any other is, and ends with the command's own exit code. What a
process reads of its environment while it imports (threads, offline, colours) is that of the tests.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    # pyarrow imports pandas when it is first given values
    ["rlaif.cli", "rlaif.pipeline", "rlaif.models.local.engine", "transformers.models.llama.modeling_llama", "pandas"]
)


class Forked(NamedTuple):
    """A command under way, or ended, and where it prints to."""

    process: BaseProcess
    output: Path

    @property
    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def send(self, number: int) -> None:
        """Signal the process."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, *, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """The exit code, negative for a signal, and what was printed."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"the command still ran after {timeout} s")
        printed = [(self.output / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        shutil.rmtree(self.output)
        return subprocess.CompletedProcess([], code, *printed)


def start_rlaif(
    arguments: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Forked:
    """Start the command in a folder, with an environment: those of the tests where none is given."""
    output = Path(tempfile.mkdtemp(prefix="rlaif-test-"))
    for name in ("stdout", "stderr"):
        (output / name).touch()
    given = (list(arguments), str(cwd or Path.cwd()), dict(environ or os.environ), str(output))
    process = _SERVER.Process(target=_run, args=given)
    process.start()
    return Forked(process, output)


def run_rlaif(
    arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """What became of the command."""
    return start_rlaif(arguments, cwd=cwd, environ=environ).wait(timeout=timeout)


def _run(arguments: list[str], cwd: str, environ: dict[str, str], output: str) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(output) / name, os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    sys.path.insert(0, cwd)  # as `python -m` does
    sys.argv = ["rlaif", *arguments]

    from rlaif.cli import main
    from rlaif.console import console, notes

    if "COLUMNS" in environ:
        console.width = notes.width = int(environ["COLUMNS"])
    main()
