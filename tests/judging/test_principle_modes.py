"""Each principle by itself, all in one question, or one drawn for each pair: what is asked and what comes of it."""

from __future__ import annotations

from collections import Counter

import pytest
from judging_world import BRIEF, CONSTITUTION, KIND, all_pairs, judge, make_prompts, make_replies

from rlaif.config.generate import JudgeConfig, PreferencesConfig
from rlaif.constitution.render import load_template
from rlaif.constitution.selection import principles_of
from rlaif.judging.questions import plan_questions, render_questions
from rlaif.preferences.pairing import label_pairs, pair_comparisons

TEXTS = ("one brief=1 kind=0", "two brief=0 kind=3", "three brief=2 kind=1", "four brief=0 kind=0")


def make_world(num_prompts: int = 1):
    prompts = make_prompts(num_prompts)
    return prompts, all_pairs(*(make_replies(prompt, *TEXTS) for prompt in prompts.values()))


def test_each_principle_is_asked_by_itself_in_both_orders(tmp_path):
    prompts, pairs = make_world()
    judging = judge(tmp_path, pairs, prompts=prompts)
    assert len(judging.questions) == 6 * 2 * 2
    assert Counter(c.principle.id for c in judging.comparisons) == {"brief": 6, "kind": 6}
    assert all(c.position_effect == pytest.approx(0.5) for c in judging.comparisons)


def test_together_one_question_per_order_shows_all_principles_and_pairing_needs_only_that(tmp_path):
    prompts, pairs = make_world()
    judging = judge(tmp_path, pairs, prompts=prompts, principles="together")
    assert len(judging.questions) == 6 * 2
    [asked] = {c.principle for c in judging.comparisons}
    assert asked.id == "together"
    assert asked.text_digest not in (BRIEF.digest, KIND.digest)


def test_sampled_each_pair_is_asked_under_the_one_principle_that_pairing_then_expects(tmp_path):
    prompts, pairs = make_world(8)
    judging = judge(tmp_path, pairs, prompts=prompts, principles="sampled", draw_seed=5)
    assert len(judging.questions) == len(pairs) * 2
    for comparison in judging.comparisons:
        [drawn] = principles_of(CONSTITUTION, comparison.sample_ids, draw_seed=5)
        assert comparison.principle.id == drawn.id
    assert {c.principle.id for c in judging.comparisons} == {"brief", "kind"}
    pairing = pair_comparisons(
        judging.comparisons, constitution=CONSTITUTION, config=PreferencesConfig(), round=0, pairs=pairs, draw_seed=5
    )
    assert pairing.tally.kept == len(pairs)
    by_id = {comparison.id: comparison for comparison in judging.comparisons}
    for preference in pairing.preferences:
        [evidence] = preference.evidence_ids
        assert preference.label == pytest.approx(by_id[evidence].p_first)
    assert len(label_pairs(judging.comparisons, constitution=CONSTITUTION, draw_seed=5)) == len(pairs)


def test_a_pair_that_was_asked_under_another_principle_than_the_drawn_one_is_dropped_and_counted(tmp_path):
    prompts, pairs = make_world(8)
    judging = judge(tmp_path, pairs, prompts=prompts, principles="sampled", draw_seed=5)
    pairing = pair_comparisons(
        judging.comparisons, constitution=CONSTITUTION, config=PreferencesConfig(), round=0, pairs=pairs, draw_seed=6
    )
    same = sum(
        principles_of(CONSTITUTION, (a.id, b.id), draw_seed=5) == principles_of(CONSTITUTION, (a.id, b.id), draw_seed=6)
        for a, b in pairs
    )
    assert 0 < same < len(pairs)
    assert (pairing.tally.kept, pairing.tally.dropped) == (same, {"failed_judgement": len(pairs) - same})


def test_what_was_asked_of_a_drawn_principle_answers_the_same_question_when_each_is_asked(tmp_path):
    prompts, pairs = make_world(8)
    drawn = judge(tmp_path, pairs, prompts=prompts, principles="sampled", draw_seed=5)
    (tmp_path / "questions_plan.json").unlink()
    whole = judge(tmp_path, pairs, prompts=prompts)
    assert {question.id for question in drawn.questions} < {question.id for question in whole.questions}
    kept = {judgement.question_id: judgement for judgement in whole.judgements}
    assert all(kept[judgement.question_id] == judgement for judgement in drawn.judgements)


def test_the_request_key_of_a_pair_is_what_it_always_was():
    prompts, pairs = make_world()
    template = load_template("pair")
    planned = plan_questions(pairs[:1], constitution=CONSTITUTION, template=template, config=JudgeConfig())
    rendered = render_questions(planned, prompts=prompts, template=template, judge_id="judge")
    assert [question.id[:12] for question, _ in rendered] == KEYS


KEYS = ["b1a99f983465", "6783f7229a99", "aacf256c5ce7", "417c711a0aaf"]
