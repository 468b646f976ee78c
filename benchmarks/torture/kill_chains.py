"""Runs killed with kill -9 a dozen times each and resumed: every one ends as the unbroken run."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from case import Case, Draw, Part, try_all
from killed import differences, finish, kill_and_resume


def try_kills(draw: Draw, workers: int) -> Part:
    """Kill and resume as many runs as the draw is large."""
    unbroken = Path(os.environ["TORTURE_TMP"]) / "never_killed"
    unbroken.mkdir()
    finish(unbroken)
    kills: Counter[str] = Counter()
    cases = [Case(f"chain {number}", _chain(draw.seed + number, unbroken, kills)) for number in range(draw.size)]
    part = try_all("runs killed in every stage and resumed", cases, workers=workers)
    return part._replace(more={"kills": dict(kills), "kills_in_all": kills.total()})


def _chain(seed: int, unbroken: Path, kills: Counter[str]) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        try:
            kills.update(kill_and_resume(folder, random.Random(seed)))
        except AssertionError as error:
            return [f"it could not be resumed: {str(error).strip()[-300:]}"]
        return differences(folder, unbroken)

    return try_in
