"""A preference as a reward model reads it: one of two texts, the best or the order of several, a rating, a thumb.

A row of a preference folder, exported or a user's own. A value, not a row of the ledger.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from rlaif.records.base import Value
from rlaif.records.prompt import Prompt

Source = Literal["judge", "human"]


class PreferenceRow(Value):
    prompt: Prompt
    chosen: str
    rejected: str
    label: float = Field(1.0, ge=0, le=1)
    """Probability that `chosen` is preferred; one half is a tie, 1 a hard label."""
    weight: float = Field(1.0, ge=0)
    """How much the row counts in the loss."""
    source: Source | None = None
    """Who preferred; None where the data do not say."""

    def as_pairs(self) -> tuple[PreferenceRow, ...]:
        return (self,)


class ChoiceRow(Value):
    """The best of several responses."""

    prompt: Prompt
    responses: tuple[str, ...] = Field(min_length=2)
    shares: tuple[float, ...]
    """Each response's probability of being the best; a hard choice has one 1 and otherwise 0."""
    weight: float = Field(1.0, ge=0)
    """How much the row counts in the loss."""
    source: Source | None = None
    """Who chose; None where the data do not say."""

    @model_validator(mode="after")
    def _shares_are_probabilities(self) -> Self:
        if len(self.shares) != len(self.responses) or any(share < 0 for share in self.shares):
            raise ValueError("a choice has a share of at least 0 for each response")
        if abs(math.fsum(self.shares) - 1) > 1e-6:
            raise ValueError("the shares of a choice sum to 1")
        return self

    def as_pairs(self) -> tuple[PreferenceRow, ...]:
        """The best response with each other one, by Luce's choice axiom: p(best beats i) = s_best / (s_best + s_i)."""
        best = self.shares.index(max(self.shares))
        return tuple(
            PreferenceRow(
                prompt=self.prompt, chosen=self.responses[best], rejected=response,
                label=self.shares[best] / (self.shares[best] + share), weight=self.weight, source=self.source,
            )
            for place, (response, share) in enumerate(zip(self.responses, self.shares, strict=True))
            if place != best
        )  # fmt: skip


class RankingRow(Value):
    """Several responses in the order of a whole ranking."""

    prompt: Prompt
    responses: tuple[str, ...] = Field(min_length=2)
    """Best first."""
    weight: float = Field(1.0, ge=0)
    """How much each of the ranking's choices counts in the loss: a ranking of K has K - 1 of them."""
    source: Source | None = None
    """Who ranked; None where the data do not say."""

    def as_pairs(self) -> tuple[PreferenceRow, ...]:
        """Every two responses, the better one chosen."""
        return tuple(
            PreferenceRow(prompt=self.prompt, chosen=better, rejected=worse, weight=self.weight, source=self.source)
            for place, better in enumerate(self.responses)
            for worse in self.responses[place + 1 :]
        )


class RatedRow(Value):
    """A person's rating of one response, or a thumb up or down."""

    prompt: Prompt
    response: str
    kind: Literal["rating", "thumb"]
    value: float
    """A rating in the person's own units; of a thumb the probability that it is up, 1 or 0 from one person."""
    annotator: str = ""
    """Who rated: ratings of different people are brought to one scale."""
    weight: float = Field(1.0, ge=0)
    """How much the row counts in the loss."""
    source: Source | None = "human"

    @model_validator(mode="after")
    def _a_thumb_is_a_probability(self) -> Self:
        if self.kind == "thumb" and not 0 <= self.value <= 1:
            raise ValueError("a thumb is 1 for up, 0 for down, or a probability")
        return self

    def as_pairs(self) -> tuple[PreferenceRow, ...]:
        """None: one response is no pair."""
        return ()


TrainingRow = PreferenceRow | ChoiceRow | RankingRow | RatedRow
