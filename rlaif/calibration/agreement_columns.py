"""`rlaif agreement --columns FILE.yaml` -> which columns of people's choices and of verdicts hold what.

Does not read the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from rlaif.config import column_map
from rlaif.config.base import Config
from rlaif.config.column_map import Columns, PolicyNames, VerdictValues

EXAMPLE = "examples/agreement"


class AgreementColumns(Config):
    """The columns of people's choices, and of a judge's verdicts on the same items."""

    key: Columns
    """Column, or several, that name an item: two responses shown in one order."""
    prompt: Columns | None = None
    """Column, or several, that name the prompt; intervals take items of one prompt as belonging together."""
    annotator: str | None = None
    """Column that names the person, where each row is one person's choice; `choice` then holds it."""
    choice: str | None = None
    """Column of the choice, beside `annotator`."""
    annotators: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of choices, one for each person, where each row is one item."""
    choice_values: VerdictValues
    """What people's choices say for first, second and tie."""
    inclusion_probability: str | None = None
    """Column of the probability with which the item was drawn to be chosen on, above 0 and at most 1. Every figure then
    describes all items that could have been drawn: each counts one over its probability."""
    stratum: Columns | None = None
    """Column, or several, that name the part of the items from which so many were drawn, such as the judge's confidence
    in five steps. With `inclusion_probability` it narrows the intervals of the judge's accuracy."""
    principle: str | None = None
    """Column of the principle under which the choice was made; the judge is then also compared under each of them."""
    responses: tuple[str, str] | None = None
    """Columns of the two responses' texts; the judge is then also compared by how much longer one of them is."""
    policies: PolicyNames | None = None
    """Who wrote the two responses, for Bradley-Terry scores."""
    verdict_key: Columns | None = None
    """The columns of `key` in the verdicts file, where they have other names."""
    verdict: str | None = None
    """Column of the judge's verdict in the verdicts file."""
    verdict_values: VerdictValues | None = None
    """What the verdicts say for first, second and tie; any other value is a failed judgement."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.annotators is None) == (self.annotator is None):
            raise ValueError("give either annotator, with choice, or annotators")
        if (self.annotator is None) != (self.choice is None):
            raise ValueError("annotator and choice belong together")
        if self.annotators and len(set(self.annotators)) < len(self.annotators):
            raise ValueError("a column stands twice in annotators")
        if self.stratum is not None and self.inclusion_probability is None:
            raise ValueError("stratum wants inclusion_probability: without it no stratum's share of all items is known")
        if self.policies and self.policies.names:
            raise ValueError("policies wants columns, or joined with separator: scores compare items")
        if (self.verdict is None) != (self.verdict_values is None):
            raise ValueError("verdict and verdict_values belong together")
        if self.verdict_key is not None and len(listed(self.verdict_key)) != len(listed(self.key)):
            raise ValueError("verdict_key must name as many columns as key")
        return self

    @property
    def people_columns(self) -> set[str]:
        """All columns read from the file of people's choices."""
        names = (
            *listed(self.key),
            *listed(self.prompt),
            self.annotator,
            self.choice,
            *(self.annotators or ()),
            self.inclusion_probability,
            *listed(self.stratum),
            self.principle,
            *(self.responses or ()),
        )
        policies = self.policies.read_columns if self.policies else set()
        return {name for name in names if name} | policies


def load_columns(path: Path) -> AgreementColumns:
    """Read and validate a column map."""
    return column_map.load_column_map(path, AgreementColumns, example=EXAMPLE)


def listed(columns: Columns | None) -> tuple[str, ...]:
    """One column or several, as a tuple."""
    return (columns,) if isinstance(columns, str) else columns or ()
