"""A judge's reply -> a judgement or a named failure.

A reply without readable verdict, score or choice is another type, never a number: not finite, too little
probability on the strings that count, cut off, empty. Does not ask and does not combine judgements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlaif.constitution.render import JudgeTemplate
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, FailureCause, Judgement, Observed, Verdict, VerdictLogprob

LOWEST_LOGPROB = -104.0
"""What an underflowed probability is bounded by: the smallest number a float32 softmax can give."""


def read_answer(
    reply: ScoredReply,
    *,
    question_id: str,
    template: JudgeTemplate,
    num_shown: int,
    min_label_mass: float,
    attempt: int,
    observed: Observed,
) -> Judgement | FailedJudgement:
    """What a reply to a question with so many responses says by its template: a verdict, a score, or a ranking."""
    num_choices = num_shown if template.kind == "ranking" else len(template.choices)
    found = reply.failure or _read_logprobs(reply, num_choices=num_choices, min_label_mass=min_label_mass)
    if isinstance(found, str):
        return FailedJudgement(
            question_id=question_id, cause=found, attempt=attempt, raw_reply=reply.raw_reply, observed=observed
        )
    known, mass = found
    if template.kind == "pair":
        verdict, logprobs = _verdict_of(reply, known, verdicts=tuple(template.verdicts))
        return Judgement(
            question_id=question_id, verdict=verdict, logprobs=logprobs, label_mass=mass, reason=reply.reason,
            raw_reply=reply.raw_reply, observed=observed,
        )  # fmt: skip
    if template.kind == "ranking":
        return Judgement(
            question_id=question_id, ranking=_rank(known) if known else (reply.verdict or 0,), choice_logprobs=known,
            label_mass=mass, reason=reply.reason, raw_reply=reply.raw_reply, observed=observed,
        )  # fmt: skip
    return Judgement(
        question_id=question_id, score=expect_score(known) if known else float((reply.verdict or 0) + 1),
        choice_logprobs=known, label_mass=mass, reason=reply.reason, raw_reply=reply.raw_reply, observed=observed,
    )  # fmt: skip


def _read_logprobs(
    reply: ScoredReply, *, num_choices: int, min_label_mass: float
) -> tuple[tuple[float | None, ...], float | None] | FailureCause:
    """The log-probabilities of the first `num_choices`, None where the judge's server did not list one, and their mass.

    Nothing of either for a reply that is a choice alone. A template that names more replies than were shown has
    choices that are none; a reply that names one of those is unparsable.
    """
    if reply.verdict is not None and reply.verdict >= num_choices:
        return "unparsable"
    if not reply.logprobs and reply.verdict is not None:
        return (), None
    given = reply.logprobs[:num_choices]
    known = [x for place, x in enumerate(given) if place not in reply.unknown]
    if any(math.isnan(x) or x == math.inf for x in known) or not any(map(math.isfinite, known)):
        return "non_finite"
    mass = min(1.0, math.fsum(map(math.exp, known)))
    if mass < min_label_mass:
        return "low_mass"
    bounded = [None if n in reply.unknown else max(min(x, 0.0), LOWEST_LOGPROB) for n, x in enumerate(given)]
    return tuple(bounded), mass


def _verdict_of(
    reply: ScoredReply, known: Sequence[float | None], *, verdicts: tuple[Verdict, ...]
) -> tuple[Verdict, tuple[VerdictLogprob, ...]]:
    if not known:
        return verdicts[reply.verdict or 0], ()
    logprobs = {verdict: x for verdict, x in zip(verdicts, known, strict=True) if x is not None}
    best = max(logprobs, key=logprobs.__getitem__)
    return best, tuple(VerdictLogprob(verdict=verdict, logprob=x) for verdict, x in logprobs.items())


def _rank(logprobs: Sequence[float | None]) -> tuple[int, ...]:
    """Places by falling probability; those that were not listed come last."""
    bounded = [-math.inf if x is None else x for x in logprobs]
    return tuple(sorted(range(len(bounded)), key=lambda place: -bounded[place]))


def expect_score(logprobs: Sequence[float | None]) -> float:
    """sum i p(i) over the scores 1, 2, ..., p renormalised on them (Lee et al. 2023, arXiv:2309.00267, section 2.2)."""
    return math.fsum(score * p for score, p in enumerate(score_distribution(logprobs), start=1))


def score_distribution(logprobs: Sequence[float | None]) -> list[float]:
    """Probabilities that sum to one; a choice that was not listed has none."""
    top = max(x for x in logprobs if x is not None)
    weights = [0.0 if x is None else math.exp(x - top) for x in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
