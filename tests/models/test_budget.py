"""Caps hold whatever is under way: what may be spent is set aside before it is."""

import pytest

from rlaif.models.budget import Budget, Spending


def test_a_cap_is_kept_although_the_requests_under_way_have_cost_nothing_yet():
    budget = Budget(max_calls=3)
    assert [budget.reserve(Spending(1)) for _ in range(4)] == [True, True, True, False]


def test_what_a_request_did_not_use_may_be_spent_by_another():
    budget = Budget(max_tokens=100)
    assert budget.reserve(Spending(1, 80))
    assert not budget.reserve(Spending(1, 30))
    assert budget.is_waited_for
    budget.settle(Spending(1, 80), used=Spending(1, 20))
    assert budget.reserve(Spending(1, 80))
    assert not budget.reserve(Spending(1, 1))


def test_spending_of_earlier_attempts_counts():
    assert not Budget(max_cost=1.0, spent=Spending(5, 100, 0.9)).reserve(Spending(1, 10, 0.2))


@pytest.mark.parametrize(
    ("caps", "sentence"),
    [
        ({"max_calls": 2}, "judge.max_calls of 2 leaves no room for another question: 2 are spent"),
        ({"max_tokens": 50}, "judge.max_tokens of 50 leaves no room for another question: 40 are spent"),
        ({"max_cost": 0.5}, "judge.max_cost of 0.5 leaves no room for another question: 0.45 is spent"),
    ],
)
def test_the_cap_that_is_reached_is_named(caps, sentence):
    budget = Budget(**caps, spent=Spending(2, 40, 0.45))
    assert budget.refusal(Spending(1, 20, 0.1)).what == sentence


def test_a_batch_that_is_asked_whole_says_so_where_the_cap_has_no_room_for_it():
    budget = Budget(max_calls=100)
    assert not budget.reserve(Spending(300))
    sentence = "judge.max_calls of 100 leaves no room for the next 300 questions, asked together: 0 are spent"
    assert budget.refusal(Spending(300)).what == sentence


def test_the_calls_of_a_batch_under_way_are_spent_once_it_is_known_how_many_there_were():
    budget = Budget(max_calls=10, spent=Spending(10, 5))
    budget.hold(Spending(10, 50))
    assert not budget.reserve(Spending(1))
    budget.settle(Spending(10, 50), used=Spending(4, 20))
    assert budget.spent == Spending(4, 25)
    assert budget.reserve(Spending(6))


def test_what_an_earlier_attempt_has_under_way_is_held_whatever_the_caps_are():
    budget = Budget(max_cost=1.0)
    budget.hold(Spending(0, 10, 5.0))
    assert not budget.reserve(Spending(1, 1, 0.1))
    budget.settle(Spending(0, 10, 5.0), used=Spending(0, 8, 0.5))
    assert budget.reserve(Spending(1, 1, 0.1))
    assert budget.spent == Spending(0, 8, 0.5)
