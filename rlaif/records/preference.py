"""Preferences: what training reads. `chosen` and `rejected` exist only at export.

Does not decide preferences; `rlaif.preferences.pairing` does.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rlaif.records.base import Record


class Preference(Record):
    table: ClassVar[str] = "preferences"
    kind: Literal["pair", "choice", "ranking", "rating", "thumb"] = "pair"
    prompt_id: str
    sample_ids: tuple[str, ...]
    """Canonical order."""
    label: float = Field(ge=0, le=1)
    """For a pair: probability that the first sample is preferred."""
    weight: float = Field(1.0, ge=0)
    source: Literal["judge", "human"] = "judge"
    evidence_ids: tuple[str, ...]
    """The comparisons or human labels it came from."""
    calibration_id: str | None = None
    """The calibration whose map the judge's label went through; None: the label is as the judge gave it."""
    judge_id: str | None = None
    """The `Model` record's id, or that of the `Panel` where several judges decided together."""
    constitution_id: str | None = None
    round: int = 0
