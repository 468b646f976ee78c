"""Pairs and principles -> questions: what the judge will be asked, and the exact prompt of each.

The mode of the template decides which questions there are and how they are rendered: see modes/. Asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate, rendered_digest
from rlaif.constitution.selection import weighted_principles
from rlaif.judging.modes import MODES
from rlaif.judging.modes.mode import Planned, Shown
from rlaif.models.interface import ScoreRequest
from rlaif.records import Constitution, Principle, PrincipleKey, Prompt, Question, Sample, SegmentedMessage

GREEDY = "greedy"


def plan_questions(
    pairs: Iterable[tuple[Sample, Sample]],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None = None,
) -> Iterator[Planned]:
    """The questions about the pairs, in the order in which answers are collected.

    `draw_seed`: every pair is asked under one principle, drawn with this seed; None: under each that counts.
    """
    return MODES[template.kind].plan(
        pairs, constitution=constitution, template=template, config=config, draw_seed=draw_seed
    )


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
    """How many questions the judge is asked at most; `num_samples` and `num_pairs` are those of one prompt."""
    mode = MODES[template.kind]
    # A principle is drawn for a pair, so that a response that is shown alone may be asked about under all of them.
    is_drawn = draw_seed is not None and mode.shows == "two"
    return mode.count_questions(
        num_prompts=num_prompts, num_samples=num_samples, num_pairs=num_pairs, config=config,
        num_principles=1 if is_drawn else len(weighted_principles(constitution)),
    )  # fmt: skip


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
        rendered = render_question(prompts[shown[0].prompt_id], shown, principle, template=template)
        question = Question(
            mode=template.kind,
            prompt_id=shown[0].prompt_id,
            sample_ids=tuple(sample.id for sample in shown),
            principles=(key_of(principle, template=template),),
            template_digest=template.digest,
            judge_id=judge_id,
            decoding=decoding,
            rendered_digest=rendered_digest(rendered),
        )
        yield question, rendered


def render_question(
    prompt: Prompt, shown: Sequence[Sample], principle: Principle, *, template: JudgeTemplate
) -> tuple[SegmentedMessage, ...]:
    """The judge's prompt for the responses of a question, in the order shown."""
    responses = [Shown(sample.text, is_whole=sample.finish_reason != "length") for sample in shown]
    render = MODES[template.kind].render
    return render(template, conversation=prompt.messages, responses=responses, principle=principle)


def key_of(principle: Principle, *, template: JudgeTemplate) -> PrincipleKey:
    """The principle as a question names it: with its opposite only where the judge reads that too."""
    opposite = principle.opposite_digest if template.contrast is not None else ""
    return PrincipleKey(id=principle.id, text_digest=principle.digest, opposite_digest=opposite)


def principle_of(key: PrincipleKey, text_of: Callable[[str], str | None]) -> Principle | None:
    """The principle that a question named, by the texts of the ledger; None where one is redacted or missing."""
    text, opposite = text_of(key.text_digest), text_of(key.opposite_digest) if key.opposite_digest else ""
    return None if text is None or opposite is None else Principle(id=key.id, text=text, opposite=opposite)


def score_request(template: JudgeTemplate) -> ScoreRequest:
    """How an engine is asked by a template."""
    return MODES[template.kind].request(template)
