"""Answers that the ledger held before a stage asked: how many, and who gave them, in one line.

Nobody is asked for them now, whatever judge is configured. Prints the line and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping

from rlaif.console import say
from rlaif.ledger.answers import Answered

_MOST_NAMED = 3


class Reuse:
    """The answers that a stage takes over from earlier ones."""

    def __init__(self, sent: Container[str]) -> None:
        """`sent`: the questions that this stage asked itself, in an earlier attempt."""
        self._sent = sent
        self._by: dict[str, str] = {}

    def take(self, answered: Mapping[str, Answered]) -> None:
        """Note the answers to some questions, by the questions' ids."""
        for key, answer in answered.items():
            if key not in self._sent:
                self._by[key] = _name(answer)

    def say(self, *, total: int, judge: str = "") -> None:
        """Say how many of `total` questions were answered before. judge: the name of a judge that is not served."""
        if self._by:
            by = [name or judge for name, _ in Counter(self._by.values()).most_common(_MOST_NAMED)]
            who = f", by {' and by '.join(by)}" if all(by) else ""
            say(f"judge: {len(self._by)} of {total} questions were answered before{who}: they are not asked again")


def _name(answer: Answered) -> str:
    return " at ".join(filter(None, (answer.served_model or ("the server" if answer.host else ""), answer.host)))
