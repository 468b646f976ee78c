"""The win rate at equal length: a judge that likes length alone finds no winner there."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.evaluation.length_control import LengthRow, control_length


def rows(*, better: float, longer_by: float, likes_length: float, n: int = 400) -> list[LengthRow]:
    """A judge whose logit is `better` plus its liking for the standardised difference of lengths."""
    rng = random.Random(0)
    made = []
    for k in range(n):
        longer = round(rng.gauss(longer_by, 40))
        logit = better + likes_length * math.tanh(longer / 40) + rng.gauss(0, 0.5)
        made.append(LengthRow(f"p{k // 2}", 1 / (1 + math.exp(-logit)), longer))
    return made


def test_a_win_by_length_alone_is_gone_at_equal_length() -> None:
    made = rows(better=0, longer_by=40, likes_length=1.5)
    plain = sum(row.p for row in made) / len(made)
    found = control_length(made)
    assert found is not None
    assert found.slope is not None
    assert plain > 0.65
    assert found.win_rate.mean == pytest.approx(0.5, abs=0.02)
    assert found.win_rate.low < 0.5 < found.win_rate.high
    assert found.slope.low > 1
    assert found.win_rate.n == 200


def test_a_win_that_length_hid_comes_out() -> None:
    found = control_length(rows(better=0.8, longer_by=-40, likes_length=1.5))
    assert found is not None
    assert found.win_rate.low > 0.6
    assert found.win_rate.mean == pytest.approx(1 / (1 + math.exp(-0.8)), abs=0.03)


def test_with_equal_lengths_it_is_the_plain_win_rate() -> None:
    found = control_length([LengthRow(f"p{k}", 0.6 + 0.1 * (k % 2), 0) for k in range(10)])
    assert found is not None
    assert (found.slope, found.win_rate.mean) == (None, pytest.approx(0.65))


def test_lengths_that_all_differ_alike_and_few_prompts_tell_nothing() -> None:
    assert control_length([LengthRow(f"p{k}", 0.6, 12) for k in range(10)]) is None
    assert control_length([LengthRow(f"p{k}", 0.6, k) for k in range(2)]) is None
