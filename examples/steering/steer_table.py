"""Truth per run -> what a reader asks: what moved, in the named direction or not, how surely, against which flip.

Intervals are over training seeds (Student's t, n = seeds), never over prompts. Runs nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rlaif.errors import ConstitutionError
from rlaif.frontdesk.truth import ATTRIBUTES, OPPOSITES
from rlaif.frontdesk.wordings import find_wording
from rlaif.records import Constitution, Estimate
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval

ROOM = 25.0
"""A principle has room where the start lies at least this far from its pole."""
_POLE_OF = {pole: attribute for attribute, pole in OPPOSITES.items()}


class Asked(Value):
    """One principle, as the measure that it should move."""

    id: str
    text: str
    attribute: str
    direction: Literal[1, -1]
    """1: more of the attribute, to 100; -1: its opposite pole, to 0."""


class Steered(Value):
    """One constitution of the table."""

    name: str
    asked: tuple[Asked, ...]


class Start(Value):
    """The starting policy on one seed's held-out prompts."""

    seed: int
    truth: dict[str, float]
    """Attribute -> mean over the replies, 0-100."""
    figures: dict[str, float]
    seconds: dict[str, float]


class Row(Value):
    """One training: a constitution (or its verdicts shuffled) and a seed."""

    seed: int
    constitution: str
    placebo: bool = False
    truth: dict[str, float]
    """Of the trained policy."""
    best_of: dict[str, float]
    """Of the start's best reply by the reward model, without training."""
    figures: dict[str, float]
    seconds: dict[str, float]
    note: str = ""
    """Why PPO stopped early; empty when it did not."""


class Spread(NamedTuple):
    """A number over the training seeds."""

    mean: float
    interval: Estimate | None
    """None with one seed."""
    values: tuple[float, ...]
    """By seed."""

    @property
    def excludes_zero(self) -> bool:
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


class NamedMove(NamedTuple):
    """What became of one principle under the constitution that names it."""

    constitution: str
    asked: Asked
    room: float
    """From the start to the pole."""
    start: Spread
    trained: Spread
    change: Spread
    """In the named direction: positive is as asked."""
    best_of: Spread
    """The same by best-of-n, without training."""

    @property
    def has_room(self) -> bool:
        return self.room >= ROOM


class Flip(NamedTuple):
    """Two constitutions that differ in one principle, which wants the opposite."""

    original: str
    flipped: str
    attribute: str


def read_asked(constitution: Constitution, *, name: str) -> Steered:
    """A constitution's principles as directions of the front desk's measures.

    A text that the front desk's grammar makes says what it wants by itself; for another the tag counts.
    """
    asked = []
    for principle in constitution.principles:
        wording = find_wording(principle.text)
        known = [tag for tag in principle.tags if tag in ATTRIBUTES or tag in _POLE_OF]
        if wording is None and len(known) != 1:
            raise ConstitutionError(
                f'principle "{principle.id}" does not say which measure it should move',
                where=f'constitution "{name}"',
                fix=f"give it one tag of {', '.join((*ATTRIBUTES, *_POLE_OF))}",
            )
        wanted = known[0] if wording is None else wording.wanted
        attribute = _POLE_OF.get(wanted, wanted)
        asked.append(
            Asked(id=principle.id, text=principle.text, attribute=attribute, direction=1 if wanted == attribute else -1)
        )
    return Steered(name=name, asked=tuple(asked))


def find_flips(steered: Sequence[Steered]) -> list[Flip]:
    """Each constitution that is an earlier one with one principle turned to its opposite."""
    flips = []
    for place, later in enumerate(steered):
        for earlier in steered[:place]:
            old = [asked for asked in earlier.asked if asked.text not in {other.text for other in later.asked}]
            new = [asked for asked in later.asked if asked.text not in {other.text for other in earlier.asked}]
            if len(old) == len(new) == 1 and (old[0].attribute, old[0].direction) == (
                new[0].attribute, -new[0].direction,
            ):  # fmt: skip
                flips.append(Flip(earlier.name, later.name, new[0].attribute))
                break
    return flips


def spread(values: Sequence[float]) -> Spread:
    return Spread(sum(values) / len(values), mean_interval(values), tuple(values))


class Table(NamedTuple):
    """All runs, in the order of the constitutions."""

    steered: tuple[Steered, ...]
    starts: tuple[Start, ...]
    rows: tuple[Row, ...]
    num_choices: int
    """Replies per prompt among which best-of-n picks."""

    @property
    def flips(self) -> list[Flip]:
        return find_flips(self.steered)

    @property
    def placebo(self) -> str | None:
        """The constitution whose verdicts were shuffled."""
        return next((row.constitution for row in self.rows if row.placebo), None)

    def rows_of(self, name: str, *, placebo: bool = False) -> list[Row]:
        return sorted((r for r in self.rows if (r.constitution, r.placebo) == (name, placebo)), key=lambda r: r.seed)

    def start_truth(self, attribute: str) -> Spread:
        return spread([start.truth[attribute] for start in self.starts])

    def truth(self, name: str, attribute: str, *, placebo: bool = False) -> Spread:
        return spread([row.truth[attribute] for row in self.rows_of(name, placebo=placebo)])

    def change(self, name: str, attribute: str, *, placebo: bool = False, best_of: bool = False) -> Spread:
        """After minus before on the same prompts, seed by seed."""
        before = {start.seed: start.truth[attribute] for start in self.starts}
        rows = self.rows_of(name, placebo=placebo)
        return spread([(row.best_of if best_of else row.truth)[attribute] - before[row.seed] for row in rows])

    def named(self) -> list[NamedMove]:
        return [self._named(steered.name, asked) for steered in self.steered for asked in steered.asked]

    def _named(self, name: str, asked: Asked) -> NamedMove:
        start = self.start_truth(asked.attribute)
        return NamedMove(
            constitution=name,
            asked=asked,
            room=100 - start.mean if asked.direction > 0 else start.mean,
            start=start,
            trained=self.truth(name, asked.attribute),
            change=turned(self.change(name, asked.attribute), asked.direction),
            best_of=turned(self.change(name, asked.attribute, best_of=True), asked.direction),
        )


def turned(numbers: Spread, direction: int) -> Spread:
    """Seen in the named direction."""
    return spread([direction * value for value in numbers.values])


def format_change(change: Spread) -> str:
    """ "+31.2 [28.0, 34.4]"; without an interval where there is one seed."""
    bounds = "" if change.interval is None else f" [{change.interval.low:+.1f}, {change.interval.high:+.1f}]"
    return f"{change.mean:+.1f}{bounds}"
