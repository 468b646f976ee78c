"""People's answers on the decisions that an edit flips -> is the edit better, worse, or not yet decided?

The unit is a pair that both files label, with w = 1, 1/2 or 0 for its winner and y for people's choice. A flip has
d = |w_old - y| - |w_new - y| and u = (1 + d) / 2. theta is the mean of u over all flips: the share that moves to the
side people take. Capital against "theta <= 1/2" and against "theta >= 1/2" is bet on the flips without replacement.
Outside the flips nothing changes, so agreement changes by (flips / all pairs) (2 theta - 1). Opens nothing.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from rlaif.calibration.answers import Answer, Answered
from rlaif.records import Decision, EditItem, EditTest, Estimate
from rlaif.stats.betting import (
    Side,
    Stratum,
    Stream,
    certified_bound,
    confidence_sequence_of_strata,
    even_stream,
    log_capitals,
)
from rlaif.stats.logits import P_FIRST

FLIPS_TO_ONE = 3
"""Flips on the sheet before each pair of the rest."""
SIDES = (0.0, 0.5, 1.0)
"""What people may say of a pair: b, a tie, a."""
ALPHA = 0.05
NUM_FUTURES, FEWEST_LABELS = 100, 5
"""Simulated continuations, from this many labels on, that say how many labels are still to expect."""
MAX_UNCLEAR = 0.3
Value = Callable[[EditItem, float], float]
"""An item and the side people take, 1 for a -> a number from 0 to 1."""


class PrincipleGain(NamedTuple):
    """The labelled flips that one principle's edit makes alone."""

    principle_id: str
    num_flips: int
    theta: float


class Standing(NamedTuple):
    """Where a test stands."""

    decision: Decision
    is_withheld: bool
    """People take the new side, and the new file leaves more pairs without a label: that is no certificate."""
    is_finished: bool
    """Every flip has a label, so the result is exact."""
    is_spent: bool
    """Everything on the sheet has a label."""
    num_labelled: int
    """Flips that all annotators who began have answered."""
    num_rest: int
    log_better: float
    """The logarithm of the capital for "better", of first and of final answers the smaller one."""
    log_worse: float
    theta: Estimate | None
    delta: Estimate | None
    num_answers: int
    num_ties: int
    num_unclear: int
    num_open: int
    """Items before the last answered one that somebody skipped or undid: they count against any certificate."""
    num_expected: int | None
    """Further labels on flips until the test is decided; None where it is, and with too few to say."""
    by_principle: tuple[PrincipleGain, ...]
    agreement_old: Estimate | None
    """How far the old file's labels and people agree on all pairs; None until flips and rest have labels."""
    agreement_new: Estimate | None

    @property
    def capital_better(self) -> float | None:
        """What a record holds; None: beyond any number."""
        return _as_capital(self.log_better)

    @property
    def capital_worse(self) -> float | None:
        return _as_capital(self.log_worse)


def interleave(flips: Sequence[EditItem], rest: Sequence[EditItem]) -> list[EditItem]:
    """All items in the order of the sheet: three flips, then one of the rest; what is left over follows."""
    waiting, order = list(rest), list[EditItem]()
    for place, flip in enumerate(flips, start=1):
        order.append(flip)
        if place % FLIPS_TO_ONE == 0 and waiting:
            order.append(waiting.pop(0))
    return order + waiting


def asked_items(test: EditTest) -> list[EditItem]:
    """The items on the test's sheet, in its order."""
    return interleave(test.flips, test.rest)[: test.budget]


def count_longer(flips: Sequence[EditItem]) -> tuple[int, int]:
    """Of how many flips the new winner is the longer reply, and how many have a new winner and a longer reply."""
    longer: dict[Literal[True, False], int] = {True: 0, False: 0}
    for item in flips:
        a, b = item.lengths
        if item.new != "tie" and a != b:
            longer[(item.new == "first") == (a > b)] += 1
    return longer[True], longer[True] + longer[False]


def gain(item: EditItem, side: float) -> float:
    """u: 1 where the edit moves a pair to the side people take, 0 where it moves it away, 1/2 where they tie."""
    return (1 + abs(P_FIRST[item.old] - side) - abs(P_FIRST[item.new] - side)) / 2


def stand(test: EditTest, states: Sequence[Answered]) -> Standing:
    """Where the test stands by these answers."""
    final, first = _sides([state.answers for state in states]), _sides([state.firsts for state in states])
    flips = [item for item in test.flips if item.item_id in final]
    rest = [item for item in test.rest if item.item_id in final]
    choices = [answer.choice for state in states for answer in state.answers.values()]
    bets = {name: min(_bet(test, sides, name) for sides in (final, first)) for name in ("above", "below")}
    better, worse = (bets[name] >= math.log(1 / test.alpha) for name in ("above", "below"))
    is_withheld = sum(test.failed_new.values()) > sum(test.failed_old.values())
    decision: Decision = "undecided"
    if better != worse:
        decision = "worse" if worse else "undecided" if is_withheld else "better"
    is_finished = len(flips) == len(test.flips)
    theta = _estimate(test.flips, final, gain) if flips else None
    gains = [gain(item, final[item.item_id]) for item in flips]
    return Standing(
        decision=decision,
        is_withheld=is_withheld and better,
        is_finished=is_finished,
        is_spent=len(flips) + len(rest) == min(test.budget, len(test.flips) + len(test.rest)),
        num_labelled=len(flips),
        num_rest=len(rest),
        log_better=bets["above"],
        log_worse=bets["below"],
        theta=theta,
        delta=None if theta is None else _change(test, theta),
        num_answers=len(choices),
        num_ties=choices.count("tie"),
        num_unclear=choices.count("unclear"),
        num_open=_count_open(asked_items(test), final),
        num_expected=None if is_finished or better or worse else _expect(test, gains),
        by_principle=tuple(_by_principle(flips, final)),
        agreement_old=_agreement(test, final, lambda item, side: 1 - abs(P_FIRST[item.old] - side)),
        agreement_new=_agreement(test, final, lambda item, side: 1 - abs(P_FIRST[item.new] - side)),
    )


def _as_capital(log: float) -> float | None:
    return None if log > math.log(1e9) else math.exp(log)


def _sides(answers: Sequence[Mapping[str, Answer]]) -> dict[str, float]:
    """Item -> the side people take, the mean over annotators; only items that all of them answered."""
    if not answers:
        return {}
    shared = set(answers[0]).intersection(*answers[1:])
    return {item: statistics.fmean(_side(one[item]) for one in answers) for item in shared}


def _side(answer: Answer) -> float:
    """An answer that says unclear is a tie here: it costs a label, and moves nothing between two sides."""
    verdict = answer.verdict or "tie"
    return P_FIRST[verdict] if answer.order == "ab" else 1 - P_FIRST[verdict]


def _stream(items: Sequence[EditItem], sides: Mapping[str, float], value: Value, *, worst: Side) -> Stream:
    """The values up to the last labelled item. One without a label has the value that is worst for that side.

    subtle: the order is that of the sheet. An item that was skipped stays in its place and counts against both sides,
    or skipping what does not suit would certify anything.
    """
    last = max((place for place, item in enumerate(items) if item.item_id in sides), default=-1)
    pick = min if worst == "above" else max
    values = [
        value(item, sides[item.item_id]) if item.item_id in sides else pick(value(item, side) for side in SIDES)
        for item in items[: last + 1]
    ]
    return even_stream(values, list_size=len(items))


def _bet(test: EditTest, sides: Mapping[str, float], side: Side) -> float:
    """The logarithm of the largest capital so far against the null that theta is not on that side of 1/2."""
    stream = _stream(test.flips, sides, gain, worst=side)
    return float(log_capitals(stream, null=0.5, side=side).max(initial=0.0))


def _estimate(items: Sequence[EditItem], sides: Mapping[str, float], value: Value) -> Estimate:
    """The mean over all items from those with labels, and bounds that hold whenever somebody stops."""
    values = [value(item, sides[item.item_id]) for item in items if item.item_id in sides]
    low = certified_bound(_stream(items, sides, value, worst="above"), side="above", alpha=ALPHA / 2)
    high = certified_bound(_stream(items, sides, value, worst="below"), side="below", alpha=ALPHA / 2)
    return _within(math.fsum(values) / len(values), low, high, n=len(values))


def _within(mean: float, low: float, high: float, *, n: int) -> Estimate:
    low, high = min(low, high), max(low, high)
    return Estimate(mean=min(max(mean, low), high), low=low, high=high, n=n)


def _change(test: EditTest, theta: Estimate) -> Estimate:
    share = len(test.flips) / (len(test.flips) + len(test.rest))
    mean, low, high = (share * (2 * one - 1) for one in (theta.mean, theta.low, theta.high))
    return Estimate(mean=mean, low=low, high=high, n=theta.n)


def _agreement(test: EditTest, sides: Mapping[str, float], value: Value) -> Estimate | None:
    """Over all pairs, flips and rest as strata: flips are labelled more often, so a plain mean would be wrong."""
    total = len(test.flips) + len(test.rest)
    parts = [part for part in (test.flips, test.rest) if part]
    labelled = [[item for item in part if item.item_id in sides] for part in parts]
    if not all(labelled):
        return None
    bounds: dict[Side, Estimate] = {
        worst: confidence_sequence_of_strata(
            [Stratum(len(part) / total, _stream(part, sides, value, worst=worst)) for part in parts], alpha=ALPHA
        )
        for worst in ("above", "below")
    }
    mean = math.fsum(
        len(part) / total * statistics.fmean(value(item, sides[item.item_id]) for item in found)
        for part, found in zip(parts, labelled, strict=True)
    )
    return _within(mean, bounds["above"].low, bounds["below"].high, n=sum(map(len, labelled)))


def _count_open(items: Sequence[EditItem], sides: Mapping[str, float]) -> int:
    last = max((place for place, item in enumerate(items) if item.item_id in sides), default=-1)
    return sum(item.item_id not in sides for item in items[: last + 1])


def _by_principle(flips: Sequence[EditItem], sides: Mapping[str, float]) -> list[PrincipleGain]:
    found: dict[str, list[float]] = defaultdict(list)
    for item in flips:
        for name in item.flipped_by:
            found[name].append(gain(item, sides[item.item_id]))
    return [PrincipleGain(name, len(gains), statistics.fmean(gains)) for name, gains in sorted(found.items())]


def _expect(test: EditTest, gains: Sequence[float]) -> int | None:
    """The median over simulated continuations, in which the coming labels are drawn from those that came."""
    if len(gains) < FEWEST_LABELS:
        return None
    rng, left = np.random.default_rng(test.seed), len(test.flips) - len(gains)
    so_far = np.broadcast_to(np.asarray(gains), (NUM_FUTURES, len(gains)))
    stream = even_stream(
        np.concatenate([so_far, rng.choice(gains, size=(NUM_FUTURES, left))], axis=1), list_size=len(test.flips)
    )
    capitals = np.maximum(*(log_capitals(stream, null=0.5, side=side) for side in ("above", "below")))
    reached = capitals[:, len(gains) :] >= math.log(1 / test.alpha)
    needed = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, left)
    return int(np.median(needed))
