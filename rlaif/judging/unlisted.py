"""What a judge's server left out of its list of alternatives -> the most that it can have been.

A server lists its likeliest tokens, 20 or 5 of them. A choice that is not among them is no likelier than the last
one listed, nor than the probability that the list leaves over. That bound counts in its place, which makes a label
that is less sure than the judge was and never a certain one. Asks nothing and changes no record.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from rlaif.records import Judgement, Verdict
from rlaif.stats.logits import ROUNDING

LOWEST_LOGPROB = -104.0
"""What an underflowed probability is bounded by: the smallest number a float32 softmax can give."""


def bound_unlisted(
    known: Sequence[float], *, number: int, given: float | None = None, rounding: float = ROUNDING
) -> float:
    """The most that each of `number` choices that were left out can be, beside the log-probabilities of those listed.

    given: a bound that the whole list gave, where it is known; else none of those listed is below one left out.
    None left out counts as likelier than the likeliest listed.
    """
    left = max(0.0, 1 - math.fsum(map(math.exp, known))) + rounding
    share = math.log(left / number) if left else LOWEST_LOGPROB
    return max(min(share, min(known) if given is None else min(given, max(known))), LOWEST_LOGPROB)


def verdict_logprobs(judgement: Judgement, *, verdicts: Collection[Verdict] = ()) -> dict[Verdict, float]:
    """The log-probability of each verdict, and the bound of each that was left out; empty where none are known.

    verdicts: those that there are beside first and second, for a record that does not say which were left out.
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
