"""One command of rlaif under torture: how it is run, and what no command may do, whatever it meets.

A command is forked from a process that has imported torch (tests/forked.py), so that hundreds take minutes.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from forked import run_rlaif

from rlaif.errors import RlaifError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify

KEY = "sk-torture-5f2b9c71"
"""What stands for a user's key. It must never be printed or stored."""
DESK = (
    "--run", "r", "--set", "prompts.num_prompts=2", "--set", "sampling.num_samples=2", "--set", "sampling.num_pairs=1",
)  # fmt: skip
"""The smallest run on the front desk: 2 prompts, a pair of responses each."""
LIMIT_S = 90


class Case(NamedTuple):
    """One torment: its name, and the function that lives through it in a new folder and returns what was wrong."""

    name: str
    try_in: Callable[[Path], list[str]]


class Draw(NamedTuple):
    """Which of a part's cases are tried."""

    size: int
    seed: int
    only: str
    """Words that a case's name must contain."""

    def of(self, cases: Iterable[Case]) -> list[Case]:
        """The drawn cases."""
        drawn = [case for case in cases if self.only in case.name]
        random.Random(self.seed).shuffle(drawn)
        return drawn[: self.size]


class Part(NamedTuple):
    """What became of all cases of one kind: a row of the table."""

    what: str
    tried: int
    seconds: float
    faults: list[str]
    """What was wrong, each with its case's name. Empty where nothing was."""
    more: dict[str, Any] = {}


class Ran(NamedTuple):
    """A command that ended by itself or ran into the time limit."""

    code: int | None
    """Exit code; None where it ran into the limit."""
    printed: str


def run_command(arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str] | None = None) -> Ran:
    """Run the command in the folder, with the tests' environment and `environ` on top of it."""
    try:
        done = run_rlaif(arguments, cwd=folder, environ={**os.environ, **(environ or {})}, timeout=LIMIT_S)
    except AssertionError:  # forked.py's word for a command that had to be killed
        return Ran(None, "")
    return Ran(done.returncode, done.stdout + done.stderr)


def find_faults(ran: Ran, *, codes: Iterable[int] = (0, 1, 2)) -> list[str]:
    """What a command did that none may do: a traceback, a hang, raw control characters, failing without a sentence."""
    if ran.code is None:
        return [f"still ran after {LIMIT_S} s"]
    found = []
    if "Traceback (most recent call last)" in ran.printed:
        found.append("a traceback: " + ran.printed.strip().splitlines()[-1][:200])
    elif ran.code not in codes:
        found.append(f"exit code {ran.code}: {ran.printed.strip()[-200:]}")
    elif ran.code and "error: " not in ran.printed.lower():
        found.append(f"exit code {ran.code} without a sentence: {ran.printed.strip()[-200:]!r}")
    if any(ord(mark) < 32 and mark not in "\n\r\t" for mark in ran.printed):
        found.append("a control character reaches the terminal")
    if KEY in ran.printed:
        found.append("the key is printed")
    return found


def find_faults_on_disk(folder: Path) -> list[str]:
    """What may never stand in a runs folder: the key, or a ledger that does not verify."""
    found = [f"the key is stored in {path.name}" for path in folder.rglob("*") if _holds_key(path)]
    ledger = folder / "ledger.sqlite"
    if ledger.exists():
        with Ledger.open(ledger, read_only=True) as opened:
            if not verify(opened).ok:
                found.append("the ledger does not verify")
    return found


def _holds_key(path: Path) -> bool:
    return path.is_file() and KEY.encode() in path.read_bytes()


def try_all(what: str, cases: Sequence[Case], *, workers: int) -> Part:
    """Try each case in a folder of its own, a few at a time."""
    begun = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        faults = [fault for found in pool.map(_try, cases) for fault in found]
    return Part(what, len(cases), round(time.monotonic() - begun, 1), faults)


def _try(case: Case) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="rlaif-torture-") as folder:
        try:
            found = case.try_in(Path(folder))
        except RlaifError as error:
            found = [f"the check itself failed: {error.sentence}"]
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    return [f"{case.name}: {fault}" for fault in found]
