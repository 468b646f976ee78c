"""What a stage took in, kept and dropped, by named reason: nothing is dropped silently.

A value, not a row of the ledger. Decides nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from rlaif.records.base import Value


class Tally(Value):
    """Prints as `in 1200, kept 1131, dropped 69 (tie 41, flipped 22, identical 6)`."""

    num_in: int = Field(ge=0)
    dropped: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Reason -> how many; a reason that dropped nothing may be missing."""

    @model_validator(mode="after")
    def _drops_no_more_than_came_in(self) -> Self:
        if self.num_dropped > self.num_in:
            raise ValueError(f"{self.num_dropped} dropped of {self.num_in}")
        return self

    @property
    def num_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def kept(self) -> int:
        return self.num_in - self.num_dropped

    def __add__(self, other: Tally) -> Tally:
        """The tally of two disjoint batches together."""
        dropped = Counter(self.dropped)
        dropped.update(other.dropped)
        return Tally(num_in=self.num_in + other.num_in, dropped=dict(dropped))

    def __str__(self) -> str:
        by_size = sorted(self.dropped.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{reason} {count}" for reason, count in by_size if count)
        why = f" ({reasons})" if reasons else ""
        return f"in {self.num_in}, kept {self.kept}, dropped {self.num_dropped}{why}"
