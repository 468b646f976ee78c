"""What labels lean to, before and after people's labels, and whether the policy followed."""

from __future__ import annotations

import pytest

from rlaif.evaluation.leanings import Leaning, Turn, TwiceLabelled, compute_leanings
from rlaif.evaluation.policy import Change
from rlaif.records import Estimate


def test_the_lean_is_the_preferred_less_the_other_and_soft_labels_count_as_far_as_they_are_sure() -> None:
    pairs = [
        TwiceLabelled("p1", ("a", "b"), before=1.0, after=0.25),
        TwiceLabelled("p2", ("b", "a"), before=0.5, after=1.0),
    ]
    (words,) = compute_leanings(pairs, values={"a": {"words": 10.0}, "b": {"words": 4.0}}, policy={})
    assert words.labels.mean_before == pytest.approx((6 + 0) / 2)
    assert words.labels.mean_after == pytest.approx((-3 - 6) / 2)
    assert words.policy is None
    assert compute_leanings([], values={}, policy={}) == ()


def change(before: float, after: float) -> Change:
    def around(mean: float) -> Estimate:
        return Estimate(mean=mean, low=mean - 1, high=mean + 1, n=40)

    return Change(
        before=around(before), after=around(after), change=around(after - before), mean_before=before, mean_after=after
    )


@pytest.mark.parametrize(
    ("before", "after", "turn"),
    [
        (3.0, -2.0, "turned"),
        (-3.0, 2.0, "turned"),
        (3.0, 0.5, "taken away"),
        (0.5, 3.0, "given"),
        (3.0, 6.0, None),
        (3.0, 1.5, None),
        (0.5, 0.9, None),
        (1.1, 0.9, None),
    ],
)
def test_a_direction_changes_only_where_the_intervals_say_so(before: float, after: float, turn: Turn | None) -> None:
    assert Leaning(name="words", labels=change(before, after)).turn == turn


@pytest.mark.parametrize(
    ("labels", "policy", "is_followed"),
    [
        (change(3.0, -2.0), change(40, 12), True),
        (change(3.0, -2.0), change(40, 60), False),
        (change(3.0, -2.0), change(40, 39.5), False),
        (change(3.0, 6.0), change(40, 60), False),
        (change(3.0, -2.0), None, False),
    ],
)
def test_the_policy_follows_where_it_clearly_moved_as_the_labels_did(
    labels: Change, policy: Change | None, is_followed: bool
) -> None:
    assert Leaning(name="words", labels=labels, policy=policy).is_followed == is_followed
