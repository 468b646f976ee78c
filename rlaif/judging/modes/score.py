"""Responses, each scored separately -> comparisons of their pairs, and what each response is worth.

No order has a say: there is no position effect and nothing to flip, and n responses cost n questions. Two scores are
taken as independent. Does not ask and does not combine principles.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rlaif.constitution.render import JudgeTemplate, render_conversation, render_single
from rlaif.judging.choices import Unusable, choice_logprobs, read_choices
from rlaif.judging.modes import alone
from rlaif.judging.modes.mode import Debiased, Mode, Shown, Words, verdict_request
from rlaif.models.interface import ScoredReply
from rlaif.records import Judgement, Message, Principle, SegmentedMessage
from rlaif.stats.logits import share_of_lead, sigmoid

_LEAST = 1e-45
"""The smallest probability that a float32 softmax can give."""


def render(
    template: JudgeTemplate, *, conversation: Sequence[Message], responses: Sequence[Shown], principle: Principle
) -> tuple[SegmentedMessage, ...]:
    [shown] = responses
    return render_single(
        template, conversation=render_conversation(conversation), response=shown.text, principle=principle.text
    )


def read(
    reply: ScoredReply, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
) -> dict[str, Any] | Unusable:
    """The expected score, and the log-probabilities of all scores; a score without them is the one written."""
    found = read_choices(reply, len(template.choices), min_mass=min_label_mass)
    if isinstance(found, Unusable):
        return found
    written = float((reply.verdict or 0) + 1)
    return {
        "unlisted_at_most": found.at_most,
        "label_mass": found.mass,
        "choice_logprobs": found.logprobs,
        "score": expect_score(found.logprobs) if found.logprobs else written,
    }


def combine_scores(first: Sequence[Judgement], second: Sequence[Judgement]) -> Debiased:
    """p_first = P(S1 > S2) + P(S1 = S2) / 2 of two independent scores, each given by one judgement or by votes.

    Exactly antisymmetric. A response without log-probabilities has its votes as distribution, and then there is no
    logit.
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


def compare(first: Sequence[Judgement], second: Sequence[Judgement], template: JudgeTemplate) -> Debiased:
    return combine_scores(first, second)


def distribution_of(judgements: Sequence[Judgement]) -> dict[float, float]:
    """Score -> its probability: by the log-probabilities of the first judgement, else by the votes of all judgements.

    A score that a server's list left out counts with its bound. A vote with log-probabilities counts for each score by
    the probability that they give it.
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
    """The expected score of a response, by its judgement and further votes."""
    return math.fsum(score * p for score, p in distribution_of(judgements).items())


def expect_score(logprobs: Sequence[float | None]) -> float:
    """sum i p(i) over the scores 1, 2, ..., p renormalised on them (Lee et al. 2023, arXiv:2309.00267, section 2.2).

    Only over the scores that were listed: a record keeps what was observed, without bounds.
    """
    return math.fsum(score * p for score, p in enumerate(score_distribution(logprobs), start=1))


def score_distribution(logprobs: Sequence[float | None]) -> list[float]:
    """Probabilities that sum to one; a choice that was not listed gets zero."""
    top = max(x for x in logprobs if x is not None)
    weights = [0.0 if x is None else math.exp(x - top) for x in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def worth(answers: Sequence[Sequence[Judgement]], *, weights: Sequence[float], template: JudgeTemplate) -> float:
    """sum w E[S] / sum w over the principles, S from 1 to k brought to -1..1 (Lee et al. 2023, arXiv:2309.00267)."""
    mean = math.fsum(w * expect(given) for w, given in zip(weights, answers, strict=True)) / math.fsum(weights)
    return 2 * (mean - 1) / (len(template.choices) - 1) - 1


def describe_choices(template: JudgeTemplate) -> str:
    return f"scores {', '.join(f'{text!r}' for text in template.choices)}"


MODE = Mode(
    shows="one",
    request=verdict_request,
    plan=alone.plan,
    count_questions=alone.count_questions,
    render=render,
    read=read,
    combine=alone.combine_by(compare),
    compare_alone=compare,
    words=Words(
        question="score",
        first_shown="scored",
        orders="Each response was scored by itself: there was no order, so that no place could help and nothing flip.",
        too_few="",
        too_few_orders="",
        answers="scores",
        describe_choices=describe_choices,
    ),
    worth=worth,
)
