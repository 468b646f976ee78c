"""Majority vote and re-ranking of verified responses, by hand."""

from __future__ import annotations

import pytest
from answer_finders import last_word

from rlaif.evaluation.verifier import Checked, Verifier
from rlaif.evaluation.votes import Answered, compare_answers, vote

IS_SAME = Verifier(last_word, tolerance=0.0).is_same


def say(*answers: str | None, right: str = "4") -> list[Checked]:
    return [Checked(answer, is_right=answer is not None and IS_SAME(answer, right)) for answer in answers]


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (("4", "5", "4"), "4"),
        (("5", "4", "4.0"), "4"),
        (("5", "4"), "5"),
        (("4", "5", "5", "4"), "4"),
        ((None, None, "5"), "5"),
        ((None, None, None, "Nine", "nine", "4"), "Nine"),
    ],
)
def test_the_most_frequent_answer_wins_and_of_equally_frequent_ones_the_first(
    answers: tuple[str | None, ...], winner: str
) -> None:
    found = vote(say(*answers), is_same=IS_SAME)
    assert found is not None
    assert found.answer == winner


def test_responses_without_an_answer_elect_nobody() -> None:
    assert vote(say(None, None), is_same=IS_SAME) is None


def test_the_shares_of_two_prompts_are_those_counted_by_hand() -> None:
    before = [
        Answered("a", say("4", "4", "5", None), [0.0, 0.1, 3.0, 9.0]),
        Answered("b", say("5", "5", "4", "6"), [0.0, None, 3.0, -1.0]),
    ]
    after = [
        Answered("a", say("4", "4", "4", "4"), [0.0, 0.1, 3.0, 9.0]),
        Answered("b", say("4", "5", "4", None), [None, 2.0, 1.0, 0.0]),
    ]
    found = compare_answers(before, after, is_same=IS_SAME, num_unknown=3)
    assert found is not None
    assert (found.num_samples, found.num_prompts, found.num_unknown) == (4, 2, 3)
    assert (found.single.mean_before, found.single.mean_after) == ((0.5 + 0.25) / 2, (1 + 0.5) / 2)
    assert found.voted is not None
    assert (found.voted.mean_before, found.voted.mean_after) == (0.5, 1.0)
    assert found.reranked is not None
    assert (found.reranked.mean_before, found.reranked.mean_after) == (0.5, 0.5)
    assert (found.no_answer.mean_before, found.no_answer.mean_after) == (1 / 8, 1 / 8)
    assert found.single.change is not None
    assert found.single.change.mean == pytest.approx(0.375)
    assert found.single.change.n == 2
    assert list(found.rows) == ["one response", "majority of 4", "best of 4 by the reward model", "no answer"]
    assert found.figures["right_by_vote_after"] == 1.0


def test_a_prompt_that_the_reward_model_cannot_score_is_not_ranked_but_voted_on() -> None:
    one = [Answered("a", say("4", "5"), [None, None]), Answered("b", say("4", "4"), [1.0, 2.0])]
    found = compare_answers(one, one, is_same=IS_SAME)
    assert found is not None
    assert found.reranked is not None
    assert found.reranked.before is not None
    assert (found.reranked.before.n, found.num_prompts) == (1, 2)


def test_one_response_has_neither_a_majority_nor_a_rank_and_no_prompt_has_no_shares() -> None:
    one = [Answered("a", say("4"), [1.0]), Answered("b", say("5"), [1.0])]
    found = compare_answers(one, one, is_same=IS_SAME)
    assert found is not None
    assert (found.voted, found.reranked, found.single.mean_before) == (None, None, 0.5)
    assert compare_answers([], [], is_same=IS_SAME) is None


def test_answers_to_other_prompts_or_of_another_number_cannot_be_compared() -> None:
    one, other = Answered("a", say("4")), Answered("b", say("4"))
    with pytest.raises(ValueError, match="the same prompts"):
        compare_answers([one], [other], is_same=IS_SAME)
    with pytest.raises(ValueError, match="equally often"):
        compare_answers([one], [Answered("a", say("4", "4"))], is_same=IS_SAME)
