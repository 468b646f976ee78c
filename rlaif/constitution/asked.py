"""A constitution and the way it is asked -> the principles that decide a pair: each, all as one, or one that is drawn.

Every stage that combines comparisons asks here which principles a pair needs, so that all of them mean the same ones.
Asks no judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rlaif.records import Constitution, Principle, digest_text

PrincipleMode = Literal["each", "together", "sampled"]
TOGETHER = "together"
"""Id of the one principle that stands for all of them."""


def asked_principles(constitution: Constitution) -> list[Principle]:
    """The principles that are asked: a weight of zero asks nothing."""
    return [principle for principle in constitution.principles if principle.weight > 0]


def prepare_constitution(constitution: Constitution, *, mode: PrincipleMode) -> Constitution:
    """The constitution as the judge is asked under it: `together` makes one numbered principle of all that count.

    Their weights are not told. A constitution in which one principle counts is asked as it is.
    """
    principles = asked_principles(constitution)
    if mode != "together" or len(principles) < 2:
        return constitution
    numbered = "\n".join(f"{number}. {principle.text}" for number, principle in enumerate(principles, start=1))
    return constitution.changed(principles=(Principle(id=TOGETHER, text=numbered),))


def principles_of(
    constitution: Constitution, sample_ids: Sequence[str], *, draw_seed: int | None = None
) -> list[Principle]:
    """The principles that decide a pair of samples, in either order: all that count, or with a seed the one drawn."""
    principles = asked_principles(constitution)
    return principles if draw_seed is None else [draw_principle(principles, sample_ids, seed=draw_seed)]


def draw_principle(principles: Sequence[Principle], sample_ids: Sequence[str], *, seed: int) -> Principle:
    """One principle, drawn in proportion to the weights by the seed and the pair (Bai et al. 2022, arXiv:2212.08073).

    Each principle runs a race of its own, exponential with its weight as the rate, and the first one in is drawn: its
    share is its weight's. So a changed text moves no draw, and a changed weight only draws from or to its principle.
    """
    pair = "\n".join(sorted(sample_ids))

    def arrival(principle: Principle) -> float:
        # 52 bits, never 0: a number between 0 and 1 that a float holds exactly.
        u = (int(digest_text(f"principle\n{seed}\n{pair}\n{principle.id}")[:13], 16) + 0.5) / 16**13
        return -math.log(u) / principle.weight

    return min(principles, key=arrival)
