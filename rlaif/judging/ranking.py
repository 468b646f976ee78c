"""A judge's choice of the best among several replies, over shuffles -> a comparison for each of their pairs.

Under Luce's choice axiom the log-probabilities of naming each reply are utilities, up to a constant, so that one
question gives the best and the whole order. Averaged over the shuffles; asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rlaif.judging.debias import Debiased
from rlaif.judging.shuffles import Group
from rlaif.records import Comparison, Judgement, Question
from rlaif.records.odds import share_of_lead, sigmoid


def compare_ranked(group: Group, shuffles: Sequence[tuple[Question, Sequence[Judgement]]]) -> Iterator[Comparison]:
    """`shuffles`: of one group under one principle, each question with its judgement and the votes after it."""
    question = shuffles[0][0]
    for pair in group.pairs:
        first, second = sorted(sample.id for sample in pair)
        one, other = group.stands_for[first], group.stands_for[second]
        if one == other:
            continue
        result = combine_shuffles(
            [(asked.sample_ids.index(one), asked.sample_ids.index(other), judgements) for asked, judgements in shuffles]
        )
        yield Comparison(
            prompt_id=question.prompt_id,
            sample_ids=(first, second),
            principle=question.principles[0],
            judge_id=question.judge_id,
            judgement_ids=tuple(judgement.id for _, judgements in shuffles for judgement in judgements),
            p_first=result.p_first,
            logit=result.logit,
            position_effect=result.position_effect,
            flipped=result.flipped,
            debiased=is_balanced([asked.sample_ids for asked, _ in shuffles], one, other),
        )


def combine_shuffles(shuffles: Sequence[tuple[int, int, Sequence[Judgement]]]) -> Debiased:
    """p_first = sigmoid(mean over the shuffles of log p(first is best) - log p(second is best)).

    shuffles: the places of the two replies, and the judgement with its votes. Eq. (1) of the choice model, P(i) =
    exp(u_i) / sum_k exp(u_k), has log P(i) - log P(j) = u_i - u_j whatever else is shown. Where a shuffle has no
    log-probability of one of the two, the share of the votes counts, a vote for a third reply half.
    """
    differences: list[float] = []
    for one, other, judgements in shuffles:
        logprobs = judgements[0].choice_logprobs
        a, b = (logprobs[one], logprobs[other]) if logprobs else (None, None)
        if a is None or b is None:
            return _combine_votes(shuffles)
        differences.append(a - b)
    logit = math.fsum(differences) / len(differences) + 0.0  # never minus zero
    before = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one < other]
    after = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one > other]
    position = None
    if before and after:
        position = (math.fsum(before) / len(before) - math.fsum(after) / len(after)) / 2
    flipped = None if len(shuffles) == 1 else min(differences) < 0 < max(differences)
    return Debiased(sigmoid(logit), logit, position, flipped)


def _combine_votes(shuffles: Sequence[tuple[int, int, Sequence[Judgement]]]) -> Debiased:
    best = [
        (one, other, judgement.ranking[0])
        for one, other, judgements in shuffles
        for judgement in judgements
        if judgement.ranking
    ]
    won = sum(one == named for one, _, named in best)
    lost = sum(other == named for _, other, named in best)
    lead = (won - lost) / (2 * len(best))
    flipped = None if len(shuffles) == 1 or not won + lost else bool(won and lost)
    return Debiased(share_of_lead(lead), None, None, flipped)


def is_balanced(orders: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether both stood in each place equally often, so that no place can favour either."""
    return sorted(order.index(one) for order in orders) == sorted(order.index(other) for order in orders)
