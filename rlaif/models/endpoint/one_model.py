"""Whether all answers to one model name come from one served model, by the name that the server gives.

Takes names and raises or returns a refusal. A server that gives no name is believed. Sends nothing.
"""

from __future__ import annotations

from rlaif.errors import StageError

MAX_STRANGERS_IN_A_ROW = 8
"""A server that names another model once may have one wrong machine; one that keeps doing so has another model."""


class OneModel:
    """The served model that a run's answers come from."""

    def __init__(self, asked_for: str) -> None:
        """`asked_for`: the name in the configuration."""
        self._asked_for = asked_for
        self._name = ""
        self._has_answered = False
        self._strangers = 0
        self._warned_of: set[str] = set()
        self._warning = ""

    def expect(self, served_model: str) -> None:
        """Expect this model: its answers are in use already."""
        if not served_model:
            return
        if self._name and self._name != served_model:
            raise StageError(
                f'answers in use come from "{self._name}" and from "{served_model}", both behind "{self._asked_for}"',
                where="judge.model",
                fix=self._fix,
            )
        self._name = served_model

    def check(self, served_model: str) -> str:
        """Why an answer cannot be used; empty where it can. Raises where the server now serves another model."""
        if not served_model or served_model == self._name:
            self._has_answered, self._strangers = True, 0
            return ""
        if not self._name:
            self._name, self._has_answered = served_model, True
            return ""
        self._strangers += 1
        if not self._has_answered or self._strangers >= MAX_STRANGERS_IN_A_ROW:
            raise StageError(
                f'the server now answers as "{served_model}", and the answers in use come from "{self._name}"',
                where="judge.model",
                fix=self._fix,
            )
        if served_model not in self._warned_of:
            self._warned_of.add(served_model)
            self._warning = (
                f'the server answers as "{self._name}" and as "{served_model}"; only answers of the first are used, '
                "the others are thrown away and asked again: name one of them as judge.model.path in place of "
                f'"{self._asked_for}"'
            )
        return f'answered as "{served_model}" and not as "{self._name}"'

    def take_warning(self) -> str:
        """What to say of a second name; each name is worth saying once."""
        warning, self._warning = self._warning, ""
        return warning

    @property
    def _fix(self) -> str:
        return "have the first model served again, or start a run with another judge.model.revision, which asks again"
