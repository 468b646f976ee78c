"""Pairs -> groups of samples that a judge is shown together, and the orders in which it is shown them.

Rotations come first: after as many of them as there are samples, each has stood in each place once. Asks nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rlaif.records import Sample, digest_text


class Group(NamedTuple):
    """Samples of one prompt that pairs join, directly or through others."""

    shown: tuple[Sample, ...]
    """One for each different text, by id: a text shown twice would share its probability with itself."""
    stands_for: Mapping[str, str]
    """Id of each sample -> id of the one that shows its text."""
    pairs: tuple[tuple[Sample, Sample], ...]


def find_groups(pairs: Iterable[tuple[Sample, Sample]]) -> list[Group]:
    """In the order of the pairs that come first."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    listed = list(pairs)
    for first, second in listed:
        leader[find(second.id)] = find(first.id)
    members: dict[str, list[tuple[Sample, Sample]]] = {}
    for pair in listed:
        members.setdefault(find(pair[0].id), []).append(pair)
    return [_make_group(found) for found in members.values()]


def _make_group(pairs: Sequence[tuple[Sample, Sample]]) -> Group:
    samples = {sample.id: sample for pair in pairs for sample in pair}
    by_text: dict[str, Sample] = {}
    for key in sorted(samples):
        by_text.setdefault(samples[key].text, samples[key])
    stands_for = {key: by_text[sample.text].id for key, sample in samples.items()}
    return Group(tuple(by_text.values()), stands_for, tuple(pairs))


def shuffle_group(shown: Sequence[Sample], *, num_shuffles: int | None) -> list[tuple[Sample, ...]]:
    """Different orders: the rotations, then others drawn by the samples' ids. None: as many as there are samples."""
    num = len(shown)
    wanted = num if num_shuffles is None else min(num_shuffles, math.factorial(num))
    orders = [(*shown[start:], *shown[:start]) for start in range(min(num, wanted))]
    generator = random.Random(int(digest_text("\n".join(sample.id for sample in shown))[:15], 16))
    seen = {tuple(sample.id for sample in order) for order in orders}
    while len(orders) < wanted:
        order = tuple(generator.sample(shown, num))
        key = tuple(sample.id for sample in order)
        if key not in seen:
            seen.add(key)
            orders.append(order)
    return orders
