"""The table -> which of its claims hold: a target, met or missed, and by how much.

Says nothing where the runs cannot tell, and leaves nothing out. Computes no truth of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from steer_table import Flip, NamedMove, Spread, Table, format_change, spread, turned

from rlaif.frontdesk.truth import ATTRIBUTES

MOVED, MOVED_FAR = 20.0, 30.0
PLACEBO_LIMIT = 5.0
MAX_MINUTES = 60.0


class Target(NamedTuple):
    """One claim; `met` is None where these runs cannot tell."""

    what: str
    met: bool | None
    said: str


def check_targets(table: Table, *, minutes: float | None = None) -> list[Target]:
    """Each claim, whether these runs meet it, and by how much not. `minutes`: what the whole table took."""
    named = table.named()
    targets = [_check_direction(named), _check_size(named), _check_far(named)]
    targets += [_check_flip(table, flip) for flip in table.flips]
    if table.placebo is not None:
        targets.append(_check_placebo(table, table.placebo))
    if minutes is not None:
        what = f"the whole table in at most {MAX_MINUTES:.0f} minutes on 2 cores"
        targets.append(Target(what, minutes <= MAX_MINUTES, f"{minutes:.0f} minutes"))
    return targets


def _check_direction(named: Sequence[NamedMove]) -> Target:
    missed = [f"{_describe_asked(m)} ({min(m.change.values):+.1f})" for m in named if min(m.change.values) <= 0]
    runs = sum(len(m.change.values) for m in named)
    wrong = sum(value <= 0 for m in named for value in m.change.values)
    said = f"{runs - wrong} of {runs}" + _but(missed)
    return Target("every named principle moves in the named direction in every run", not missed, said)


def _check_size(named: Sequence[NamedMove]) -> Target:
    with_room = [m for m in named if m.has_room]
    far = [m for m in with_room if m.change.mean >= MOVED and m.change.excludes_zero]
    missed = [f"{_describe_asked(m)} ({format_change(m.change)})" for m in with_room if m not in far]
    one_seed = any(m.change.interval is None for m in with_room)
    met = None if one_seed and all(m.change.mean >= MOVED for m in with_room) else not missed
    what = f"by at least {MOVED:.0f} points over the seeds where there is room, the interval clear of zero"
    if one_seed:
        return Target(what, met, f"{sum(m.change.mean >= MOVED for m in with_room)} of {len(with_room)}; "
                                 "one seed has no interval")  # fmt: skip
    return Target(what, met, f"{len(far)} of {len(with_room)}" + _but(missed))


def _check_far(named: Sequence[NamedMove]) -> Target:
    with_room = [m for m in named if m.has_room]
    far = sum(m.change.mean >= MOVED_FAR for m in with_room)
    what = f"half of those by {MOVED_FAR:.0f} points or more"
    return Target(what, 2 * far >= len(with_room), f"{far} of {len(with_room)}")


def _check_flip(table: Table, flip: Flip) -> Target:
    pairs = zip(table.rows_of(flip.original), table.rows_of(flip.flipped), strict=True)
    original = next(s for s in table.steered if s.name == flip.original)
    direction = next(asked.direction for asked in original.asked if asked.attribute == flip.attribute)
    apart = spread([direction * (a.truth[flip.attribute] - b.truth[flip.attribute]) for a, b in pairs])
    moves = [turned(table.change(flip.original, flip.attribute), direction),
             turned(table.change(flip.flipped, flip.attribute), -direction)]  # fmt: skip
    met = min(value for move in moves for value in move.values) > 0 and min(apart.values) > 0
    ends = [table.truth(name, flip.attribute).mean for name in (flip.original, flip.flipped)]
    said = f"{ends[0]:.0f} against {ends[1]:.0f}, {format_change(apart)} apart"
    return Target(f"{flip.flipped} turns {flip.attribute} round against {flip.original}", met, said)


def _check_placebo(table: Table, name: str) -> Target:
    moves = {attribute: table.change(name, attribute, placebo=True) for attribute in ATTRIBUTES}
    missed = [
        f"{attribute} {format_change(move)}"
        for attribute, move in moves.items()
        if abs(move.mean) > PLACEBO_LIMIT and (move.excludes_zero or move.interval is None)
    ]
    greatest = max(moves.values(), key=lambda move: abs(move.mean))
    what = f"shuffled verdicts move nothing: intervals include zero, or at most {PLACEBO_LIMIT:.0f} points"
    return Target(what, not missed, f"the largest mean change is {greatest.mean:+.1f}" + _but(missed))


def _describe_asked(move: NamedMove) -> str:
    return f"{move.asked.id} under {move.constitution}"


def _but(missed: Sequence[str]) -> str:
    return f"; missed by {', '.join(missed)}" if missed else ""


def as_json(table: Table, targets: Sequence[Target]) -> dict[str, object]:
    """The table with its runs, for benchmarks/results."""

    def as_numbers(numbers: Spread) -> Mapping[str, object]:
        low, high = (None, None) if numbers.interval is None else (numbers.interval.low, numbers.interval.high)
        return {"mean": numbers.mean, "low": low, "high": high, "by_seed": list(numbers.values)}

    return {
        "best_of": table.num_choices,
        "named": [
            {
                "constitution": move.constitution, "principle": move.asked.id, "text": move.asked.text,
                "attribute": move.asked.attribute, "direction": move.asked.direction, "room": move.room,
                "start": as_numbers(move.start), "trained": as_numbers(move.trained),
                "change_as_asked": as_numbers(move.change), "best_of_change_as_asked": as_numbers(move.best_of),
            }
            for move in table.named()
        ],
        "targets": [target._asdict() for target in targets],
        "constitutions": [steered.model_dump() for steered in table.steered],
        "start": [start.model_dump() for start in table.starts],
        "rows": [row.model_dump() for row in table.rows],
    }  # fmt: skip
