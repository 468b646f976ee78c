"""Scores of single replies: their expectation, their comparisons, what they cost and how they fail."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging_world import BRIEF, CONSTITUTION, KIND, all_pairs, judge, make_prompts, make_replies

from rlaif.config.generate import PreferencesConfig
from rlaif.constitution.render import load_template
from rlaif.judging.modes.score import combine_scores, expect_score
from rlaif.judging.verdict import read_answer
from rlaif.models.interface import ScoredReply
from rlaif.preferences.pairing import pair_comparisons
from rlaif.records import FailedJudgement, Judgement, Observed

TEMPLATE = load_template("score")
TEXTS = ("one brief=1 kind=0", "two brief=0 kind=3", "three brief=2 kind=1", "four brief=0 kind=0")


def scored(*probabilities: float) -> Judgement:
    logprobs = tuple(math.log(p) if p else -104.0 for p in probabilities)
    return Judgement(question_id="q", score=expect_score(logprobs), choice_logprobs=logprobs, raw_reply="")


def voted(score: float) -> Judgement:
    return Judgement(question_id=f"q{score}", score=score, raw_reply="")


def read(reply: ScoredReply, *, min_label_mass: float = 0.5) -> Judgement | FailedJudgement:
    return read_answer(
        reply, question_id="q", template=TEMPLATE, num_shown=1, min_label_mass=min_label_mass, attempt=1,
        observed=Observed(),
    )  # fmt: skip


def reply_of(*probabilities: float) -> ScoredReply:
    return ScoredReply("Score: 2", "why", tuple(math.log(p) if p else -math.inf for p in probabilities), 9, 3)


def test_the_score_is_the_expectation_over_the_probabilities_renormalised_on_the_scores():
    answer = read(reply_of(0.1, 0.2, 0.5, *[0.0] * 6))
    assert isinstance(answer, Judgement)
    # (1 * .1 + 2 * .2 + 3 * .5) / .8
    assert answer.score == pytest.approx(2.5)
    assert answer.label_mass == pytest.approx(0.8)
    assert len(answer.choice_logprobs) == 9
    assert (answer.verdict, answer.ranking, answer.logprobs, answer.reason) == (None, None, (), "why")


def test_little_probability_on_the_scores_is_a_failure_and_no_number():
    failed = read(reply_of(0.1, 0.2, *[0.0] * 7))
    assert isinstance(failed, FailedJudgement)
    assert failed.cause == "low_mass"


def test_a_score_that_the_server_did_not_list_has_no_part_in_the_expectation():
    answer = read(reply_of(0.3, 0.6, *[0.0] * 7)._replace(unknown=frozenset(range(2, 9))))
    assert isinstance(answer, Judgement)
    assert answer.choice_logprobs[2:] == (None,) * 7
    assert answer.score == pytest.approx((0.3 + 2 * 0.6) / 0.9)


def test_without_log_probabilities_the_written_score_counts():
    answer = read(ScoredReply("Score: 4", "why", (), 9, 3, verdict=3))
    assert isinstance(answer, Judgement)
    assert (answer.score, answer.choice_logprobs, answer.label_mass) == (4.0, (), None)


def test_two_scores_are_compared_as_independent_and_a_tie_is_split():
    result = combine_scores([scored(0.25, 0.75)], [scored(0.5, 0.5)])
    # P(S1 > S2) = .75 * .5, P(S1 = S2) = .25 * .5 + .75 * .5
    assert result.p_first == pytest.approx(0.375 + 0.5 / 2)
    assert result.logit == pytest.approx(math.log(0.625 / 0.375))
    assert (result.position_effect, result.flipped) == (None, None)


def test_votes_are_a_distribution_without_a_logit():
    result = combine_scores([voted(4), voted(4), voted(2)], [voted(3)])
    assert (result.p_first, result.logit) == (pytest.approx(2 / 3), None)
    assert combine_scores([voted(4)], [voted(4)]).p_first == 0.5


distributions = st.lists(st.floats(-104, 0), min_size=10, max_size=10)


@given(distributions, distributions)
def test_swapping_the_responses_swaps_the_comparison_exactly(a, b):
    one, other = (
        Judgement(question_id=name, score=1.0, choice_logprobs=tuple(logprobs), raw_reply="")
        for name, logprobs in (("a", a), ("b", b))
    )
    forth, back = combine_scores([one], [other]), combine_scores([other], [one])
    assert forth.p_first + back.p_first == 1
    assert forth.logit is not None
    assert back.logit == -forth.logit


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_swapping_the_responses_swaps_the_votes_exactly(a, b):
    one, other = [voted(score) for score in a], [voted(score) for score in b]
    assert combine_scores(one, other).p_first + combine_scores(other, one).p_first == 1


def test_four_replies_cost_four_questions_per_principle_and_give_all_six_pairs(tmp_path):
    prompts = make_prompts()
    [prompt] = prompts.values()
    pairs = all_pairs(make_replies(prompt, *TEXTS))
    judging = judge(tmp_path, pairs, prompts=prompts, script="by_score", template="score")
    assert len(judging.questions) == len(judging.judgements) == 4 * 2
    assert {question.mode for question in judging.questions} == {"score"}
    assert len(judging.comparisons) == 6 * 2
    assert all(c.debiased and c.flipped is None and c.position_effect is None for c in judging.comparisons)
    text_of = {sample.id: sample.text for pair in pairs for sample in pair}
    for comparison in judging.comparisons:
        name = {BRIEF.id: "brief=", KIND.id: "kind="}[comparison.principle.id]
        first, second = (int(text_of[key].partition(name)[2][0]) for key in comparison.sample_ids)
        assert (comparison.p_first > 0.5, comparison.p_first < 0.5) == (first > second, first < second)


def test_a_reply_without_a_score_drops_its_pairs_and_is_counted(tmp_path):
    prompts = make_prompts()
    [prompt] = prompts.values()
    pairs = all_pairs(make_replies(prompt, *TEXTS))
    judging = judge(tmp_path, pairs, prompts=prompts, script="refuse_two", template="score")
    assert str(judging.tally) == "in 8, kept 6, dropped 2 (refused 2)"
    pairing = pair_comparisons(
        judging.comparisons, constitution=CONSTITUTION, config=PreferencesConfig(), round=0, pairs=pairs
    )
    assert str(pairing.tally) == "in 6, kept 3, dropped 3 (failed_judgement 3)"
