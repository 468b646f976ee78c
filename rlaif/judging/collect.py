"""Questions and the ledger's answers -> judgements, comparisons, and failures by cause.

Asks nothing: a question without an answer has no part in any comparison, and is counted. Decides no preferences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rlaif.constitution.selection import principles_of, weighted_principles
from rlaif.judging.asking import Asking
from rlaif.judging.debias import compare
from rlaif.judging.ranking import compare_ranked
from rlaif.judging.scores import compare_scores
from rlaif.judging.shuffles import find_groups
from rlaif.ledger.answers import find_answered
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    Judgement,
    PrincipleKey,
    Question,
    Sample,
    Tally,
)


class Judging(NamedTuple):
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
    """What the ledger says of the questions that were made of the pairs.

    `num_votes`: draws of each question that was answered without log-probabilities.
    """
    ledger, constitution = asking.ledger, asking.constitution
    votes = _find_votes(questions, ledger=ledger, num_votes=num_votes)
    draws = {question.id: question for further in votes.values() for question in further}
    drawn = ledger.judgements_for(list(draws))
    answers = ledger.judgements_for([question.id for question in questions])
    unanswered = [q.id for q in questions if q.id not in answers] + [key for key in draws if key not in drawn]
    failed = list(ledger.failures_for(unanswered).values())
    tally = Tally(num_in=len(questions) + len(draws), dropped=dict(Counter(failure.cause for failure in failed)))
    # Each answered question's judgement, and its votes after it.
    found = {
        q.id: [answers[q.id], *(drawn[v.id] for v in votes.get(q.id, ()) if v.id in drawn)]
        for q in questions
        if q.id in answers
    }
    mode = questions[0].mode if questions else "pair"
    if mode == "pair":
        comparisons = list(_compare_orders(questions, found))
    elif mode == "score":
        comparisons = list(
            _compare_scored(questions, found, pairs=pairs, constitution=constitution, draw_seed=asking.draw_seed)
        )
    else:
        comparisons = list(_compare_ranked(questions, found, pairs=pairs, constitution=constitution))
    judgements = [answers[question.id] for question in questions if question.id in answers]
    return Judging([*questions, *draws.values()], [*judgements, *drawn.values()], failed, comparisons, tally)


_Found = dict[str, list[Judgement]]


def _compare_orders(questions: Sequence[Question], found: _Found) -> Iterator[Comparison]:
    """One comparison for each pair and principle whose orders were all answered."""
    by_pair: dict[tuple[frozenset[str], PrincipleKey], list[Question]] = defaultdict(list)
    for question in questions:
        by_pair[frozenset(question.sample_ids), question.principles[0]].append(question)
    for orders in by_pair.values():
        if any(question.id not in found for question in orders):
            continue
        listed, *swapped = (found[question.id] for question in orders)
        yield compare(
            prompt_id=orders[0].prompt_id,
            sample_ids=(orders[0].sample_ids[0], orders[0].sample_ids[1]),
            principle=orders[0].principles[0],
            judge_id=orders[0].judge_id,
            listed=listed[0],
            swapped=swapped[0][0] if swapped else None,
            further=(listed[1:], swapped[0][1:] if swapped else []),
        )


def _compare_scored(
    questions: Sequence[Question],
    found: _Found,
    *,
    pairs: Sequence[tuple[Sample, Sample]],
    constitution: Constitution,
    draw_seed: int | None,
) -> Iterator[Comparison]:
    """One comparison for each pair and principle whose two samples were scored."""
    by_sample = {(q.sample_ids[0], q.principles[0].text_digest): found[q.id] for q in questions if q.id in found}
    for pair in pairs:
        first, second = sorted(sample.id for sample in pair)
        for principle in principles_of(constitution, (first, second), draw_seed=draw_seed):
            one, other = (by_sample.get((key, principle.digest)) for key in (first, second))
            if one is not None and other is not None:
                yield compare_scores(
                    prompt_id=pair[0].prompt_id,
                    sample_ids=(first, second),
                    principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
                    judge_id=questions[0].judge_id,
                    first=one,
                    second=other,
                )


def _compare_ranked(
    questions: Sequence[Question],
    found: _Found,
    *,
    pairs: Sequence[tuple[Sample, Sample]],
    constitution: Constitution,
) -> Iterator[Comparison]:
    """A comparison for each pair of a group under each principle whose shuffles were all answered."""
    by_group: dict[tuple[frozenset[str], str], list[Question]] = defaultdict(list)
    for question in questions:
        by_group[frozenset(question.sample_ids), question.principles[0].text_digest].append(question)
    for group in find_groups(pairs):
        shown = frozenset(sample.id for sample in group.shown)
        for principle in weighted_principles(constitution):
            shuffles = by_group[shown, principle.digest]
            if shuffles and all(question.id in found for question in shuffles):
                yield from compare_ranked(group, [(question, found[question.id]) for question in shuffles])


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
