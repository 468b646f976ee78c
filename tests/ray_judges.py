"""Scripted judges that run on the workers of a Ray cluster and leave a line for each question that they are asked.

The lines stand in a file per process, in the folder that the environment names.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

FOLDER = "RLAIF_TEST_ASKED"


def note(question) -> str:
    """A line of 16 letters for this question."""
    line = hashlib.sha256(question.prompt.encode()).hexdigest()[:16]
    with (Path(os.environ[FOLDER]) / f"{os.getpid()}.txt").open("a") as file:
        file.write(line + "\n")
    return line


def prefer_short(question) -> tuple[float, float]:
    note(question)
    *_, first, second = question.texts
    return (0.9, 0.1) if len(first) < len(second) else (0.2, 0.8)


def slow(question) -> tuple[float, float]:
    time.sleep(0.02)
    return prefer_short(question)


def deadly(question) -> tuple[float, float]:
    """Ends its process at one of the questions."""
    if "reply 0 to 7" in question.prompt:
        os.kill(os.getpid(), signal.SIGKILL)
    return prefer_short(question)


def broken(question) -> tuple[float, float]:
    raise ValueError("the third layer is upside down")


def asked(folder: Path) -> list[str]:
    """What all processes were asked so far, a line each."""
    return [line for path in sorted(folder.glob("*.txt")) for line in path.read_text().split()]


def pids(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("*.txt")}
