"""Preferences: what training reads. `chosen` and `rejected` exist only at export.

Does not decide preferences; `rlaif.preferences.pairing` does.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rlaif.records.base import Record, Value


class CountedAs(Value):
    """How one comparison counted in a label."""

    p_first: float = Field(ge=0, le=1)
    logit: float | None
    """None where it counted as a probability."""
    why: Literal["", "orders_disagree", "not_drawn", "not_dominant"] = ""
    """orders_disagree: the comparison counted as a tie. not_drawn, not_dominant: it did not count. Empty: it counted as
    it is."""

    @property
    def is_used(self) -> bool:
        return self.why in ("", "orders_disagree")


class LabelMaking(Value):
    """How a label was made, where options ask for more than the weighted mean of the comparisons' logits."""

    options: dict[str, float | int | str | None]
    """Options of `preferences` that are not at their defaults."""
    counted: tuple[CountedAs, ...]
    """How each comparison counted, in the order of the preference's evidence; empty where each counted as it is."""
    combined: float = Field(ge=0, le=1)
    """Label over all principles and judges, before calibration and the steps below. For a ranking: the label that
    follows from it."""
    calibrated: float | None = None
    """Label after calibration. None where nothing was calibrated, and for a ranking, whose pairs were calibrated before
    it was made."""
    turned: bool = False
    """True where `preferences.label_noise` inverted the label."""


class Preference(Record):
    table: ClassVar[str] = "preferences"
    left_out_when_empty: ClassVar[tuple[str, ...]] = ("shares", "making")
    kind: Literal["pair", "choice", "ranking", "rating", "thumb"] = "pair"
    prompt_id: str
    sample_ids: tuple[str, ...]
    """Samples in canonical order."""
    label: float = Field(ge=0, le=1)
    """For a pair: probability that the first sample is preferred. For a choice: the largest of `shares`."""
    shares: tuple[float, ...] = ()
    """For a choice: each sample's probability of being the best. Empty for all other kinds."""
    weight: float = Field(1.0, ge=0)
    source: Literal["judge", "human"] = "judge"
    evidence_ids: tuple[str, ...]
    """The comparisons or human labels it came from."""
    calibration_id: str | None = None
    """Calibration that mapped the judge's label; None: the label is as the judge gave it."""
    judge_id: str | None = None
    """The `Model` record's id, or that of the `Panel` where several judges decided together."""
    making: LabelMaking | None = None
    """How the label was made; None: by the options' defaults, or by people."""
    constitution_id: str | None = None
    round: int = 0
