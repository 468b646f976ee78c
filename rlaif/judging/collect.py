"""Questions and the ledger's answers -> judgements, comparisons, and failures by cause.

Asks nothing: a question without an answer has no part in any comparison, and is counted. Decides no preferences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.asking import Asking
from rlaif.judging.modes import MODES
from rlaif.ledger.answers import find_answered
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    Judgement,
    Question,
    Sample,
    Tally,
)


class Judging(NamedTuple):
    """All that a judge was asked about some pairs, and all that came of it."""

    questions: list[Question]
    judgements: list[Judgement]
    failed: list[FailedJudgement]
    """The last failure of each question without an answer."""
    comparisons: list[Comparison]
    tally: Tally
    """Questions asked, answered, and failed by cause."""


def collect_judging(
    questions: Sequence[Question],
    *,
    pairs: Sequence[tuple[Sample, Sample]],
    asking: Asking,
    num_votes: int = 1,
) -> Judging:
    """What the ledger says of the questions that were made from the pairs.

    `num_votes`: how often a question is asked in all where it is answered without log-probabilities.
    """
    ledger = asking.ledger
    votes = _find_votes(questions, ledger=ledger, num_votes=num_votes)
    draws = {question.id: question for further in votes.values() for question in further}
    drawn = ledger.judgements_for(list(draws))
    answers = ledger.judgements_for([question.id for question in questions])
    unanswered = [q.id for q in questions if q.id not in answers] + [key for key in draws if key not in drawn]
    failed = list(ledger.failures_for(unanswered).values())
    tally = Tally(num_in=len(questions) + len(draws), dropped=dict(Counter(failure.cause for failure in failed)))
    comparisons = combine_answers(
        questions, votes=votes, answers={**drawn, **answers}, pairs=pairs, constitution=asking.constitution,
        template=asking.template, draw_seed=asking.draw_seed,
    )  # fmt: skip
    judgements = [answers[question.id] for question in questions if question.id in answers]
    return Judging([*questions, *draws.values()], [*judgements, *drawn.values()], failed, comparisons, tally)


def combine_answers(
    questions: Sequence[Question],
    *,
    votes: Mapping[str, Sequence[Question]],
    answers: Mapping[str, Judgement],
    pairs: Sequence[tuple[Sample, Sample]],
    constitution: Constitution,
    template: JudgeTemplate,
    draw_seed: int | None,
) -> list[Comparison]:
    """The comparisons of one judge. answers: by question id. votes: the further draws of a question, by its id."""
    if not questions:
        return []
    # Each answered question's judgement, and its votes after it.
    found = {
        q.id: [answers[q.id], *(answers[v.id] for v in votes.get(q.id, ()) if v.id in answers)]
        for q in questions
        if q.id in answers
    }
    combine = MODES[questions[0].mode].combine
    return list(
        combine(questions, found, pairs=pairs, constitution=constitution, template=template, draw_seed=draw_seed)
    )


def _find_votes(questions: Sequence[Question], *, ledger: Ledger, num_votes: int) -> dict[str, list[Question]]:
    """The further draws of each question whose first draw was answered without log-probabilities."""
    if num_votes < 2:
        return {}
    answered = find_answered(ledger, [question.id for question in questions])
    return {
        question.id: [question.changed(draw=draw) for draw in range(1, num_votes)]
        for question in questions
        if question.id in answered and not answered[question.id].has_logprobs
    }
