"""What cleaning found, rule by rule: how many rows, what happened to them, and a few examples.

Values, their file, and lines for a terminal. Cleans nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own
from rlaif.records import Tally
from rlaif.records.base import Value
from rlaif.stats.ranks import is_above

NAME = "cleaning.json"
FIX = "restore it from a copy, or remove the stage's folder to do it again"
MAX_EXAMPLES = 3
MAX_SHOWN = 160
"""Longest text of an example, in characters."""


class Example(Value):
    """A row that a rule found. Its texts are untrusted; personal data in them are replaced."""

    row: int
    """Its place among the rows that came in, from 1."""
    text: str
    """The text, or the part of it with the fault."""
    beside: str = ""
    """The corrected text, or the text that the row is equal to."""


class RuleReport(Value):
    """What one rule found."""

    rule: str
    """Name of the option."""
    mode: str
    """What the option says."""
    found: int = Field(ge=0)
    """Rows with the fault."""
    fixed: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)
    examples: tuple[Example, ...] = ()


class CleaningReport(Value):
    """What cleaning did to the rows of one kind."""

    noun: str
    """prompts, demonstrations or preferences."""
    num_in: int = Field(ge=0)
    rules: tuple[RuleReport, ...]
    """Every rule that was looked for, in the order in which they were."""

    @property
    def num_dropped(self) -> int:
        return sum(rule.dropped for rule in self.rules)

    @property
    def has_found(self) -> bool:
        return any(rule.found for rule in self.rules)

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> rows, as a stage's tally has them."""
        return {f"cleaning_{rule.rule}": rule.dropped for rule in self.rules if rule.dropped}

    def count_in(self, tally: Tally) -> Tally:
        """The tally of the rows before cleaning, with what it dropped."""
        return Tally(num_in=tally.num_in, dropped={**tally.dropped, **self.dropped}) if self.num_dropped else tally


def describe_cleaning(report: CleaningReport) -> Iterator[str]:
    """A line for each rule that found something."""
    for rule in report.rules:
        if rule.found:
            yield f"cleaning, {describe_rule(rule, noun=report.noun, num_in=report.num_in)}"


def describe_rule(rule: RuleReport, *, noun: str, num_in: int) -> str:
    """What one rule found and did, in a line."""
    done = [f"{number} {what}" for number, what in ((rule.fixed, "corrected"), (rule.dropped, "dropped")) if number]
    left = rule.found - rule.fixed - rule.dropped
    done += [f"{left} left as {'it is' if left == 1 else 'they are'}"] if left else []
    return f"{rule.rule}: {rule.found} of {num_in} {noun}, {', '.join(done)}"


def describe_share(report: CleaningReport, *, at_most: float) -> tuple[str, bool]:
    """The share of rows that cleaning dropped beside its limit, and whether it is above."""
    most = max(report.rules, key=lambda rule: rule.dropped, default=None)
    by = f", most of them by cleaning.{most.rule} ({most.dropped})" if most is not None and most.dropped else ""
    return (
        f"cleaning dropped {report.num_dropped} of {report.num_in} {report.noun}{by}, and may drop a share of "
        f"{at_most:g}",
        is_above(report.num_dropped, at_most * report.num_in),
    )


def write_cleaning(report: CleaningReport, folder: Path) -> None:
    """cleaning.json in a stage's folder."""
    write_atomically(folder / NAME, report.model_dump_json(indent=1) + "\n")


def read_cleaning(folder: Path) -> CleaningReport | None:
    """What cleaning.json of a stage's folder holds; None where there is none."""
    path = folder / NAME
    return read_own(path, CleaningReport.model_validate_json, fix=FIX) if path.is_file() else None
