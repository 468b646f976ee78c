"""Scripted judges that disagree: by length one way, by length the other way, and one that fails on some questions."""

from __future__ import annotations

import math

from rlaif.models.scripted_engine import ScriptedQuestion
from rlaif.records import FailureCause


def _by_length(question: ScriptedQuestion, slope: float) -> tuple[float, ...]:
    *_, first, second = question.texts
    p = 1 / (1 + math.exp(-slope * (len(first) - len(second))))
    return (p, 1 - p)


def prefer_long(question: ScriptedQuestion) -> tuple[float, ...]:
    return _by_length(question, 0.02)


def prefer_short(question: ScriptedQuestion) -> tuple[float, ...]:
    return _by_length(question, -0.05)


def refuse_the_odd(question: ScriptedQuestion) -> tuple[float, ...] | FailureCause:
    """Refuses where the two replies together have an odd length; prefers the short one elsewhere."""
    *_, first, second = question.texts
    return "refused" if (len(first) + len(second)) % 2 else prefer_short(question)


def refuse_all(question: ScriptedQuestion) -> FailureCause:
    return "refused"
