"""Drawn answers of then and now: an unchanged judge is seldom called another, and a changed one is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from rlaif.judge_health.sentinels import FALSE_ALARM, NUM_AGAIN
from rlaif.judging.chance import Answers, chance_of_failures, compare_drawn
from rlaif.records import Judgement

Judge = Callable[[random.Random, float], Judgement]


def say(first: bool) -> Judgement:
    return Judgement(question_id="q", verdict="first" if first else "second", raw_reply="")


def honest(draw: random.Random, p: float) -> Judgement:
    return say(draw.random() < p)


def place_bound(draw: random.Random, p: float) -> Judgement:
    return say(draw.random() < 0.8)


def turned(draw: random.Random, p: float) -> Judgement:
    return say(draw.random() < 1 - p)


def hasty(draw: random.Random, p: float) -> Judgement:
    """As often for the first as before, but no longer for the same reasons."""
    return say(draw.random() < 0.5)


def check(now: Judge, *, seed: int, num_then: int, num_now: int) -> float:
    """The chance that 40 questions of a judge of which some are clear to it give."""
    draw = random.Random(seed)
    sure = [draw.betavariate(6, 0.6) for _ in range(40)]
    questions = [p if draw.random() < 0.5 else 1 - p for p in sure]
    return compare_drawn(
        [Answers([honest(draw, p) for _ in range(num_then)], [now(draw, p) for _ in range(num_now)]) for p in questions]
    ).chance


def alarms(now: Judge, *, num_then: int, num_now: int, checks: int = 100) -> float:
    chances = [check(now, seed=seed, num_then=num_then, num_now=num_now) for seed in range(checks)]
    return sum(chance < FALSE_ALARM for chance in chances) / checks


@pytest.mark.parametrize(("num_then", "num_now"), [(1, 1), (1, NUM_AGAIN), (5, NUM_AGAIN)])
def test_an_unchanged_judge_that_draws_its_verdicts_is_seldom_called_another(num_then: int, num_now: int) -> None:
    assert alarms(honest, num_then=num_then, num_now=num_now) <= 0.05


@pytest.mark.parametrize(
    ("changed", "num_then", "power"),
    [(turned, 1, 0.95), (place_bound, 1, 0.7), (place_bound, 5, 0.95), (hasty, 5, 0.95)],
)
def test_a_changed_judge_is_found(changed: Judge, num_then: int, power: float) -> None:
    assert alarms(changed, num_then=num_then, num_now=NUM_AGAIN, checks=40) >= power


def test_answers_that_never_vary_are_no_difference_and_their_distance_is_named() -> None:
    same = compare_drawn([Answers([say(True)], [say(True), say(True)])] * 40)
    assert (same.across, same.within, same.chance) == (0.0, 0.0, 1.0)
    opposite = compare_drawn([Answers([say(True)], [say(False), say(False)])] * 40)
    assert (opposite.across, opposite.within) == (1.0, 0.0)
    assert opposite.chance < 0.001
    # One of forty: a third of all divisions sets that question as far apart.
    one = compare_drawn([Answers([say(True)], [say(True), say(True)])] * 39 + [Answers([say(True)], [say(False)] * 2)])
    assert one.chance > 0.5


def scores(*values: float) -> Sequence[Judgement]:
    return [Judgement(question_id="q", score=value, raw_reply="") for value in values]


def test_scores_and_choices_are_compared_too() -> None:
    assert compare_drawn([Answers(scores(3), scores(7, 8))] * 20).chance < 0.001
    draw = random.Random(0)
    drawn = [Answers(*(scores(*(draw.randint(3, 7) for _ in range(n))) for n in (1, 3))) for _ in range(40)]
    assert compare_drawn(drawn).chance > 0.05
    best = [
        [Judgement(question_id="q", ranking=(place,), raw_reply="") for place in places] for places in ([0], [2, 2])
    ]
    assert compare_drawn([Answers(*best)] * 20).chance < 0.001


def test_failures_count_beside_the_rate_at_which_they_came_before() -> None:
    assert chance_of_failures(0, asked=80, rate=0.1) == 1.0
    assert chance_of_failures(1, asked=2, rate=0.5) == pytest.approx(0.75)
    assert chance_of_failures(8, asked=80, rate=0.1) > 0.3
    assert chance_of_failures(30, asked=80, rate=0.1) < 1e-6
