"""People who err at known rates -> the rates and the right choices are found again."""

from __future__ import annotations

import numpy as np
import pytest

from rlaif.calibration.dawid_skene import combine_choices
from rlaif.records import Verdict

CHOICES: tuple[Verdict, ...] = ("first", "second", "tie")
# Rows: what is right; columns: what the person says.
PLANTED = {
    "careful": [[0.95, 0.03, 0.02], [0.03, 0.95, 0.02], [0.05, 0.05, 0.90]],
    "leans to the first": [[0.90, 0.05, 0.05], [0.40, 0.55, 0.05], [0.45, 0.10, 0.45]],
    "says tie": [[0.50, 0.05, 0.45], [0.05, 0.50, 0.45], [0.02, 0.03, 0.95]],
    "guesses": [[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]],
}
SHARES = [0.5, 0.35, 0.15]


def plant(num_items: int, *, seed: int = 0) -> tuple[list[Verdict], list[dict[str, Verdict]]]:
    rng = np.random.default_rng(seed)
    right = rng.choice(3, size=num_items, p=SHARES)
    items = [{person: CHOICES[rng.choice(3, p=rates[true])] for person, rates in PLANTED.items()} for true in right]
    return [CHOICES[true] for true in right], items


def test_planted_confusion_matrices_are_found_again() -> None:
    _, items = plant(1500)
    found = combine_choices(items)
    assert [found.prevalence[choice] for choice in CHOICES] == pytest.approx(SHARES, abs=0.03)
    off = [
        found.confusion[person][true][said] - share
        for person, rates in PLANTED.items()
        for true, row in zip(CHOICES, rates, strict=True)
        for said, share in zip(CHOICES, row, strict=True)
    ]
    assert np.abs(off).mean() < 0.025
    assert np.abs(off).max() < 0.1


def test_combined_choices_are_right_more_often_than_the_majority() -> None:
    right, items = plant(600, seed=1)
    found = combine_choices(items)
    best = [max(row, key=lambda choice: row[choice]) for row in found.probabilities]
    votes = [max(CHOICES, key=list(item.values()).count) for item in items]
    assert np.mean([a == b for a, b in zip(best, right, strict=True)]) > 0.05 + np.mean(
        [a == b for a, b in zip(votes, right, strict=True)]
    )


def test_the_probabilities_are_those_of_bayes_rule_at_the_rates_found() -> None:
    _, items = plant(50, seed=2)
    found = combine_choices(items)
    for item, row in zip(items, found.probabilities, strict=True):
        joint = {
            true: share * np.prod([found.confusion[person][true][choice] for person, choice in item.items()])
            for true, share in found.prevalence.items()
        }
        assert row == pytest.approx({true: p / sum(joint.values()) for true, p in joint.items()}, abs=1e-6)


def test_people_who_always_agree_are_left_as_they_are() -> None:
    items = [dict.fromkeys("abc", choice) for choice in CHOICES[:2] for _ in range(20)]
    found = combine_choices(items)
    assert [max(row, key=lambda choice: row[choice]) for row in found.probabilities] == ["first"] * 20 + ["second"] * 20
    assert all(found.accuracy(person) > 0.95 for person in "abc")


def test_an_item_that_counts_twice_is_as_good_as_two_of_them() -> None:
    _, items = plant(60, seed=3)
    twice = combine_choices([*items, *items[:20]])
    heavy = combine_choices(items, weights=[2.0] * 20 + [1.0] * 40)
    # weights have a mean of one, so the prior counts a little more: nearly the same
    assert heavy.prevalence == pytest.approx(twice.prevalence, abs=0.02)


def test_choices_of_nobody_are_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no choices"):
        combine_choices([{}])
