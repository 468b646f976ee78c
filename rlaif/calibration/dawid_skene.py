"""Several people's choices on the same items -> how each person errs, and what most likely is right of each item.

Dawid and Skene (1979): every item has one right choice, and every person confuses choices with rates that are the
person's and the same on all items. Expectation maximisation finds rates and right choices together, from the share of
votes on. Reads no files; where people agree by a common error it cannot notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.records import Verdict

Array = NDArray[np.float64]

PRIOR = 1.0
"""Choices that are added to every row of a person's confusion matrix, spread evenly over it: without them a person who
was never seen to err would be taken as certain."""
NUM_STEPS, SMALLEST_STEP = 500, 1e-9
MIN_PEOPLE = 3
"""With fewer people the votes cannot tell which of them errs."""


class Combined(NamedTuple):
    probabilities: list[dict[Verdict, float]]
    """Per item, in the order given: each choice's probability of being right. Without votes it is the prevalence."""
    prevalence: dict[Verdict, float]
    """Share of the items of which each choice is right."""
    confusion: dict[str, dict[Verdict, dict[Verdict, float]]]
    """Person -> right choice -> how often the person then makes each choice."""
    num_steps: int
    """Steps until no probability moved by more than SMALLEST_STEP; NUM_STEPS where one still did."""

    def accuracy(self, person: str) -> float:
        """Share of the items on which the person would choose what is right."""
        rates = self.confusion[person]
        return sum(share * rates[choice][choice] for choice, share in self.prevalence.items())


def combine_choices(items: Sequence[Mapping[str, Verdict]], *, weights: Sequence[float] | None = None) -> Combined:
    """The most likely rates and right choices; items: person -> choice. weights: how much each item counts.

    Needs at least one choice. An item with one vote is read by that person's rates alone.
    """
    choices = sorted({choice for item in items for choice in item.values()})
    people = list(dict.fromkeys(person for item in items for person in item))
    if not choices:
        raise ValueError("there are no choices to combine")
    votes = _votes(items, people, choices)
    counts = np.ones(len(items)) if weights is None else np.asarray(weights, dtype=np.float64) / np.mean(weights)
    cast = votes.sum(axis=(1, 2))
    right = np.where(cast[:, None] > 0, votes.sum(axis=1) / np.maximum(cast, 1)[:, None], 1 / len(choices))
    step = 0
    while True:
        prevalence, rates = _maximise(right, votes, counts)
        found = _expect(votes, prevalence, rates)
        moved = float(np.abs(found - right).max())
        right, step = found, step + 1
        if moved <= SMALLEST_STEP or step == NUM_STEPS:
            break
    named = {
        person: {true: dict(zip(choices, map(float, rates[p, row]), strict=True)) for row, true in enumerate(choices)}
        for p, person in enumerate(people)
    }
    return Combined(
        probabilities=[dict(zip(choices, map(float, row), strict=True)) for row in right],
        prevalence=dict(zip(choices, map(float, prevalence), strict=True)),
        confusion=named,
        num_steps=step,
    )


def _votes(items: Sequence[Mapping[str, Verdict]], people: Sequence[str], choices: Sequence[Verdict]) -> Array:
    """(items, people, choices): 1 where the person made the choice."""
    person_at = {person: i for i, person in enumerate(people)}
    choice_at = {choice: i for i, choice in enumerate(choices)}
    votes = np.zeros((len(items), len(people), len(choices)))
    for place, item in enumerate(items):
        for person, choice in item.items():
            votes[place, person_at[person], choice_at[choice]] = 1
    return votes


def _maximise(right: Array, votes: Array, counts: Array) -> tuple[Array, Array]:
    """Prevalence (choices,) and rates (people, right choice, choice made) of items whose right choice is known so."""
    weighted = right * counts[:, None]
    prevalence = weighted.sum(axis=0) / counts.sum()
    seen = np.einsum("ik,ipc->pkc", weighted, votes) + PRIOR / votes.shape[2]
    return prevalence, seen / seen.sum(axis=2, keepdims=True)


def _expect(votes: Array, prevalence: Array, rates: Array) -> Array:
    """(items, choices): each choice's probability of being right, by Bayes' rule."""
    logs = np.log(np.maximum(prevalence, 1e-300)) + np.einsum("ipc,pkc->ik", votes, np.log(rates))
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
