"""Several replies in one question: groups, shuffles, utilities under Luce's choice axiom, and votes."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging_world import CONSTITUTION, KIND, all_pairs, judge, make_prompts, make_replies

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import load_template, template_from_source
from rlaif.errors import StageError
from rlaif.judging.modes.ranking import combine_shuffles, find_groups, shuffle_group
from rlaif.judging.questions import plan_questions
from rlaif.judging.verdict import read_answer
from rlaif.models.interface import ScoredReply
from rlaif.records import Constitution, FailedJudgement, Judgement, Observed

TEXTS = ("one brief=1 kind=0", "two brief=0 kind=3", "three brief=2 kind=1", "four brief=0 kind=2")
RANK = load_template("rank")
ONLY_KIND = Constitution(name="kind", principles=(KIND,), source="")


def read(reply: ScoredReply, *, num_shown: int) -> Judgement | FailedJudgement:
    return read_answer(
        reply, question_id="q", template=RANK, num_shown=num_shown, min_label_mass=0.5, attempt=1, observed=Observed()
    )


def named(*probabilities: float) -> Judgement:
    logprobs = tuple(map(math.log, probabilities))
    return Judgement(question_id="q", ranking=(0,), choice_logprobs=logprobs, raw_reply="")


def vote(place: int) -> Judgement:
    return Judgement(question_id="q", ranking=(place,), raw_reply="")


def test_only_the_letters_of_replies_that_were_shown_count():
    logprobs = tuple(math.log(p) for p in (0.2, 0.5, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02))
    answer = read(ScoredReply("Best: B", "why", logprobs, 9, 3), num_shown=3)
    assert isinstance(answer, Judgement)
    assert (answer.ranking, len(answer.choice_logprobs)) == ((1, 0, 2), 3)
    assert answer.label_mass == pytest.approx(0.8)
    failed = read(ScoredReply("Best: A", "why", logprobs[::-1], 9, 3), num_shown=3)
    assert isinstance(failed, FailedJudgement)
    assert failed.cause == "low_mass"


def test_a_letter_without_a_reply_is_unparsable_and_one_alone_names_the_best():
    answer = read(ScoredReply("Best: B", "why", (), 9, 3, verdict=1), num_shown=2)
    assert isinstance(answer, Judgement)
    assert (answer.ranking, answer.choice_logprobs) == ((1,), ())
    failed = read(ScoredReply("Best: C", "why", (), 9, 3, verdict=2), num_shown=2)
    assert isinstance(failed, FailedJudgement)
    assert failed.cause == "unparsable"


def test_the_first_rotations_put_each_reply_in_each_place_once():
    [prompt] = make_prompts().values()
    shown = make_replies(prompt, *TEXTS)
    orders = shuffle_group(shown, num_shuffles=None)
    assert len(orders) == 4
    for place in range(4):
        assert Counter(order[place].text for order in orders) == Counter(TEXTS)
    more = shuffle_group(shown, num_shuffles=7)
    assert more[:4] == orders
    assert len({tuple(s.id for s in order) for order in more}) == 7
    everything = shuffle_group(shown[:3], num_shuffles=99)
    assert {tuple(s.id for s in order) for order in everything} == {
        tuple(s.id for s in order) for order in permutations(shown[:3])
    }


def test_samples_that_pairs_join_are_one_group_and_each_text_is_shown_once():
    [prompt] = make_prompts().values()
    samples = make_replies(prompt, "same", "same", "x", "y", "z", "w")
    one, twin = (sample for sample in samples if sample.text == "same")
    x, y, z, w = (next(sample for sample in samples if sample.text == text) for text in "xyzw")
    groups = find_groups([(one, x), (x, twin), (y, z), (w, x)])
    assert [{sample.text for sample in group.shown} for group in groups] == [{"same", "x", "w"}, {"y", "z"}]
    assert [len(group.shown) for group in groups] == [3, 2]
    assert groups[0].stands_for == {one.id: one.id, twin.id: one.id, x.id: x.id, w.id: w.id}
    assert groups[0].pairs == ((one, x), (x, twin), (w, x))


def test_utilities_are_averaged_over_the_shuffles_and_the_place_is_told_apart():
    # Utilities 1 and 0 and half a logit for the first place, shown in both orders beside a third reply.
    ahead, behind = math.exp(1.5), math.exp(1.0)
    one = named(*(x / (ahead + 1 + 2) for x in (ahead, 1, 2)))
    other = named(*(x / (math.exp(0.5) + behind + 2) for x in (math.exp(0.5), behind, 2)))
    result = combine_shuffles([(0, 1, [one]), (1, 0, [other])])
    assert result.logit == pytest.approx(1.0)
    assert result.p_first == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert result.position_effect == pytest.approx(0.5)
    assert result.flipped is False


def test_shuffles_that_name_different_winners_of_a_pair_are_flipped():
    result = combine_shuffles([(0, 1, [named(0.6, 0.4)]), (1, 0, [named(0.7, 0.3)])])
    assert result.flipped is True
    assert result.logit == pytest.approx((math.log(0.6 / 0.4) + math.log(0.3 / 0.7)) / 2)


def test_without_log_probabilities_votes_are_shared_and_one_for_a_third_reply_counts_half():
    result = combine_shuffles([(0, 1, [vote(0), vote(2)]), (1, 0, [vote(1), vote(0)])])
    # Two votes for the one, one for the other, one for the third.
    assert (result.p_first, result.logit, result.flipped) == (0.5 + 1 / 8, None, True)
    nobody = combine_shuffles([(0, 1, [vote(2)]), (1, 0, [vote(2)])])
    assert (nobody.p_first, nobody.flipped) == (0.5, None)


answers = st.lists(
    st.tuples(st.permutations([0, 1, 2]), st.lists(st.floats(-104, 0), min_size=3, max_size=3)), min_size=1, max_size=4
)


@given(answers)
def test_swapping_the_responses_swaps_the_comparison_exactly(given_answers):
    rows = [
        (places, Judgement(question_id="q", ranking=(0,), choice_logprobs=tuple(logprobs), raw_reply=""))
        for places, logprobs in given_answers
    ]
    forth = combine_shuffles([(places[0], places[1], [answer]) for places, answer in rows])
    back = combine_shuffles([(places[1], places[0], [answer]) for places, answer in rows])
    assert forth.p_first + back.p_first == 1
    assert forth.logit is not None
    assert back.logit == -forth.logit


def test_one_question_per_shuffle_gives_all_pairs_their_true_utilities(tmp_path):
    prompts = make_prompts()
    [prompt] = prompts.values()
    pairs = all_pairs(make_replies(prompt, *TEXTS))
    judging = judge(tmp_path, pairs, prompts=prompts, script="by_choice", template="rank", constitution=ONLY_KIND)
    assert len(judging.questions) == len(judging.judgements) == 4
    assert {(question.mode, len(question.sample_ids)) for question in judging.questions} == {("ranking", 4)}
    assert len(judging.comparisons) == 6
    text_of = {sample.id: sample.text for pair in pairs for sample in pair}
    for comparison in judging.comparisons:
        first, second = (float(text_of[key].partition("kind=")[2]) for key in comparison.sample_ids)
        # The half logit of the first place is in every reply's mean once, and so in no difference.
        assert comparison.logit == pytest.approx(first - second, abs=1e-9)
        assert comparison.debiased
        assert len(comparison.judgement_ids) == 4


def test_too_few_shuffles_are_marked_as_not_debiased(tmp_path):
    prompts = make_prompts()
    [prompt] = prompts.values()
    pairs = all_pairs(make_replies(prompt, *TEXTS))
    judging = judge(
        tmp_path, pairs, prompts=prompts, script="by_choice", template="rank", constitution=ONLY_KIND, num_shuffles=2
    )
    assert len(judging.questions) == 2
    assert not any(comparison.debiased for comparison in judging.comparisons)


def test_more_replies_than_the_template_names_are_refused():
    [prompt] = make_prompts().values()
    pairs = all_pairs(make_replies(prompt, *TEXTS))
    few = template_from_source(RANK.source.replace('" C", " D", " E", " F", " G", " H"', '" C"'), name="few")
    with pytest.raises(StageError, match="4 different responses to rank and the template names 3"):
        list(plan_questions(pairs, constitution=CONSTITUTION, template=few, config=JudgeConfig()))
