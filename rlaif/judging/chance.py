"""Earlier and present answers of a judge that samples them -> how often chance alone sets them so far apart.

Where nothing changed, a question's answers could have come in any order, so that each way of dividing them into
earlier and present ones is as likely as the way they came (Fisher's permutation test, question by question). How sure
the judge is of each question does not matter, and the rate of false alarms is known. Asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.judging.modes.pair import combine_votes
from rlaif.records import Judgement

NUM_DIVISIONS = 4999
"""How many divisions of all answers are drawn, with a fixed seed."""
MAX_LISTED = 512
"""The most ways to divide one question's answers that are listed; where there are more, so many are drawn."""


class Answers(NamedTuple):
    """The answers to one question: earlier ones, `then`, and present ones, `now`."""

    then: Sequence[Judgement]
    now: Sequence[Judgement]


class Difference(NamedTuple):
    """How far the present answers are from the earlier ones."""

    across: float
    """Mean distance between an earlier and a present answer; for verdicts alone, the share that differ."""
    within: float | None
    """Mean distance between two answers of the same time, which is chance alone; None where each was given once."""
    chance: float
    """Probability that an unchanged judge's answers are this far apart, by either of the two tests."""


def compare_drawn(questions: Sequence[Answers]) -> Difference:
    """Two tests, each at half the error: did the answers shift as a whole, and do they differ question by question?

    With one earlier and one present answer to each question only the first test can find anything.
    """
    values = [([_value_of(j) for j in then], [_value_of(j) for j in now]) for then, now in questions]
    across = [_mean_distance(then, now) for then, now in values]
    pairs = [pair for sides in values for side in sides for pair in combinations(side, 2)]
    within = math.fsum(_distance(a, b) for a, b in pairs) / len(pairs) if pairs else None
    rng = np.random.default_rng(0)
    apart, leaning = np.zeros(NUM_DIVISIONS), np.zeros(NUM_DIVISIONS)
    for then, now in values:
        divided = _divide([*then, *now], num_then=len(then), rng=rng)
        drawn = divided[rng.integers(len(divided), size=NUM_DIVISIONS)]
        apart += drawn[:, 0]
        leaning += drawn[:, 1]
    lean = abs(math.fsum(_lean(then, now) for then, now in values))
    chances = _share_at_least(apart, math.fsum(across)), _share_at_least(np.abs(leaning), lean)
    return Difference(math.fsum(across) / len(across), within, min(1.0, 2 * min(chances)))


def chance_of_failures(failed: int, *, asked: int, rate: float) -> float:
    """Probability that at least `failed` of `asked` questions fail, where each fails at this rate."""
    if not failed:
        return 1.0
    fewer = (math.comb(asked, k) * rate**k * (1 - rate) ** (asked - k) for k in range(failed))
    return max(0.0, 1 - math.fsum(fewer))


_Answer = float | str


def _value_of(judgement: Judgement) -> _Answer:
    """A verdict as the probability of the first, a score, or the place of the best as a name."""
    if judgement.verdict is not None:
        return combine_votes([judgement], None).p_first
    return judgement.score if judgement.score is not None else f"place {(judgement.ranking or (0,))[0]}"


def _distance(a: _Answer, b: _Answer) -> float:
    return abs(a - b) if isinstance(a, float) and isinstance(b, float) else float(a != b)


def _mean_distance(then: Sequence[_Answer], now: Sequence[_Answer]) -> float:
    return math.fsum(_distance(a, b) for a in then for b in now) / (len(then) * len(now))


def _lean(then: Sequence[_Answer], now: Sequence[_Answer]) -> float:
    """By how much the present mean is above the earlier one; an answer that is a name counts 0."""
    before, after = ([x if isinstance(x, float) else 0.0 for x in side] for side in (then, now))
    return math.fsum(after) / len(after) - math.fsum(before) / len(before)


def _divide(values: Sequence[_Answer], *, num_then: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(division, 2): distance and lean of each way to call `num_then` of the answers the earlier ones."""
    num = len(values)
    if math.comb(num, num_then) <= MAX_LISTED:
        chosen = list(combinations(range(num), num_then))
    else:
        chosen = [tuple(rng.permutation(num)[:num_then].tolist()) for _ in range(MAX_LISTED)]
    is_then = np.zeros((len(chosen), num))
    np.put_along_axis(is_then, np.array(chosen), 1.0, axis=1)
    distances = np.array([[_distance(a, b) for b in values] for a in values])
    apart = ((is_then @ distances) * (1 - is_then)).sum(axis=1) / (num_then * (num - num_then))
    numbers = np.array([x if isinstance(x, float) else 0.0 for x in values])
    lean = (1 - is_then) @ numbers / (num - num_then) - is_then @ numbers / num_then
    return np.stack([apart, lean], axis=1)


def _share_at_least(divided: NDArray[np.float64], found: float) -> float:
    return (1 + int(np.sum(divided >= found - 1e-9))) / (1 + len(divided))
