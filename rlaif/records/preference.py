"""Preferences: what training reads. `chosen` and `rejected` exist only at export.

Does not decide preferences; `rlaif.preferences.pairing` does.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rlaif.records.base import Record, Value


class CountedAs(Value):
    """What one comparison counted as in a label."""

    p_first: float = Field(ge=0, le=1)
    logit: float | None
    """None where it counted as a probability."""
    why: Literal["", "orders_disagree", "not_drawn", "not_dominant"] = ""
    """orders_disagree: so it counted as a tie. The others: it did not count."""

    @property
    def is_used(self) -> bool:
        return self.why in ("", "orders_disagree")


class LabelMaking(Value):
    """How a label was made, where options say another way than the weighted mean of the comparisons' logits."""

    options: dict[str, float | int | str | None]
    """Those of `preferences` that are not at their defaults."""
    counted: tuple[CountedAs, ...]
    """A preference's evidence, in its order; empty where each comparison counts as what it says."""
    combined: float = Field(ge=0, le=1)
    """Over principles and judges; before calibration and everything below. Of a ranking: what follows from it."""
    calibrated: float | None = None
    """None where nothing was calibrated, and of a ranking, whose pairs were calibrated before it was made."""
    turned: bool = False
    """Turned round by `preferences.label_noise`."""


class Preference(Record):
    table: ClassVar[str] = "preferences"
    left_out_when_empty: ClassVar[tuple[str, ...]] = ("shares", "making")
    kind: Literal["pair", "choice", "ranking", "rating", "thumb"] = "pair"
    prompt_id: str
    sample_ids: tuple[str, ...]
    """Canonical order."""
    label: float = Field(ge=0, le=1)
    """For a pair: probability that the first sample is preferred; of a choice the largest of `shares`."""
    shares: tuple[float, ...] = ()
    """Of a choice: probability of each sample that it is the best. Empty for all others."""
    weight: float = Field(1.0, ge=0)
    source: Literal["judge", "human"] = "judge"
    evidence_ids: tuple[str, ...]
    """The comparisons or human labels it came from."""
    calibration_id: str | None = None
    """The calibration whose map the judge's label went through; None: the label is as the judge gave it."""
    judge_id: str | None = None
    """The `Model` record's id, or that of the `Panel` where several judges decided together."""
    making: LabelMaking | None = None
    """None: as the options' defaults say, or as people said."""
    constitution_id: str | None = None
    round: int = 0
