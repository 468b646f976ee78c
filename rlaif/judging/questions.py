"""Pairs and principles -> questions: what the judge will be asked, and the exact prompt of each.

One question per pair, principle and order. Does not ask them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rlaif.constitution.render import JudgeTemplate, render, render_conversation, rendered_digest
from rlaif.records import (
    AskedPrinciple,
    Constitution,
    Principle,
    Prompt,
    Question,
    Sample,
    SegmentedMessage,
)

GREEDY = "greedy"


def asked_principles(constitution: Constitution) -> list[Principle]:
    """The principles that are asked: a weight of zero asks nothing."""
    return [principle for principle in constitution.principles if principle.weight > 0]


def make_questions(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    judge_id: str,
    both_orders: bool,
    decoding: str = GREEDY,
) -> list[Question]:
    """Per pair and principle the order as listed, then the swapped one."""
    rendered = render_questions(
        pairs, prompts=prompts, constitution=constitution, template=template, judge_id=judge_id,
        both_orders=both_orders, decoding=decoding,
    )  # fmt: skip
    return [question for question, _ in rendered]


def count_questions(num_pairs: int, *, constitution: Constitution, both_orders: bool) -> int:
    """How many questions so many pairs are."""
    return num_pairs * len(asked_principles(constitution)) * (2 if both_orders else 1)


def render_questions(
    pairs: Iterable[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    judge_id: str,
    both_orders: bool,
    decoding: str = GREEDY,
) -> Iterator[tuple[Question, tuple[SegmentedMessage, ...]]]:
    """The questions of `make_questions`, each with its prompt, made one by one."""
    for first, second in pairs:
        for principle in asked_principles(constitution):
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
    prompt: Prompt, shown: tuple[Sample, Sample], principle_text: str, *, template: JudgeTemplate
) -> tuple[SegmentedMessage, ...]:
    """The judge's prompt for two responses in the order shown."""
    return render(
        template,
        conversation=render_conversation(prompt.messages),
        first=shown[0].text,
        second=shown[1].text,
        principle=principle_text,
    )
