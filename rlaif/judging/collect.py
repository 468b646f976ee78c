"""Questions and the ledger's answers -> judgements, comparisons, and failures by cause.

Asks nothing: a question without an answer has no part in any comparison, and is counted. Decides no preferences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.judging.debias import compare
from rlaif.ledger.answered import find_answered
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, FailedJudgement, Judgement, Question, Tally


class Judging(NamedTuple):
    questions: list[Question]
    judgements: list[Judgement]
    failed: list[FailedJudgement]
    """The last failure of each question without an answer."""
    comparisons: list[Comparison]
    tally: Tally
    """Questions asked, answered, and failed by cause."""


def collect_judging(questions: Sequence[Question], *, both_orders: bool, ledger: Ledger, num_votes: int = 1) -> Judging:
    """What the ledger says of the questions.

    `num_votes`: draws of each question that was answered without log-probabilities.
    """
    votes = _find_votes(questions, ledger=ledger, num_votes=num_votes)
    draws = {question.id: question for further in votes.values() for question in further}
    drawn = ledger.judgements_for(list(draws))
    answers = ledger.judgements_for([question.id for question in questions])
    unanswered = [q.id for q in questions if q.id not in answers] + [key for key in draws if key not in drawn]
    failed = list(ledger.failures_for(unanswered).values())
    tally = Tally(num_in=len(questions) + len(draws), dropped=dict(Counter(failure.cause for failure in failed)))
    comparisons = []
    step = 2 if both_orders else 1
    for at in range(0, len(questions), step):
        group = questions[at : at + step]
        found = [answers.get(question.id) for question in group]
        if found[0] is None or (both_orders and found[1] is None):
            continue
        further = [[drawn[v.id] for v in votes.get(q.id, ()) if v.id in drawn] for q in group]
        comparisons.append(
            compare(
                prompt_id=group[0].prompt_id,
                sample_ids=(group[0].sample_ids[0], group[0].sample_ids[1]),
                principle=group[0].principles[0],
                judge_id=group[0].judge_id,
                listed=found[0],
                swapped=found[1] if both_orders else None,
                further=(further[0], further[1] if both_orders else []),
            )
        )
    judgements = [answers[question.id] for question in questions if question.id in answers]
    return Judging([*questions, *draws.values()], [*judgements, *drawn.values()], failed, comparisons, tally)


def _find_votes(questions: Sequence[Question], *, ledger: Ledger, num_votes: int) -> dict[str, list[Question]]:
    """The further draws of each question whose first was answered without log-probabilities."""
    if num_votes < 2:
        return {}
    answered = find_answered(ledger, [question.id for question in questions])
    return {
        question.id: [question.changed(draw=draw) for draw in range(1, num_votes)]
        for question in questions
        if question.id in answered and not answered[question.id].has_logprobs
    }
