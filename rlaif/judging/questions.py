"""Pairs and principles -> questions: what the judge will be asked, and the exact prompt of each.

One question per pair, principle and order. Does not ask them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rlaif.constitution.asked import asked_principles, principles_of
from rlaif.constitution.render import JudgeTemplate, render, render_conversation, rendered_digest
from rlaif.models.interface import ScoreRequest
from rlaif.records import AskedPrinciple, Constitution, Prompt, Question, Sample, SegmentedMessage

GREEDY = "greedy"


def make_questions(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    judge_id: str,
    both_orders: bool,
    decoding: str = GREEDY,
    draw_seed: int | None = None,
) -> list[Question]:
    """Per pair and principle the order as listed, then the swapped one."""
    rendered = render_questions(
        pairs, prompts=prompts, constitution=constitution, template=template, judge_id=judge_id,
        both_orders=both_orders, decoding=decoding, draw_seed=draw_seed,
    )  # fmt: skip
    return [question for question, _ in rendered]


def count_questions(
    num_pairs: int, *, constitution: Constitution, both_orders: bool, draw_seed: int | None = None
) -> int:
    """How many questions so many pairs are."""
    num_principles = len(asked_principles(constitution)) if draw_seed is None else 1
    return num_pairs * num_principles * (2 if both_orders else 1)


def render_questions(
    pairs: Iterable[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    judge_id: str,
    both_orders: bool,
    decoding: str = GREEDY,
    draw_seed: int | None = None,
) -> Iterator[tuple[Question, tuple[SegmentedMessage, ...]]]:
    """The questions of `make_questions`, each with its prompt, made one by one.

    `draw_seed`: every pair is asked under one principle, drawn with this seed; None: under each that counts.
    """
    for first, second in pairs:
        for principle in principles_of(constitution, (first.id, second.id), draw_seed=draw_seed):
            for shown in ((first, second), (second, first))[: 2 if both_orders else 1]:
                rendered = render_question(prompts[first.prompt_id], shown, principle.text, template=template)
                question = Question(
                    mode="pair",
                    prompt_id=first.prompt_id,
                    sample_ids=(shown[0].id, shown[1].id),
                    principles=(AskedPrinciple(id=principle.id, text_digest=principle.digest),),
                    template_digest=template.digest,
                    judge_id=judge_id,
                    decoding=decoding,
                    rendered_digest=rendered_digest(rendered),
                )
                yield question, rendered


def render_question(
    prompt: Prompt, shown: Sequence[Sample], principle_text: str, *, template: JudgeTemplate
) -> tuple[SegmentedMessage, ...]:
    """The judge's prompt for the responses of a question, in the order shown."""
    first, second = shown
    return render(
        template,
        conversation=render_conversation(prompt.messages),
        first=first.text,
        second=second.text,
        principle=principle_text,
    )


def score_request(template: JudgeTemplate) -> ScoreRequest:
    """How a template's verdict is elicited."""
    return ScoreRequest(
        marker=template.verdict_marker,
        choices=template.choices,
        max_reason_tokens=template.reason_max_tokens,
    )
