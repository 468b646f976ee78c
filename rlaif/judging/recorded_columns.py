"""The column map, `--columns FILE.yaml`: which columns of recorded samples and verdicts hold what.

A closed schema; every refusal names the file, the line and the key. Does not read the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlaif.config import column_map
from rlaif.config.base import Config
from rlaif.config.column_map import Columns, PolicyNames, Scalars, VerdictValues, refuse_common

_EXAMPLE = "examples/recorded-verdicts"


class OrderColumn(Config):
    """How a column says which response was shown first."""

    column: str
    """Column of the verdicts file that names the order."""
    listed: Annotated[Scalars, Field(min_length=1)]
    """Values that mean: shown in the order of `responses`."""
    swapped: Annotated[Scalars, Field(min_length=1)]
    """Values that mean: shown in the reverse order."""
    verdict_names: Literal["place", "response"]
    """What "first" in the verdict column means: shown in the first place, or the first of `responses`."""

    @model_validator(mode="after")
    def _is_readable_one_way(self) -> Self:
        refuse_common("order", listed=self.listed, swapped=self.swapped)
        return self


class LogprobColumns(Config):
    """Columns of the verdicts file with the log-probability of each verdict."""

    first: str
    """Log-probability of preferring the first response."""
    second: str
    """Log-probability of preferring the second response."""
    tie: str | None = None
    """Log-probability of a tie."""


class ColumnMap(Config):
    """Which columns hold the parts of recorded samples and verdicts."""

    key: str | None = None
    """Column that joins the two files; not needed where samples and verdicts are one file."""
    judgement_key: str | None = None
    """Name of the key column in the verdicts file, where it differs."""
    prompt: Columns
    """Column of the prompt (text or chat messages), or text columns to be joined by a blank line."""
    system: str | None = None
    """Column of the system text."""
    responses: tuple[str, str]
    """The two columns of the responses, in the order in which they were shown."""
    policies: PolicyNames | None = None
    """Who wrote the responses."""
    judge: Annotated[str, Field(min_length=1)]
    """Name of the judge."""
    principle: str = "overall"
    """Id of the principle that was judged."""
    principle_text: str | None = None
    """Text of that principle, where it is known and no constitution is given."""
    verdict: str
    """Column of the verdict."""
    verdict_values: VerdictValues
    """What the verdict column says for each verdict."""
    verdict_marker: str | None = Field(None, pattern=r"\S")
    """Text after which a judge's whole reply names the verdict, such as "Verdict:", where the column holds replies."""
    reason: str | None = None
    """Column of the judge's reason."""
    reply: str | None = None
    """Column of the judge's whole reply."""
    order: OrderColumn | None = None
    """Which response was shown first; without it, the first of `responses`."""
    logprobs: LogprobColumns | None = None
    """Log-probabilities of the verdicts, where they were recorded."""

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt

    @property
    def sample_columns(self) -> set[str]:
        """All columns read from the samples file."""
        named = self.policies and self.policies.read_columns
        return {name for name in (self.key, self.system, *self.prompt_columns, *self.responses, *(named or ())) if name}

    @property
    def judgement_columns(self) -> set[str]:
        """All columns read from the verdicts file."""
        logprobs = self.logprobs and (self.logprobs.first, self.logprobs.second, self.logprobs.tie)
        order = self.order and self.order.column
        names = (
            self.judgement_key or self.key,
            self.verdict,
            self.reason,
            self.reply,
            order,
            *(logprobs or ()),
        )
        return {name for name in names if name}


def load_column_map(path: Path) -> ColumnMap:
    """Read and validate a column map."""
    return column_map.load_column_map(path, ColumnMap, example=_EXAMPLE)


def parse_column_map(text: str, *, where: str) -> ColumnMap:
    """Validate the text of a column map; `where` names the file in messages."""
    return column_map.parse_column_map(text, ColumnMap, where=where, example=_EXAMPLE)
