"""Two principle files -> the single edits that lead from one to the other.

Principles are matched by id, and one with weight zero counts as absent. Asks no judge: which decisions an
edit flips is in `rlaif.preferences.diff`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from rlaif.constitution.selection import weighted_principles
from rlaif.records import Constitution, Principle, Value

EditKind = Literal["text", "weight", "text and weight", "added", "removed"]


class Edit(Value):
    """A change of one principle."""

    principle_id: str
    kind: EditKind
    old: Principle | None
    """None: added."""
    new: Principle | None
    """None: removed."""


def find_edits(old: Constitution, new: Constitution) -> list[Edit]:
    """Every principle whose text, opposite or weight differs: those of the old file in its order, then added ones."""
    before = {principle.id: principle for principle in weighted_principles(old)}
    after = {principle.id: principle for principle in weighted_principles(new)}
    edits = []
    for name in {**before, **after}:
        one, other = before.get(name), after.get(name)
        kind = _kind(one, other)
        if kind is not None:
            edits.append(Edit(principle_id=name, kind=kind, old=one, new=other))
    return edits


def _kind(old: Principle | None, new: Principle | None) -> EditKind | None:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.wordings != new.wordings:
        return "text" if old.weight == new.weight else "text and weight"
    return None if old.weight == new.weight else "weight"


def apply_edits(old: Constitution, edits: Collection[Edit]) -> list[Principle]:
    """The principles that count after these edits; may be none."""
    by_id = {edit.principle_id: edit for edit in edits}
    kept = [by_id[p.id].new if p.id in by_id else p for p in weighted_principles(old)]
    added = [edit.new for edit in edits if edit.old is None]
    return [principle for principle in (*kept, *added) if principle is not None]
