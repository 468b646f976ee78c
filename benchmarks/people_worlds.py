"""Simulated worlds of judges and people, for benchmarks/people.py: everything in them is drawn, and the truth is known.

Each world draws a list of items: what the judge says of each, and what a person would say. The truth is the mean of
what people say over endlessly many items. Nothing here was fitted to a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.calibration.ppi import Rated
from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], "Listed"]

NUM_ITEMS = 2000
PAIRS_A_PROMPT = 5
FOCUS = 0.5
"""Share of the draw probability that follows the judge in a focused world; the rest is even."""


class Listed(NamedTuple):
    """Items of a world, as columns of shape (N,)."""

    logits: Array
    lengths: Array
    people: Array
    """The probability that a person says yes (or prefers the first)."""
    prompts: NDArray[np.int64]


class World(NamedTuple):
    title: str
    draw: Draw
    favoured: Literal["none", "doubted", "flagged"] = "none"
    """Which items are labelled more often: those that the judge doubts, or those to which it says yes."""


def draw_pairwise(rng: np.random.Generator, size: int) -> Listed:
    """Preferences: two people agree on 65 %; the judge is over-confident and likes length."""
    gap, length = rng.normal(size=size), rng.normal(size=size)
    people = sigmoids(0.3 + 1.5 * gap)
    logits = 3 * (gap + 0.8 * length + 0.7 * rng.normal(size=size))
    return Listed(logits, length, people, np.arange(size))


def draw_rare(rng: np.random.Generator, size: int) -> Listed:
    """Violations: 12 %, two people agree on 94 %; the judge finds twice as many."""
    is_violation, length = rng.random(size) < 0.1, rng.normal(size=size)
    people = np.where(is_violation, 0.93, 0.027)
    logits = 3.6 * is_violation - 2.2 + 0.8 * length + 1.2 * rng.normal(size=size)
    return Listed(logits, length, people, np.arange(size))


def draw_clustered(rng: np.random.Generator, size: int) -> Listed:
    """Five pairs of each prompt, alike in what people say and in what misleads the judge."""
    prompts = np.arange(size) // PAIRS_A_PROMPT
    number = int(prompts[-1]) + 1
    shared, misled, length = rng.normal(size=number), rng.normal(size=number), rng.normal(size=size)
    gap = shared[prompts] + 0.6 * rng.normal(size=size)
    logits = 2.5 * (gap + 0.7 * misled[prompts] + 0.5 * length)
    return Listed(logits, length, sigmoids(0.2 + 1.6 * gap), prompts)


def draw_misspecified(rng: np.random.Generator, size: int) -> Listed:
    """No map of the judge's log-odds fits: a sixth of the items is read backwards, the odds have heavy tails, and
    people's answer rises and falls again."""
    gap, length = rng.normal(size=size), rng.exponential(size=size) - 1
    backwards = rng.random(size) < 1 / 6
    logits = np.where(backwards, -4.0, 3.0) * gap + rng.standard_t(2, size=size)
    return Listed(logits, length, sigmoids(-0.4 + 2 * np.sin(1.8 * gap) - length**2 / 4), np.arange(size))


WORLDS = {
    "pairwise": World("pairwise preferences", draw_pairwise),
    "rare": World("rare violations", draw_rare),
    "clustered": World("five pairs a prompt, whole prompts labelled", draw_clustered),
    "misspecified": World("no map fits the judge", draw_misspecified),
    "focused": World("rare violations, the judge's doubts drawn more often", draw_rare, "doubted"),
}
FLAGGED = World("rare violations, those that the judge flags drawn more often", draw_rare, "flagged")
"""For a control: without the weights, violations are labelled too often."""


def find_truth(world: World) -> float:
    """The mean of what people say, from four million items."""
    rng = np.random.default_rng(99)
    return float(np.mean([world.draw(rng, 100_000).people.mean() for _ in range(40)]))


class Sample(NamedTuple):
    """A list with labels on n of its items."""

    items: Rated
    judged: Array
    """The judge's own probabilities."""


def draw_sample(world: World, *, labels: int, rng: np.random.Generator) -> Sample:
    listed = world.draw(rng, NUM_ITEMS)
    judged = sigmoids(listed.logits)
    weights = np.ones(NUM_ITEMS)
    if world.favoured != "none":
        probabilities = focus(np.sqrt(judged * (1 - judged)) if world.favoured == "doubted" else judged, labels)
        at = draw_systematically(probabilities, rng=rng)
        weights = 1 / probabilities
    else:
        number = int(listed.prompts[-1]) + 1
        chosen = rng.choice(number, size=labels * number // NUM_ITEMS, replace=False)
        at = np.flatnonzero(np.isin(listed.prompts, chosen))
    said = np.full(NUM_ITEMS, np.nan)
    said[at] = rng.random(len(at)) < listed.people[at]
    features = np.stack([listed.logits, listed.lengths, np.ones(NUM_ITEMS)], axis=1)
    return Sample(Rated(features, said, listed.prompts, weights), judged)


def focus(favour: Array, labels: int) -> Array:
    """Inclusion probabilities: one half even, one half in proportion to the favour."""
    probabilities: Array = labels / len(favour) * (1 - FOCUS + FOCUS * favour / favour.mean())
    return probabilities


def draw_systematically(probabilities: Array, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many items as the probabilities sum to, each with its own: equal steps through the shuffled list."""
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order]) + rng.random()
    return order[np.floor(ends) > np.floor(np.concatenate([[ends[0] - probabilities[order[0]]], ends[:-1]]))]
