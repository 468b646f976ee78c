"""The order in which questions are asked: one prompt's together, one pair's together, the short prompts first."""

from __future__ import annotations

from rlaif.judging.batches import group_by_prompt
from rlaif.records import PrincipleKey, Question, digest_text


def make_question(prompt: str, first: str, second: str, principle: str) -> Question:
    return Question(
        mode="pair",
        prompt_id=digest_text(prompt),
        sample_ids=(digest_text(first), digest_text(second)),
        principles=(PrincipleKey(id=principle, text_digest=digest_text(principle)),),
        template_digest=digest_text("template"),
        judge_id=digest_text("judge"),
        rendered_digest=digest_text("|".join((prompt, first, second, principle))),
    )


def test_a_prompts_questions_stand_together_and_those_of_an_order_side_by_side() -> None:
    asked = [
        make_question(prompt, first, second, principle)
        for principle in ("polite", "brief", "calm")
        for first, second in (("a", "b"), ("b", "a"))
        for prompt in ("long", "short")
    ]
    lengths = {digest_text("long"): 90, digest_text("short"): 40}
    groups = group_by_prompt(asked, {question.id: lengths[question.prompt_id] for question in asked})
    by_id = {question.id: question for question in asked}
    assert [{by_id[key].prompt_id for key in group} for group in groups] == [
        {digest_text("short")},
        {digest_text("long")},
    ]
    for group in groups:
        shown = [by_id[key].sample_ids for key in group]
        assert shown == sorted(shown)
        assert [shown.count(order) for order in dict.fromkeys(shown)] == [3, 3]


def test_the_order_does_not_depend_on_the_order_of_the_questions() -> None:
    asked = [make_question(prompt, "a", "b", principle) for prompt in "xyz" for principle in ("polite", "brief")]
    sizes = {question.id: 10 for question in asked}
    assert group_by_prompt(asked, sizes) == group_by_prompt(asked[::-1], sizes)
