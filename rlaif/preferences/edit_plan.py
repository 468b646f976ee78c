"""The judges' labels under two principle files -> the flips that people are asked about, and the rest, in random order.

A pair that lacks a label under one of the files is outside, and so is one that people cannot or should not be asked
about. Opens nothing and asks nobody.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rlaif.preferences.diff import Key, PairChange, PairLabels, decide
from rlaif.records import EditItem, Sample, Verdict, digest_text

TURNED: Mapping[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


class Plan(NamedTuple):
    """All pairs of a test in the order in which they are labelled, and those outside it."""

    flips: tuple[EditItem, ...]
    rest: tuple[EditItem, ...]
    left_out: dict[str, int]
    failed_old: dict[str, int]
    failed_new: dict[str, int]


def plan_test(
    labels: PairLabels,
    *,
    changes: Sequence[PairChange],
    samples: Mapping[str, Sample],
    reasons: Mapping[Key, str],
    seed: int,
) -> Plan:
    """Divide the pairs and draw both orders. The same pairs in any order and the same seed give the same plan.

    changes: the pairs that flip, with the edits that make them. reasons: why pairs are left out.
    """
    both = sorted(
        key
        for key in labels.prompts
        if key not in reasons and not isinstance(labels.old[key], str) and not isinstance(labels.new[key], str)
    )
    rng = random.Random(f"edit test\n{seed}\n{digest_text(json.dumps(both))}")
    flipped_by = {change.sample_ids: change.flipped_by for change in changes}
    names = _name_items(len(both), rng)
    items = [
        _item(key, labels, name=name, samples=samples, flipped_by=flipped_by.get(key, ()), is_listed=rng.random() < 0.5)
        for key, name in zip(both, names, strict=True)
    ]
    rng.shuffle(items)
    kept = [key for key in labels.prompts if key not in reasons]
    return Plan(
        flips=tuple(item for item in items if item.old != item.new),
        rest=tuple(item for item in items if item.old == item.new),
        left_out=dict(Counter(reasons[key] for key in labels.prompts if key in reasons)),
        failed_old=dict(Counter(_find_causes(labels.old, kept))),
        failed_new=dict(Counter(_find_causes(labels.new, kept))),
    )


def _find_causes(labels: Mapping[Key, float | str], keys: Sequence[Key]) -> Iterator[str]:
    for key in keys:
        label = labels[key]
        if isinstance(label, str):
            yield label


def _item(
    key: Key,
    labels: PairLabels,
    *,
    name: str,
    samples: Mapping[str, Sample],
    flipped_by: tuple[str, ...],
    is_listed: bool,
) -> EditItem:
    """is_listed: the sheet's a is the first in canonical order."""
    old, new = _winner(labels.old[key]), _winner(labels.new[key])
    a, b = key if is_listed else reversed(key)
    return EditItem(
        item_id=name,
        prompt_id=labels.prompts[key],
        sample_ids=(a, b),
        old=old if is_listed else TURNED[old],
        new=new if is_listed else TURNED[new],
        lengths=(len(samples[a].text), len(samples[b].text)),
        flipped_by=flipped_by,
    )


def _winner(label: float | str) -> Verdict:
    if isinstance(label, str):
        raise ValueError(f"a pair without a label is outside a test: {label}")
    return decide(label)


def _name_items(number: int, rng: random.Random) -> list[str]:
    """Names that say nothing of the items."""
    names: dict[str, None] = {}
    while len(names) < number:
        names[f"{rng.getrandbits(32):08x}"] = None
    return list(names)
