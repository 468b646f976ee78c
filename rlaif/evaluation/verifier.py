"""Answers that can be verified: a response -> the answer that it gives, and whether that is the known one.

The two functions are the user's, and one that raises is a `FunctionError`. Draws nothing and rewards nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlaif.config.functions import load_function
from rlaif.config.verifier import VerifierConfig
from rlaif.errors import DataError
from rlaif.records import Prompt


class Checked(NamedTuple):
    """What a verifier finds in a response."""

    answer: str | None
    """The answer it gives; None where it gives none."""
    is_right: bool


@dataclass(frozen=True)
class Verifier:
    """Finds answers, and compares them with the known one."""

    find: Callable[..., Any]
    """(messages of the prompt as role/content dicts, the response's text) -> its answer or None."""
    correct: Callable[..., Any] | None = None
    """(messages, response, known answer) -> 1 where it is right; None: it has to equal the known answer."""
    tolerance: float = 0.01

    def find_answer(self, prompt: Prompt, response: str) -> str | None:
        """The answer that a response gives, as text without outer spaces; None where there is none."""
        found = self.find(prompt.as_chat(), response)
        if found is not None and not isinstance(found, str | int | float):
            raise DataError(
                f"the function that finds answers returned {found!r:.80}",
                where="verifier.answer",
                fix="return text, a number, or None where the response gives no answer",
            )
        return None if found is None else str(found).strip() or None

    def check(self, prompt: Prompt, response: str) -> Checked:
        """The answer of a response to a prompt, and whether it is right. One that gives none is not right."""
        answer = self.find_answer(prompt, response)
        if answer is None:
            return Checked(None, is_right=False)
        if self.correct is None:
            return Checked(answer, is_right=prompt.reference is not None and self.is_same(answer, prompt.reference))
        return Checked(answer, is_right=self._ask_correct(self.correct, prompt, response))

    def is_same(self, answer: str, other: str) -> bool:
        """Whether two answers are the same: numbers within the tolerance, else texts without case and outer spaces."""
        first, second = as_number(answer), as_number(other)
        if first is not None and second is not None:
            return abs(first - second) <= self.tolerance
        return answer.strip().casefold() == other.strip().casefold()

    def _ask_correct(self, correct: Callable[..., Any], prompt: Prompt, response: str) -> bool:
        value = correct(prompt.as_chat(), response, prompt.reference)
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise DataError(
                f"the function that verifies answers returned {value!r:.80}",
                where="verifier.correct",
                fix="return 1 for a right answer and 0 for a wrong one",
            )
        return bool(value)


def as_number(text: str) -> float | None:
    """The finite number that a text is, also one with commas between its thousands; None where it is none."""
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def load_verifier(config: VerifierConfig) -> Verifier:
    """The verifier that the configuration names. Raises `ConfigError` where a function is not there."""
    assert config.answer is not None, "the caller knows that a verifier is given"
    find = load_function(config.answer, what="answer finder", where="verifier.answer")
    correct = (
        None if config.correct is None else load_function(config.correct, what="verifier", where="verifier.correct")
    )
    return Verifier(find, correct, config.tolerance)
