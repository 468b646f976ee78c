"""Ratings of several people -> one scale: deviations from each person's own mean.

Nobody's 7 means what another's 7 means. Each annotator's offset and scale are taken out before training; people must
have rated responses of about one kind for that to be fair. Knows no model.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.records import RatedRow, TrainingRow


class Scale(NamedTuple):
    """How one annotator rates."""

    offset: float
    scale: float
    """Standard deviation of the annotator's ratings, above zero."""

    def standardise(self, rating: float) -> float:
        return (rating - self.offset) / self.scale


def find_scales(rows: Sequence[TrainingRow]) -> dict[str, Scale]:
    """Annotator -> scale; none for an annotator whose ratings do not differ, for they order nothing."""
    ratings: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if isinstance(row, RatedRow) and row.kind == "rating" and row.weight > 0:
            ratings[row.annotator].append(row.value)
    return {
        annotator: Scale(statistics.fmean(given), statistics.pstdev(given))
        for annotator, given in ratings.items()
        if len(set(given)) > 1
    }
