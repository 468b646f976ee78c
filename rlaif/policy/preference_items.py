"""Preference rows -> what DPO and KTO learn from: pairs, or single responses that are good or bad; and in which order.

Pure: knows no token and no model, and is imported before torch.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from rlaif.errors import StageError
from rlaif.records import Prompt, RatedRow, Tally, TrainingRow, digest_text
from rlaif.reward_model.ratings import find_scales

Labels = Literal["hard", "drawn"]


class Item(NamedTuple):
    """A pair, or one response."""

    prompt: Prompt
    responses: tuple[str, ...]
    """Two of a pair; one with a thumb."""
    label: float
    """Probability that the first response is preferred, or that the single one is good."""
    weight: float


class Items(NamedTuple):
    items: list[Item]
    dropped: Counter[str]
    """By reason: `weightless`, `tie` (a label of one half, where labels are hard), `single` (one response, where pairs
    are needed), `unscaled` (a rating of somebody whose ratings do not differ)."""

    @property
    def num_in(self) -> int:
        return len(self.items) + self.dropped.total()


class Turn(NamedTuple):
    """An item as it comes in a pass."""

    place: int
    """In the list of items."""
    is_first: bool
    """Whether its first response is the preferred one, or its single one is good."""


def find_pairs(rows: Sequence[TrainingRow], *, labels: Labels) -> Items:
    """Pairs of pairs, choices (the best with each other one) and rankings (any two)."""
    found = Items([], Counter())
    for row in rows:
        if isinstance(row, RatedRow):
            found.dropped["single"] += 1
        for pair in row.as_pairs():
            item = Item(pair.prompt, (pair.chosen, pair.rejected), label=pair.label, weight=pair.weight)
            _add(found, item, labels=labels)
    return found


def find_thumbs(rows: Sequence[TrainingRow], *, labels: Labels) -> Items:
    """Thumbs; ratings, which are good above their annotator's mean; both sides of pairs, choices and rankings."""
    found, scales = Items([], Counter()), find_scales(rows)
    for row in rows:
        if isinstance(row, RatedRow) and row.kind == "rating":
            if row.annotator not in scales:
                found.dropped["unscaled"] += 1
                continue
            above = scales[row.annotator].standardise(row.value)
            label = 0.5 if above == 0 else float(above > 0)
            _add(found, Item(row.prompt, (row.response,), label=label, weight=row.weight), labels=labels)
        elif isinstance(row, RatedRow):
            _add(found, Item(row.prompt, (row.response,), label=row.value, weight=row.weight), labels=labels)
        else:
            for pair in row.as_pairs():
                for text, label in ((pair.chosen, pair.label), (pair.rejected, 1 - pair.label)):
                    _add(found, Item(pair.prompt, (text,), label=label, weight=pair.weight), labels=labels)
    return found


def _add(found: Items, item: Item, *, labels: Labels) -> None:
    if item.weight == 0:
        found.dropped["weightless"] += 1
    elif labels == "hard" and item.label == 0.5:
        found.dropped["tie"] += 1
    else:
        found.items.append(item)


def check_items(found: Items, *, name: str) -> None:
    """Raise `StageError` where a method has nothing to learn from, or thumbs of one kind only."""
    what = "thumb" if name == "kto" else "pair"
    if not found.items:
        tally = Tally(num_in=found.num_in, dropped=dict(found.dropped))
        raise StageError(
            f"{name} has no {what} to learn from: {tally}",
            where=f"{name}.preferences",
            fix=f"give preferences that hold {what}s",
        )
    kinds = {item.label > 0.5 for item in found.items if item.label != 0.5}
    if what == "thumb" and len(kinds) == 1:
        kind, other = ("good", "bad") if kinds.pop() else ("bad", "good")
        hint = "; good responses alone are demonstrations: name them by sft.demonstrations" if kind == "good" else ""
        raise StageError(
            f"all {len(found.items)} thumbs are {kind}, and KTO learns from the difference to {other} ones",
            where=f"{name}.preferences",
            fix=f"add {other} responses{hint}",
        )


def order_turns(items: Sequence[Item], *, num_epochs: int, labels: Labels, seed: int) -> list[Turn]:
    """All passes in their order, each shuffled by (seed, pass).

    An item of weight w comes w times in a pass, on average where w is no whole number: TRL's losses know no weights.
    With drawn labels each turn draws its side.
    """
    turns: list[Turn] = []
    for epoch in range(num_epochs):
        draw = random.Random(digest_text(f"preferences\n{seed}\n{epoch}"))
        passed: list[Turn] = []
        for place, item in enumerate(items):
            whole = math.floor(item.weight)
            for _ in range(whole + (draw.random() < item.weight - whole)):
                is_first = item.label > 0.5 if labels == "hard" else draw.random() < item.label
                passed.append(Turn(place, is_first))
        draw.shuffle(passed)
        turns += passed
    return turns
