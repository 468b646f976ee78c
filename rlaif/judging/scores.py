"""Scores of single replies -> comparisons of their pairs, and what each reply is worth.

Each reply is scored by itself, so no order has a say: there is no position effect and nothing to flip, and n replies
cost n questions. Two scores are taken as independent. Asks nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from rlaif.judging.debias import Debiased
from rlaif.judging.unlisted import choice_logprobs
from rlaif.judging.verdict import score_distribution
from rlaif.records import (
    Comparison,
    Judgement,
    PrincipleKey,
)
from rlaif.stats.logits import share_of_lead, sigmoid

_LEAST = 1e-45
"""Of a probability: the smallest number a float32 softmax can give."""


def combine_scores(first: Sequence[Judgement], second: Sequence[Judgement]) -> Debiased:
    """p_first = P(S1 > S2) + P(S1 = S2) / 2 of two independent scores, each given by one judgement or by votes.

    Exactly antisymmetric. Without log-probabilities of either the votes are its distribution, and there is no logit.
    """
    one, other = distribution_of(first), distribution_of(second)
    scores = sorted({*one, *other})
    won = math.fsum(one.get(i, 0.0) * other.get(j, 0.0) for i in scores for j in scores if i > j)
    lost = math.fsum(one.get(i, 0.0) * other.get(j, 0.0) for i in scores for j in scores if i < j)
    tied = math.fsum(one.get(i, 0.0) * other.get(i, 0.0) for i in scores)
    logit = math.log(max(won + tied / 2, _LEAST)) - math.log(max(lost + tied / 2, _LEAST))
    if all(judgement.choice_logprobs for judgement in (first[0], second[0])):
        return Debiased(sigmoid(logit), logit, None, None)
    lead = (won - lost) / 2
    return Debiased(share_of_lead(lead), None, None, None)


def distribution_of(judgements: Sequence[Judgement]) -> dict[float, float]:
    """Score -> its probability: by the log-probabilities of the first judgement, else by the votes of all.

    A score that a server's list left out has at most its bound. A vote with log-probabilities counts for each score as
    probable as they say.
    """
    votes = judgements[:1] if judgements[0].choice_logprobs else judgements
    counted: dict[float, list[float]] = defaultdict(list)
    for vote in votes:
        logprobs = choice_logprobs(vote)
        said = enumerate(score_distribution(logprobs), start=1) if logprobs else [(vote.score, 1.0)]
        for score, p in said:
            if score is not None:
                counted[float(score)].append(p)
    return {score: math.fsum(shares) / len(votes) for score, shares in counted.items()}


def expect(judgements: Sequence[Judgement]) -> float:
    """The expected score of a response."""
    return math.fsum(score * p for score, p in distribution_of(judgements).items())


def compare_scores(
    *,
    prompt_id: str,
    sample_ids: tuple[str, str],
    principle: PrincipleKey,
    judge_id: str,
    first: Sequence[Judgement],
    second: Sequence[Judgement],
) -> Comparison:
    """The comparison of two samples in canonical order; each one's judgement, then its votes."""
    result = combine_scores(first, second)
    return Comparison(
        prompt_id=prompt_id,
        sample_ids=sample_ids,
        principle=principle,
        judge_id=judge_id,
        judgement_ids=tuple(j.id for j in (first[0], second[0], *first[1:], *second[1:])),
        p_first=result.p_first,
        logit=result.logit,
        debiased=True,
    )
