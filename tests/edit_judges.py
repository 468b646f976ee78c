"""A scripted judge that prefers the shorter reply, with exceptions under the texts of edited principles."""

from __future__ import annotations

from rlaif.models.scripted_engine import ScriptedQuestion
from rlaif.records import FailureCause


def by_text(question: ScriptedQuestion) -> tuple[float, ...] | FailureCause:
    """The shorter reply under any text. Where both together have an odd length, "Be kind." and "Be mute." turn it.

    "Be mute." also refuses a third of the pairs.
    """
    *_, first, second = question.texts
    length = len(first) + len(second)
    p = 0.9 if (len(first), first) < (len(second), second) else 0.1
    if "Be mute." in question.prompt and length % 3 == 0:
        return "refused"
    is_turned = length % 2 == 1 and ("Be kind." in question.prompt or "Be mute." in question.prompt)
    return (1 - p, p) if is_turned else (p, 1 - p)


def by_end(question: ScriptedQuestion) -> tuple[float, ...]:
    """The reply whose last letter comes first in the alphabet, whatever the principle."""
    *_, first, second = question.texts
    return (0.8, 0.2) if first[::-1] < second[::-1] else (0.2, 0.8)
