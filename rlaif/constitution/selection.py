"""A constitution -> the principles that decide a pair: each of them, all as one, or one that is drawn.

Every stage that combines comparisons selects a pair's principles here, so that all stages use the same ones.
Asks no judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rlaif.records import Constitution, Principle, digest_text

PrincipleMode = Literal["each", "together", "sampled"]
TOGETHER = "together"
"""Id of the one principle that is made of all of them."""


def weighted_principles(constitution: Constitution) -> list[Principle]:
    """The principles that count: those with a weight above zero."""
    return [principle for principle in constitution.principles if principle.weight > 0]


def prepare_constitution(constitution: Constitution, *, mode: PrincipleMode) -> Constitution:
    """The constitution as the judge gets it: with `together`, all principles that count become one numbered list.

    The list does not show their weights. It has an opposite where each of them has one. A constitution in which only
    one principle counts stays as it is.
    """
    principles = weighted_principles(constitution)
    if mode != "together" or len(principles) < 2:
        return constitution
    opposites = [principle.opposite for principle in principles]
    opposite = _number(opposites) if all(opposites) else ""
    text = _number([principle.text for principle in principles])
    return constitution.changed(principles=(Principle(id=TOGETHER, text=text, opposite=opposite),))


def _number(texts: Sequence[str]) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))


def principles_of(
    constitution: Constitution, sample_ids: Sequence[str], *, draw_seed: int | None = None
) -> list[Principle]:
    """The principles that decide a pair of samples, in either order: all that count, or with a seed one drawn by it."""
    principles = weighted_principles(constitution)
    return principles if draw_seed is None else [draw_principle(principles, sample_ids, seed=draw_seed)]


def draw_principle(principles: Sequence[Principle], sample_ids: Sequence[str], *, seed: int) -> Principle:
    """One principle, drawn in proportion to the weights by the seed and the pair (Bai et al. 2022, arXiv:2212.08073).

    Each principle gets an exponential arrival time with its weight as the rate, and the first to arrive is drawn, so
    each is drawn in proportion to its weight. A changed text changes no draw; a changed weight changes only draws from
    or to its own principle.
    """
    pair = "\n".join(sorted(sample_ids))

    def arrival(principle: Principle) -> float:
        # 52 bits, never 0: a number between 0 and 1 that a float holds exactly.
        u = (int(digest_text(f"principle\n{seed}\n{pair}\n{principle.id}")[:13], 16) + 0.5) / 16**13
        return -math.log(u) / principle.weight

    return min(principles, key=arrival)
