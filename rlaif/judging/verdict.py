"""A judge's reply -> a judgement or a named failure.

A reply without readable verdict, score or choice is another type, never a number: not finite, no probabilities at
all, too little of them on the strings that count, cut off, empty. Does not ask and does not combine judgements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.unlisted import LOWEST_LOGPROB, bound_unlisted
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, FailureCause, Judgement, Observed, Verdict, VerdictLogprob
from rlaif.stats.logits import ROUNDING, describe_impossible


class _Known(NamedTuple):
    """The log-probabilities of a reply's choices."""

    logprobs: tuple[float | None, ...] = ()
    """None where the judge's server did not list one; empty where the reply is a choice alone."""
    at_most: float | None = None
    """Each that was not listed is this at most."""
    mass: float | None = None
    """Probability of the listed choices together; unlisted ones are not in it."""


class _Unusable(NamedTuple):
    cause: FailureCause
    said: str = ""
    """What is wrong with the numbers, where the cause alone does not say it."""


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
    found = _Unusable(reply.failure) if reply.failure else _read_logprobs(reply, num_choices, least=min_label_mass)
    if isinstance(found, _Unusable):
        return FailedJudgement(
            question_id=question_id, cause=found.cause, attempt=attempt, raw_reply=reply.raw_reply,
            observed=_explained(observed, found.said),
        )  # fmt: skip
    said: dict[str, Any] = {
        "question_id": question_id, "unlisted_at_most": found.at_most, "label_mass": found.mass,
        "reason": reply.reason, "raw_reply": reply.raw_reply, "observed": observed,
    }  # fmt: skip
    if template.kind == "pair":
        return Judgement(**said, **_verdict_of(reply, found.logprobs, verdicts=tuple(template.verdicts)))
    said["choice_logprobs"] = known = found.logprobs
    if template.kind == "ranking":
        return Judgement(**said, ranking=_rank(known) if known else (reply.verdict or 0,))
    return Judgement(**said, score=expect_score(known) if known else float((reply.verdict or 0) + 1))


def _read_logprobs(reply: ScoredReply, num_choices: int, *, least: float) -> _Known | _Unusable:
    """The log-probabilities of the first `num_choices`, or why they are none.

    A template that names more replies than were shown has choices that are none; a reply that names one of those is
    unparsable. least: of the mass that those listed have together.
    """
    if reply.verdict is not None and reply.verdict >= num_choices:
        return _Unusable("unparsable")
    if not reply.logprobs and reply.verdict is not None:
        return _Known()
    given = reply.logprobs[:num_choices]
    listed = [x for place, x in enumerate(given) if place not in reply.unknown]
    if any(math.isnan(x) or x == math.inf for x in listed) or not any(map(math.isfinite, listed)):
        return _Unusable("non_finite")
    if said := describe_impossible(listed):
        return _Unusable("impossible_logprobs", said)
    mass = min(1.0, math.fsum(map(math.exp, listed)))
    if mass < least:
        return _Unusable("low_mass")
    logprobs = tuple(None if n in reply.unknown else max(min(x, 0.0), LOWEST_LOGPROB) for n, x in enumerate(given))
    return _Known(logprobs, _bound(reply, logprobs), mass)


def _bound(reply: ScoredReply, logprobs: Sequence[float | None]) -> float | None:
    """What each choice that was not listed is at most; None where all were."""
    listed = [x for x in logprobs if x is not None]
    if len(listed) == len(logprobs):
        return None
    rounding = 0.0 if reply.at_most is None else ROUNDING
    return bound_unlisted(listed, number=len(logprobs) - len(listed), given=reply.at_most, rounding=rounding)


def _explained(observed: Observed, said: str) -> Observed:
    """What was observed, with what is wrong where the account of the server's reply has a place for it."""
    if not said or observed.served is None:
        return observed
    return observed.model_copy(update={"served": observed.served.model_copy(update={"detail": said})})


def _verdict_of(reply: ScoredReply, known: Sequence[float | None], *, verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    """The verdict, the log-probabilities of those that were listed, and the verdicts that were not."""
    if not known:
        return {"verdict": verdicts[reply.verdict or 0]}
    logprobs = {verdict: x for verdict, x in zip(verdicts, known, strict=True) if x is not None}
    return {
        "verdict": max(logprobs, key=logprobs.__getitem__),
        "logprobs": tuple(VerdictLogprob(verdict=verdict, logprob=x) for verdict, x in logprobs.items()),
        "unlisted": tuple(verdict for verdict, x in zip(verdicts, known, strict=True) if x is None),
    }


def _rank(logprobs: Sequence[float | None]) -> tuple[int, ...]:
    """Places by falling probability; those that were not listed come last."""
    bounded = [-math.inf if x is None else x for x in logprobs]
    return tuple(sorted(range(len(bounded)), key=lambda place: -bounded[place]))


def expect_score(logprobs: Sequence[float | None]) -> float:
    """sum i p(i) over the scores 1, 2, ..., p renormalised on them (Lee et al. 2023, arXiv:2309.00267, section 2.2).

    Over those that were listed: this is what the record keeps, and it holds what was observed alone.
    """
    return math.fsum(score * p for score, p in enumerate(score_distribution(logprobs), start=1))


def score_distribution(logprobs: Sequence[float | None]) -> list[float]:
    """Probabilities that sum to one; a choice that was not listed has none."""
    top = max(x for x in logprobs if x is not None)
    weights = [0.0 if x is None else math.exp(x - top) for x in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
