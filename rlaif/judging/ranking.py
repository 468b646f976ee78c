"""A judge's choice of the best among several replies, over shuffles -> a comparison for each of their pairs.

Under Luce's choice axiom the log-probabilities of naming each reply are utilities, up to a constant, so that one
question gives the best and the whole order. Averaged over the shuffles; asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rlaif.judging.debias import Debiased
from rlaif.judging.shuffles import Group
from rlaif.judging.unlisted import choice_logprobs
from rlaif.records import Comparison, Judgement, Question
from rlaif.stats.logits import share_of_lead, sigmoid


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
    exp(u_i) / sum_k exp(u_k), has log P(i) - log P(j) = u_i - u_j whatever else is shown. A reply that a server's list
    left out counts as the most that it can have been. Where a shuffle gave a choice alone, the probabilities that all
    votes give are averaged, a vote for a third reply being one half, and there is no logit.
    """
    found = [_find_difference(one, other, judgements[0]) for one, other, judgements in shuffles]
    differences = [difference for difference in found if difference is not None]
    if len(differences) < len(found):
        return _combine_votes(shuffles)
    logit = math.fsum(differences) / len(differences) + 0.0  # never minus zero
    before = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one < other]
    after = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one > other]
    position = None
    if before and after:
        position = (math.fsum(before) / len(before) - math.fsum(after) / len(after)) / 2
    flipped = None if len(shuffles) == 1 else min(differences) < 0 < max(differences)
    return Debiased(sigmoid(logit), logit, position, flipped)


def _find_difference(one: int, other: int, judgement: Judgement) -> float | None:
    """By how much the log-probability of one reply is above another's; None for a choice alone."""
    logprobs = choice_logprobs(judgement)
    return logprobs[one] - logprobs[other] if logprobs else None


def _combine_votes(shuffles: Sequence[tuple[int, int, Sequence[Judgement]]]) -> Debiased:
    leads = [
        _find_lead(one, other, judgement)
        for one, other, judgements in shuffles
        for judgement in judgements
        if judgement.ranking
    ]
    won, lost = any(lead > 0 for lead in leads), any(lead < 0 for lead in leads)
    flipped = None if len(shuffles) == 1 or not (won or lost) else won and lost
    return Debiased(share_of_lead(math.fsum(leads) / len(leads)), None, None, flipped)


def _find_lead(one: int, other: int, judgement: Judgement) -> float:
    """The probability that one reply is better than another, less a half."""
    difference = _find_difference(one, other, judgement)
    if difference is not None:
        lead = sigmoid(abs(difference)) - 0.5
        return lead if difference >= 0 else -lead
    named = (judgement.ranking or (None,))[0]
    return 0.5 * ((one == named) - (other == named))


def is_balanced(orders: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether both stood in each place equally often, so that no place can favour either."""
    return sorted(order.index(one) for order in orders) == sorted(order.index(other) for order in orders)
