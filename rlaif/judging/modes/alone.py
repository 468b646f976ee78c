"""Questions that show one response at a time, and the pairs that their answers form; shared by scores and contrasts.

n responses cost n questions, however many pairs they form. Compares no answers: each mode says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.constitution.selection import principles_of
from rlaif.judging.modes.mode import Combine, Debiased, Found, Pair, Planned
from rlaif.records import Comparison, Constitution, Judgement, Question

CompareAlone = Callable[[Sequence[Judgement], Sequence[Judgement], JudgeTemplate], Debiased]
"""Two responses' answers, each a judgement and then its further votes -> what they say of the first one."""


def plan(
    pairs: Iterable[Pair],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None,
) -> Iterator[Planned]:
    """Each sample once under every principle that one of its pairs needs."""
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        for principle in principles_of(constitution, [sample.id for sample in pair], draw_seed=draw_seed):
            for sample in pair:
                if (sample.id, principle.id) not in seen:
                    seen.add((sample.id, principle.id))
                    yield Planned((sample,), principle)


def count_questions(
    *, num_prompts: int, num_samples: int, num_pairs: int, num_principles: int, config: JudgeConfig
) -> int:
    return num_prompts * num_samples * num_principles


def combine_by(compare: CompareAlone) -> Combine:
    """The function that gives one comparison for each pair and principle whose two samples were answered."""

    def combine(
        questions: Sequence[Question],
        found: Found,
        /,
        *,
        pairs: Sequence[Pair],
        constitution: Constitution,
        template: JudgeTemplate,
        draw_seed: int | None,
    ) -> Iterator[Comparison]:
        asked = {(q.sample_ids[0], q.principles[0].text_digest): q for q in questions if q.id in found}
        for pair in pairs:
            first, second = sorted(sample.id for sample in pair)
            for principle in principles_of(constitution, (first, second), draw_seed=draw_seed):
                one, other = (asked.get((key, principle.digest)) for key in (first, second))
                if one is None or other is None:
                    continue
                answers = found[one.id], found[other.id]
                said = compare(*answers, template)
                yield Comparison(
                    prompt_id=pair[0].prompt_id,
                    sample_ids=(first, second),
                    principle=one.principles[0],
                    judge_id=one.judge_id,
                    judgement_ids=tuple(j.id for j in (answers[0][0], answers[1][0], *answers[0][1:], *answers[1][1:])),
                    p_first=said.p_first,
                    logit=said.logit,
                    debiased=True,
                )

    return combine
