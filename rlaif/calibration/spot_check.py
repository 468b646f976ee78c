"""Judged pairs and a seed -> the items that people are asked about, each with the probability of being drawn.

Strata are principle x judge's sureness x what speaks against the judge: an order flip, judges who differ. One
systematic pass over the strata draws a sample of fixed size, in which each stratum has its share to within one item.
Every item has a probability above zero, so that labels weighted by 1 / probability describe all items. Reads no file
and asks nobody.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rlaif.errors import DataError
from rlaif.records import Design, DrawnItem, Tally, digest_text
from rlaif.stats.logits import canonical_pair

NUM_BINS = 5
"""Bins of the judge's sureness under one principle, of about as many items each."""
FOCUS_SHARE = 0.5
"""With focus, the part of the probability that follows the judge's doubt; the rest is the same for all items."""
UNIFORM_SHARE = 1 / 3
"""With a queue, the part of the probability that is the same for all items, so that labels still describe all."""
MAX_RATIO = 3.0
"""Default bound on the largest probability over the smallest: beyond it, rare and heavy items make wide intervals."""
ItemKey = tuple[tuple[str, str], str]
"""Sample ids in canonical order, and a principle's id or `overall`."""


class Queued(NamedTuple):
    """A queue whose items are drawn more often."""

    name: str
    keys: frozenset[ItemKey]
    sign: str = ""
    """What is true of its items, for annotators who have answered all of their sheet."""


NO_QUEUE = Queued("", frozenset())


class FrameItem(NamedTuple):
    """A pair under one principle, or as a whole, that could be drawn."""

    prompt_id: str
    sample_ids: tuple[str, str]
    """In canonical order."""
    principle_id: str
    p_first: float
    """The judge's label: probability that the first of `sample_ids` is better."""
    flipped: bool = False
    """The two orders named different winners."""
    differ: bool = False
    """The judges of a panel named different winners."""

    @property
    def key(self) -> ItemKey:
        return canonical_pair(*self.sample_ids), self.principle_id

    @property
    def sureness(self) -> float:
        return abs(self.p_first - 0.5)

    @property
    def doubt(self) -> float:
        """sqrt(p (1 - p)): the spread of a verdict of which the judge is as sure as it says; 1/2 at the most."""
        return 0.5 if self.flipped or self.differ else math.sqrt(self.p_first * (1 - self.p_first))


class Draw(NamedTuple):
    """The drawn items in the order of their sheet, and what they were drawn from."""

    items: tuple[DrawnItem, ...]
    frame_digest: str
    num_frame: int
    by_stratum: Mapping[str, tuple[int, int]]
    """Stratum -> items drawn, items that could be drawn."""


def leave_out(frame: Iterable[FrameItem], *, reasons: Mapping[ItemKey, str]) -> tuple[list[FrameItem], Tally]:
    """The items that may be drawn now, each once, and a count of those left out, by reason."""
    items = list({item.key: item for item in frame}.values())
    dropped = Counter(reasons[item.key] for item in items if item.key in reasons)
    return [item for item in items if item.key not in reasons], Tally(num_in=len(items), dropped=dict(dropped))


def draw_items(
    frame: Sequence[FrameItem],
    *,
    size: int,
    seed: int,
    design: Design = "even",
    max_ratio: float = MAX_RATIO,
    queued: Queued = NO_QUEUE,
) -> Draw:
    """Draw `size` items. The same items in any order and the same seed give the same draw.

    queued: with the design `queue`, the items that are drawn more often.
    """
    if size > len(frame):
        raise DataError(
            f"{size} items are wanted, and {len(frame)} can be drawn",
            fix="ask for fewer, or name further runs" if frame else "judge more pairs, or name another run",
        )
    frame = sorted(frame, key=lambda item: (item.principle_id, item.sample_ids))
    digest = digest_text("\n".join(json.dumps(item) for item in frame))
    strata = name_strata(frame, queued=queued)
    probabilities = find_probabilities(frame, size=size, design=design, max_ratio=max_ratio, queued=queued)
    rng = random.Random(f"spot check\n{seed}\n{digest}")
    # subtle: within a stratum in random order. In the order of sureness there would be hardly more different draws than
    # steps of the pass.
    shuffled = [rng.random() for _ in frame]
    order = sorted(range(len(frame)), key=lambda i: (strata[i], shuffled[i]))
    taken = draw_systematic([probabilities[i] for i in order], size=size, start=rng.random())
    chosen = [order[place] for place in taken]
    rng.shuffle(chosen)
    names = _name_items(len(chosen), rng)
    items = tuple(
        _item(name, frame[i], stratum=strata[i], probability=probabilities[i], is_listed=rng.random() < 0.5)
        for name, i in zip(names, chosen, strict=True)
    )
    return Draw(items, digest, len(frame), _count(strata, chosen))


def find_probabilities(
    frame: Sequence[FrameItem], *, size: int, design: Design, max_ratio: float, queued: Queued = NO_QUEUE
) -> list[float]:
    """The probability of each item, above 0 and at most 1; together they are `size`. max_ratio: largest over least."""
    sizes = [1.0] * len(frame)
    if design == "queue":
        sizes = _favour(frame, queued)
    mean = math.fsum(item.doubt for item in frame) / len(frame) if frame else 0.0
    if design == "focus" and mean > 0:
        sizes = [1 - FOCUS_SHARE + FOCUS_SHARE * item.doubt / mean for item in frame]
        floor = max(sizes) / max_ratio
        sizes = [max(one, floor) for one in sizes]
    return _scale_to_sum(sizes, total=size)


def _favour(frame: Sequence[FrameItem], queued: Queued) -> list[float]:
    """A part that is the same for all items, and the rest for those of the queue."""
    num_queued = sum(item.key in queued.keys for item in frame)
    if not num_queued:
        raise DataError(
            f"none of the pairs that can be drawn is in the queue {queued.name}",
            where="--queue",
            fix="name another queue, or draw without one",
        )
    even, more = UNIFORM_SHARE / len(frame), (1 - UNIFORM_SHARE) / num_queued
    return [even + (more if item.key in queued.keys else 0.0) for item in frame]


def _scale_to_sum(sizes: Sequence[float], *, total: int) -> list[float]:
    """The sizes times one factor, cut at 1, so that they sum to `total`, which is at most their number."""
    if total == len(sizes):
        return [1.0] * total
    descending = sorted(sizes, reverse=True)
    rest = math.fsum(descending)
    for num_certain, largest in enumerate(descending):
        factor = (total - num_certain) / rest
        if factor * largest <= 1:
            break
        rest -= largest
    return [min(1.0, factor * size) for size in sizes]


def draw_systematic(probabilities: Sequence[float], *, size: int, start: float) -> list[int]:
    """Places drawn in one pass by equal steps: exactly `size`, each with its probability (Madow 1949).

    start: a number in [0, 1), drawn evenly. probabilities: they sum to `size`, up to rounding.
    """
    taken: list[int] = []
    reached = 0.0
    for place, probability in enumerate(probabilities):
        reached += probability
        left = len(probabilities) - place - 1
        is_due = reached > start + len(taken) or left < size - len(taken)  # rounding may miss the last step
        if is_due and len(taken) < size:
            taken.append(place)
    return taken


def name_strata(frame: Sequence[FrameItem], *, queued: Queued = NO_QUEUE) -> list[str]:
    """The stratum of each item, in words."""
    by_principle: dict[str, list[float]] = defaultdict(list)
    for item in frame:
        by_principle[item.principle_id].append(item.sureness)
    edges = {principle: _find_edges(sorted(values)) for principle, values in by_principle.items()}
    named = [_name_stratum(item, edges[item.principle_id]) for item in frame]
    return [
        f"{name}, queue {queued.name}" if item.key in queued.keys else name
        for name, item in zip(named, frame, strict=True)
    ]


def _find_edges(values: Sequence[float]) -> list[float]:
    """The lowest sureness of each bin after the first. Equal values share a bin, so there may be fewer bins."""
    return sorted({values[len(values) * n // NUM_BINS] for n in range(1, NUM_BINS)} - {values[0]})


def _name_stratum(item: FrameItem, edges: Sequence[float]) -> str:
    number = 1 + sum(item.sureness >= edge for edge in edges)
    against = [word for word, holds in (("order flips", item.flipped), ("judges differ", item.differ)) if holds]
    return ", ".join([item.principle_id, f"sureness {number} of {len(edges) + 1}", *against])


def _name_items(number: int, rng: random.Random) -> list[str]:
    """Names that say nothing of the items."""
    names: dict[str, None] = {}
    while len(names) < number:
        names[f"{rng.getrandbits(32):08x}"] = None
    return list(names)


def _item(name: str, item: FrameItem, *, stratum: str, probability: float, is_listed: bool) -> DrawnItem:
    """is_listed: the sheet's a is the first in canonical order."""
    first, second = item.sample_ids
    return DrawnItem(
        item_id=name,
        prompt_id=item.prompt_id,
        sample_ids=(first, second) if is_listed else (second, first),
        principle_id=item.principle_id,
        stratum=stratum,
        inclusion_probability=probability,
        p_judge=item.p_first if is_listed else 1 - item.p_first,
    )


def _count(strata: Sequence[str], chosen: Iterable[int]) -> dict[str, tuple[int, int]]:
    counts = {name: [0, 0] for name in sorted(set(strata))}
    for name in strata:
        counts[name][1] += 1
    for place in chosen:
        counts[strata[place]][0] += 1
    return {name: (drawn, of) for name, (drawn, of) in counts.items()}
