"""A judge's reply -> a judgement or a named failure.

A reply without readable verdict is another type, never a number: not finite, too little
probability on the verdict strings, cut off, empty. Does not ask and does not combine orders.
"""

from __future__ import annotations

import math

from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, FailureCause, Judgement, Observed, Verdict, VerdictLogprob


def read_verdict(
    reply: ScoredReply,
    *,
    question_id: str,
    verdicts: tuple[Verdict, ...],
    min_label_mass: float,
    attempt: int,
    observed: Observed,
) -> Judgement | FailedJudgement:
    """`verdicts` name the reply's log-probabilities, in their order; one that the judge's server did not list stays
    unknown, and a reply without any is a verdict alone."""

    def failed(cause: FailureCause) -> FailedJudgement:
        return FailedJudgement(
            question_id=question_id,
            cause=cause,
            attempt=attempt,
            raw_reply=reply.raw_reply,
            observed=observed,
        )

    if reply.failure is not None:
        return failed(reply.failure)
    if not reply.logprobs and reply.verdict is not None:
        return Judgement(
            question_id=question_id, verdict=verdicts[reply.verdict], reason=reply.reason, raw_reply=reply.raw_reply,
            observed=observed,
        )  # fmt: skip
    known = {
        verdict: x
        for place, (verdict, x) in enumerate(zip(verdicts, reply.logprobs, strict=True))
        if place not in reply.unknown
    }
    if any(math.isnan(x) or x == math.inf for x in known.values()) or not any(map(math.isfinite, known.values())):
        return failed("non_finite")
    mass = min(1.0, math.fsum(map(math.exp, known.values())))
    if mass < min_label_mass:
        return failed("low_mass")
    # A verdict whose probability underflowed is bounded by the smallest number a float32 softmax can give.
    logprobs = {verdict: max(min(x, 0.0), -104.0) for verdict, x in known.items()}
    return Judgement(
        question_id=question_id,
        verdict=max(logprobs, key=logprobs.__getitem__),
        logprobs=tuple(VerdictLogprob(verdict=verdict, logprob=x) for verdict, x in logprobs.items()),
        label_mass=mass,
        reason=reply.reason,
        raw_reply=reply.raw_reply,
        observed=observed,
    )
