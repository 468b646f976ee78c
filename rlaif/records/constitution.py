"""Constitutions and their principles, as the records that judging reads.

Reads nothing and checks only shape; `rlaif.constitution.principles` loads and validates the files.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from rlaif.records.base import Record, Value, computed_once, digest_text


class Principle(Value):
    """One rule: which of two replies is better."""

    id: str
    text: str
    weight: float = Field(1.0, ge=0)
    tags: tuple[str, ...] = ()
    """Free labels; a tag that names a measure tells the report which measure the principle moves."""

    @computed_once
    def digest(self) -> str:
        return digest_text(self.text)


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
