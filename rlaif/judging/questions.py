"""Pairs and principles -> questions: what the judge will be asked, and the exact prompt of each.

By the template's kind: a question per pair, principle and order; per sample and principle; or per group of samples,
principle and shuffle. Does not ask them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import (
    JudgeTemplate,
    render,
    render_conversation,
    render_list,
    render_single,
    rendered_digest,
)
from rlaif.constitution.selection import principles_of, weighted_principles
from rlaif.errors import StageError
from rlaif.judging.shuffles import find_groups, shuffle_group
from rlaif.models.interface import ScoreRequest
from rlaif.records import Constitution, Principle, PrincipleKey, Prompt, Question, Sample, SegmentedMessage

GREEDY = "greedy"


class Planned(NamedTuple):
    """The samples of one question in the order shown, and its principle."""

    shown: tuple[Sample, ...]
    principle: Principle


def plan_questions(
    pairs: Iterable[tuple[Sample, Sample]],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None = None,
) -> Iterator[Planned]:
    """What is asked about the pairs, in the order in which answers are collected.

    pair: per pair and principle the order as listed, then the swapped one. score: each sample once per principle that
    a pair of it needs. ranking: samples that pairs join are shown together, in `num_shuffles` orders.
    `draw_seed`: every pair is asked under one principle, drawn with this seed; None: under each that counts.
    """
    if template.kind == "pair":
        for first, second in pairs:
            for principle in principles_of(constitution, (first.id, second.id), draw_seed=draw_seed):
                for shown in ((first, second), (second, first))[: 2 if config.both_orders else 1]:
                    yield Planned(shown, principle)
    elif template.kind == "score":
        seen: set[tuple[str, str]] = set()
        for pair in pairs:
            for principle in principles_of(constitution, [sample.id for sample in pair], draw_seed=draw_seed):
                for sample in pair:
                    if (sample.id, principle.id) not in seen:
                        seen.add((sample.id, principle.id))
                        yield Planned((sample,), principle)
    else:
        for group in find_groups(pairs):
            if len(group.shown) < 2:
                continue
            _refuse_too_many(len(group.shown), template=template)
            for principle in weighted_principles(constitution):
                for order in shuffle_group(group.shown, num_shuffles=config.num_shuffles):
                    yield Planned(order, principle)


def count_questions(
    *,
    num_prompts: int,
    num_samples: int,
    num_pairs: int,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None,
) -> int:
    """How many questions the judge is asked at most; samples and pairs are of one prompt."""
    num_principles = len(weighted_principles(constitution))
    if template.kind == "score":
        return num_prompts * num_samples * num_principles
    if template.kind == "ranking":
        shuffles = num_samples if config.num_shuffles is None else min(config.num_shuffles, math.factorial(num_samples))
        return num_prompts * shuffles * num_principles
    return num_prompts * num_pairs * (num_principles if draw_seed is None else 1) * (2 if config.both_orders else 1)


def _refuse_too_many(num_shown: int, *, template: JudgeTemplate) -> None:
    if num_shown > len(template.labels):
        raise StageError(
            f"a prompt has {num_shown} different responses to rank and the template names {len(template.labels)}",
            where=template.name,
            fix="list more `labels` in the template, or sample fewer responses",
        )


def render_questions(
    planned: Iterable[Planned],
    *,
    prompts: Mapping[str, Prompt],
    template: JudgeTemplate,
    judge_id: str,
    decoding: str = GREEDY,
) -> Iterator[tuple[Question, tuple[SegmentedMessage, ...]]]:
    """Each question with its prompt, made one by one."""
    for shown, principle in planned:
        rendered = render_question(prompts[shown[0].prompt_id], shown, principle.text, template=template)
        question = Question(
            mode=template.kind,
            prompt_id=shown[0].prompt_id,
            sample_ids=tuple(sample.id for sample in shown),
            principles=(PrincipleKey(id=principle.id, text_digest=principle.digest),),
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
    conversation, texts = render_conversation(prompt.messages), [sample.text for sample in shown]
    if template.kind == "pair":
        first, second = texts
        return render(template, conversation=conversation, first=first, second=second, principle=principle_text)
    if template.kind == "score":
        return render_single(template, conversation=conversation, response=texts[0], principle=principle_text)
    return render_list(template, conversation=conversation, responses=texts, principle=principle_text)


def score_request(template: JudgeTemplate) -> ScoreRequest:
    """How a template's verdict is elicited."""
    return ScoreRequest(
        marker=template.verdict_marker,
        choices=template.choices,
        max_reason_tokens=template.reason_max_tokens,
    )
