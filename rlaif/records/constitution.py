"""Constitutions and their principles, as the records that judging reads.

Reads nothing and checks only shape; `rlaif.constitution.principles` loads and validates the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from pydantic import Field

from rlaif.records.base import Record, Value, computed_once, digest_text

T = TypeVar("T")


def _is_empty(value: str | tuple[object, ...]) -> bool:
    return not value


class Example(Value):
    """A prompt with a reply that keeps a principle and one that breaks it: what a judge is probed with."""

    prompt: str
    good: str
    bad: str


class Principle(Value):
    """One rule: which of two replies is better.

    Fields that came later are left out of the content, and so of all ids, where they are empty.
    """

    id: str
    text: str
    weight: float = Field(1.0, ge=0)
    tags: tuple[str, ...] = ()
    """Free labels; a tag that names a measure tells the report which measure the principle moves."""
    opposite: str = Field("", exclude_if=_is_empty)
    """The instruction that asks for the contrary; a judge that contrasts reads a reply under both. Empty: none."""
    examples: tuple[Example, ...] = Field((), exclude_if=_is_empty)

    @computed_once
    def digest(self) -> str:
        """The digest of the text alone."""
        return digest_text(self.text)

    @computed_once
    def opposite_digest(self) -> str:
        """The digest of the opposite; empty where there is none."""
        return digest_text(self.opposite) if self.opposite else ""

    @computed_once
    def wordings(self) -> tuple[tuple[str, str], ...]:
        """The principle as comparisons may name it, see `PrincipleKey.wording`: with its opposite and without."""
        return (self.id, self.digest + self.opposite_digest), (self.id, self.digest)

    def find_in(self, by_wording: Mapping[tuple[str, str], T]) -> T | None:
        """What stands under the principle's wording; None where its text or its opposite was another one."""
        return next((by_wording[wording] for wording in self.wordings if wording in by_wording), None)


class Constitution(Record):
    """A principle file."""

    table: ClassVar[str] = "constitutions"
    text_fields: ClassVar[tuple[str, ...]] = ("source",)
    name: str
    description: str = ""
    principles: tuple[Principle, ...]
    source: str
    """The file's full text."""

    @computed_once
    def file_digest(self) -> str:
        return digest_text(self.source)
