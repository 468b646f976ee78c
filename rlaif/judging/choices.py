"""A judge's reply -> the log-probabilities of the strings that count, also of those that its server did not list.

A server lists its likeliest tokens, 20 or 5 of them. A choice that is not among them is no likelier than the last
one listed, nor than the probability that the list leaves over. That bound counts in its place, which makes a label
that is less sure than the judge was and never a certain one. A reply that says nothing is `Unusable`, never a number.
Asks nothing and changes no record.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from rlaif.models.interface import ScoredReply
from rlaif.records import FailureCause, Judgement, Verdict
from rlaif.stats.logits import ROUNDING, describe_impossible

LOWEST_LOGPROB = -104.0
"""What counts for an underflowed probability: the log of the smallest number that a float32 softmax can give."""


class Known(NamedTuple):
    """The log-probabilities of a reply's choices."""

    logprobs: tuple[float | None, ...] = ()
    """None for a choice that the judge's server did not list; empty where the reply names a choice and no numbers."""
    at_most: float | None = None
    """The log-probability of each choice that was not listed is at most this."""
    mass: float | None = None
    """Probability of the listed choices together, without the unlisted ones."""


class Unusable(NamedTuple):
    """Why a reply says nothing."""

    cause: FailureCause
    said: str = ""
    """What is wrong with the numbers, where the cause alone does not say it."""


def read_choices(reply: ScoredReply, num_choices: int, *, min_mass: float) -> Known | Unusable:
    """The log-probabilities of the first `num_choices` choices of the template, or why there are none.

    A template may name more responses than were shown; a reply that names one of those is unparsable. `min_mass`: the
    least probability that the listed choices must have together.
    """
    if reply.verdict is not None and reply.verdict >= num_choices:
        return Unusable("unparsable")
    if not reply.logprobs and reply.verdict is not None:
        return Known()
    given = reply.logprobs[:num_choices]
    listed = [x for place, x in enumerate(given) if place not in reply.unknown]
    if any(math.isnan(x) or x == math.inf for x in listed) or not any(map(math.isfinite, listed)):
        return Unusable("non_finite")
    if said := describe_impossible(listed):
        return Unusable("impossible_logprobs", said)
    mass = min(1.0, math.fsum(map(math.exp, listed)))
    if mass < min_mass:
        return Unusable("low_mass")
    logprobs = tuple(None if n in reply.unknown else max(min(x, 0.0), LOWEST_LOGPROB) for n, x in enumerate(given))
    return Known(logprobs, _bound(reply, logprobs), mass)


def _bound(reply: ScoredReply, logprobs: Sequence[float | None]) -> float | None:
    """The most that each choice that was not listed can be; None where all were listed."""
    listed = [x for x in logprobs if x is not None]
    if len(listed) == len(logprobs):
        return None
    rounding = 0.0 if reply.at_most is None else ROUNDING
    return bound_unlisted(listed, number=len(logprobs) - len(listed), given=reply.at_most, rounding=rounding)


def bound_unlisted(
    known: Sequence[float], *, number: int, given: float | None = None, rounding: float = ROUNDING
) -> float:
    """The most that each of `number` choices that were left out can be, beside the log-probabilities of those listed.

    `given`: the bound that the server's whole list gives. None: it is not known, and no choice left out is likelier
    than the least likely one listed. A choice left out never counts as likelier than the likeliest listed.
    """
    left = max(0.0, 1 - math.fsum(map(math.exp, known))) + rounding
    share = math.log(left / number) if left else LOWEST_LOGPROB
    return max(min(share, min(known) if given is None else min(given, max(known))), LOWEST_LOGPROB)


def verdict_logprobs(judgement: Judgement, *, verdicts: Collection[Verdict] = ()) -> dict[Verdict, float]:
    """The log-probability of each verdict, and the bound of each that was left out; empty where none are known.

    `verdicts`: which there are beside first and second, for a record that does not say which were left out.
    """
    known: dict[Verdict, float] = {entry.verdict: entry.logprob for entry in judgement.logprobs}
    if not known:
        return {}
    named: tuple[Verdict, ...] = ("first", "second", *judgement.unlisted, *verdicts)
    missing = [verdict for verdict in dict.fromkeys(named) if verdict not in known]
    at_most = _find_bound(judgement, list(known.values()), number=len(missing))
    return known | dict.fromkeys(missing, at_most)


def choice_logprobs(judgement: Judgement) -> tuple[float, ...]:
    """Log-probabilities of a score's or ranking's choices, in their order; unlisted ones are at their bound."""
    given = judgement.choice_logprobs
    known = [x for x in given if x is not None]
    if not known:
        return ()
    at_most = _find_bound(judgement, known, number=len(given) - len(known))
    return tuple(at_most if x is None else x for x in given)


def _find_bound(judgement: Judgement, known: Sequence[float], *, number: int) -> float:
    if judgement.unlisted_at_most is not None:
        return judgement.unlisted_at_most
    return bound_unlisted(known, number=number) if number else LOWEST_LOGPROB
