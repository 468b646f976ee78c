"""The pieces that every view of this room is made of: named facts, gathered under a title.

A view holds text for a person and no layout, so that a terminal and a page can print the same one. Texts may come from
models and data sets: whoever prints a view makes them harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rlaif.records import Use


class Fact(NamedTuple):
    """A name, and what is known under it."""

    name: str
    text: str


class Section(NamedTuple):
    """Facts under one title, which may be empty."""

    title: str
    facts: tuple[Fact, ...]


def use_facts(name: str, uses: Iterable[Use]) -> list[Fact]:
    """A fact for each stage of a run that used a record."""
    return [Fact(name, f"run {use.run}, round {use.round}, stage {use.stage}") for use in uses]
