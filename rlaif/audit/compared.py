"""Records of a run beside the same records made again: equal, equal but for rounding, or which field differs first.

Takes both, reads nothing and makes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Literal, NamedTuple

from rlaif.records import Record

Outcome = Literal["holds", "differs", "open"]


class Check(NamedTuple):
    """One thing that was made again and compared."""

    outcome: Outcome
    """open: it cannot be made again, for instance because a text was redacted."""
    name: str
    said: str


class Compared(NamedTuple):
    """Records of the run beside those that were made again."""

    difference: str | None
    """The first one, with its field; None: there is none."""
    num_rounded: int = 0
    """Records that are the same but for the last bits of a number."""

    def as_check(self, name: str, said: str) -> Check:
        if self.difference is not None:
            return Check("differs", name, self.difference)
        rounded = f"; {self.num_rounded} of them but for the last bits of a number" if self.num_rounded else ""
        return Check("holds", name, f"{said}{rounded}")


def compare(stored: Mapping[Hashable, Record], made: Mapping[Hashable, Record]) -> Compared:
    """The records of the run, in their order, and those that were made again, by what they are about."""
    num_rounded = 0
    for key, record in stored.items():
        if key not in made:
            return Compared(f"{record.table} {record.id}: nothing asks for it")
        if made[key].id == record.id:
            continue
        if (change := _find_change(_values(record), _values(made[key]))) is not None:
            return Compared(f"{record.table} {record.id}: {change}")
        num_rounded += 1
    for key, record in made.items():
        if key not in stored:
            return Compared(
                f"{record.table}: that of samples {', '.join(getattr(record, 'sample_ids', ()))} is missing"
            )
    return Compared(None, num_rounded)


def _values(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude={"observed"})


def _find_change(stored: dict[str, Any], made: dict[str, Any]) -> str | None:
    """The first field that differs by more than rounding, with both values."""
    for name, value in stored.items():
        if not _is_same(value, made[name]):
            return f"its {name} is {str(value)[:80]}, and the answers give {str(made[name])[:80]}"
    return None


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers to nine digits: arithmetic differs in its last bits between machines."""
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)
