"""Scripted judges that disagree: by length one way, by length the other way, and one that fails on some questions."""

from __future__ import annotations

import math

from rlaif.models.scripted_engine import ScriptedAnswer, ScriptedQuestion
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


def by_principle(question: ScriptedQuestion) -> tuple[float, ...]:
    """Kind replies are long, brief ones short; being shown first helps a little."""
    *_, first, second = question.texts
    slope = -0.03 if "Be brief." in question.prompt and "Be kind." not in question.prompt else 0.01
    p = 1 / (1 + math.exp(-slope * (len(first) - len(second)) - 0.1))
    return (p, 1 - p)


def sure_with_a_reason(question: ScriptedQuestion) -> ScriptedAnswer:
    """Nearly certain, whichever way."""
    *_, first, second = question.texts
    return ScriptedAnswer((0.98, 0.02) if len(first) > len(second) else (0.02, 0.98), reason="Length tells.")


def first_is_better(question: ScriptedQuestion) -> tuple[float, ...]:
    """Follows the order, surer of it the longer the first reply is."""
    *_, first, _ = question.texts
    p = 0.6 + 0.35 * min(1.0, len(first) / 120)
    return (p, 1 - p)


def with_ties(question: ScriptedQuestion) -> tuple[float, ...]:
    """The longer one where that is by more than a few letters, a tie where it is shown first and else the second."""
    *_, first, second = question.texts
    gap = len(first) - len(second)
    if abs(gap) > 8:
        return (0.7, 0.1, 0.2) if gap > 0 else (0.1, 0.7, 0.2)
    return (0.1, 0.2, 0.7) if gap > 0 else (0.2, 0.7, 0.1)
