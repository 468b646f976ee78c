"""Responses, each read under a principle and under its opposite -> scores and comparisons of their pairs.

    score(y) = log p(y | principle, x) - log p(y | opposite, x), by token or summed

The judge writes nothing: the score is how much likelier the principle makes the response than its opposite does. Of
summed scores the difference between two responses is the log-odds that the first was made under the principle and the
second under the opposite, rather than the reverse (Liu et al. 2024, arXiv:2402.11907). There is no order, and nothing
to parse. It measures a manner that the model can hear, and no merit. Does not ask and does not combine principles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rlaif.constitution.front_matter import ContrastRules
from rlaif.constitution.render import JudgeTemplate, render_instruction
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConstitutionError
from rlaif.judging.choices import Unusable
from rlaif.judging.modes import alone
from rlaif.judging.modes.mode import Debiased, Mode, Shown, Words
from rlaif.models.interface import LIKELIHOODS, ScoredReply
from rlaif.models.readings import CUT_OFF, WHOLE
from rlaif.records import Constitution, Judgement, Message, Principle, Segment, SegmentedMessage, put_before
from rlaif.stats.logits import sigmoid


def render(
    template: JudgeTemplate, *, conversation: Sequence[Message], responses: Sequence[Shown], principle: Principle
) -> tuple[SegmentedMessage, ...]:
    """The two readings: the conversation and the response under the principle, then under its opposite."""
    [shown] = responses
    response = SegmentedMessage(WHOLE if shown.is_whole else CUT_OFF, (Segment(shown.text, False),))
    under = [put_before(conversation, instruction) for instruction in _instructions(template, principle)]
    return (*under[0], response, *under[1], response)


def _instructions(template: JudgeTemplate, principle: Principle) -> tuple[str, str]:
    opposite = render_instruction(template, principle=principle.opposite) if principle.opposite else ""
    return render_instruction(template, principle=principle.text), opposite


def read(
    reply: ScoredReply, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
) -> dict[str, Any] | Unusable:
    """The score, and both log-likelihoods with their number of tokens."""
    if len(reply.likelihoods) != 2 or not all(map(math.isfinite, reply.likelihoods)):
        return Unusable("non_finite")
    if max(reply.likelihoods) > 0:
        return Unusable("impossible_logprobs", "a log-likelihood is above 0")
    under_principle, under_opposite = reply.likelihoods
    per = reply.response_tokens if _rules(template).normalise == "tokens" else 1
    return {
        "score": (under_principle - under_opposite) / per,
        "log_likelihoods": reply.likelihoods,
        "num_response_tokens": reply.response_tokens,
    }


def compare(first: Sequence[Judgement], second: Sequence[Judgement], template: JudgeTemplate) -> Debiased:
    """logit = difference of the scores / the template's scale."""
    logit = (_score_of(first) - _score_of(second)) / _rules(template).scale
    return Debiased(sigmoid(logit), logit, None, None)


def worth(answers: Sequence[Sequence[Judgement]], *, weights: Sequence[float], template: JudgeTemplate) -> float:
    """tanh(mean / (2 scale)) of the weighted mean score: 2 p - 1 against a response that scores 0."""
    mean = math.fsum(w * _score_of(given) for w, given in zip(weights, answers, strict=True)) / math.fsum(weights)
    return math.tanh(mean / (2 * _rules(template).scale))


def _score_of(judgements: Sequence[Judgement]) -> float:
    score = judgements[0].score
    assert score is not None  # the questions of a contrast are answered with scores
    return score


def _rules(template: JudgeTemplate) -> ContrastRules:
    assert template.contrast is not None  # templates of this kind always have them
    return template.contrast


def describe_choices(template: JudgeTemplate) -> str:
    rules = _rules(template)
    how = "the mean by token" if rules.normalise == "tokens" else "the sum over its tokens"
    return (
        f"the log-likelihood of the reply under each, {how}; odds are e to 1 where two scores differ by {rules.scale:g}"
    )


def check_principles(constitution: Constitution, *, template: JudgeTemplate) -> None:
    """Refuse a principle without an opposite where the template needs one."""
    for principle in weighted_principles(constitution):
        if not principle.opposite and _rules(template).needs_opposite:
            raise ConstitutionError(
                f'principle "{principle.id}" has no opposite, and the template "{template.name}" reads each response '
                "under both",
                where=f'constitution "{constitution.name}"',
                fix="write `opposite: ...`, the instruction of the contrary manner, or use the template contrast",
            )


MODE = Mode(
    shows="one",
    request=lambda template: LIKELIHOODS,
    plan=alone.plan,
    count_questions=alone.count_questions,
    render=render,
    read=read,
    combine=alone.combine_by(compare),
    compare_alone=compare,
    check_principles=check_principles,
    words=Words(
        question="reading",
        first_shown="read",
        orders="Each response was read by itself: there was no order, so that no place could help and nothing flip.",
        too_few="",
        too_few_orders="",
        answers="likelihoods",
        describe_choices=describe_choices,
        scale="How sure the labels are is set by the template's `scale`, as a contrast gives no probability.",
    ),
    worth=worth,
)
