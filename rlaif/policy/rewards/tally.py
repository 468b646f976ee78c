"""Rows of a training's metrics -> how many episodes got a reward, and why others got none.

Knows names and numbers alone: a page about a training that is over needs no library that trains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rlaif.records import Tally
from rlaif.training.metrics import MetricsRow

FAILED = "val/failed_rewards/"
"""How the names of these counts begin in the metrics, before source and cause."""


def tally_rewards(rows: Iterable[MetricsRow]) -> Tally:
    """Episodes of all steps, and those that were dropped by source and cause."""
    kept, dropped = 0, Counter[str]()
    for row in rows:
        found = _failures(row.numbers)
        dropped.update(found)
        kept = max(kept, int(row.numbers.get("episode") or 0))
    return Tally(num_in=kept + dropped.total(), dropped=dict(dropped))


def _failures(numbers: Mapping[str, float | None]) -> dict[str, int]:
    return {key.removeprefix(FAILED): int(value or 0) for key, value in numbers.items() if key.startswith(FAILED)}
