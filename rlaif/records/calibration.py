"""How people and the judge agree, and the map that their labels put on the judge's labels.

Values and a record; computes nothing (`rlaif.calibration` does).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rlaif.records.base import Record, Value
from rlaif.records.cards import Estimate

MapKind = Literal["identity", "temperature", "temperature_length"]
TIE_BAND = 0.01
"""Beside somebody's ties a label this near to one half counts as a tie: log-probabilities are next to never exactly
even, and would otherwise agree with no tie."""


class Agreement(Value):
    """Two series of choices about the same items. Kappa depends on the base rates; read all four together."""

    n: int
    """Items that both chose on."""
    share: Estimate
    """Share of items with the same choice."""
    kappa: Estimate | None
    """Cohen's kappa; None where it is not defined (one choice only)."""
    ac1: Estimate | None
    """Gwet's AC1, which does not collapse when one choice is rare."""
    base_rates: dict[str, float]
    """Share of each choice in the first series, the people's."""


class CalibrationMap(Value):
    """p(first is preferred) = sigmoid(slope * judge's logit + length * difference of lengths); no intercept.

    Without an intercept swapping the responses swaps the label.
    """

    kind: MapKind = "identity"
    slope: float = 1.0
    """1 / temperature."""
    length: float = 0.0
    """Logits per standard deviation of length, for the longer response."""
    length_sd: float = Field(1.0, gt=0)
    """Words; the difference of lengths is divided by it."""
    length_limit: float = Field(2.0, gt=0)
    """Standard deviations beyond which length counts no further."""


class CalibrationCard(Record):
    """What a run's human labels said of its judge, and what was done with them."""

    table: ClassVar[str] = "calibrations"
    left_out_when_empty: ClassVar[tuple[str, ...]] = ("num_tied", "before_decided", "after_decided", "effective_n")
    judge_id: str | None
    """Whose labels it maps: a judge's, or a panel's. Another judge in the panel, or another weight, is another id."""
    constitution_id: str
    labels_digest: str
    """sha256 of the label file."""
    num_labels: int
    num_annotators: int
    simulated: bool
    """True when no person gave the labels; said wherever they appear."""
    before: Agreement
    """The judge's labels as they were, against people's."""
    after: Agreement
    """The calibrated labels against people's, each item mapped by a fit that did not see its prompt."""
    between_people: Agreement | None
    """Two annotators on the same items; None where no item has two."""
    num_tied: int = 0
    """Items that most people called a tie; the judge's label counts as one near one half only."""
    before_decided: Estimate | None = None
    """`before` on the other items alone; None where there are no ties."""
    after_decided: Estimate | None = None
    effective_n: float | None = None
    """Kish's size: so many items drawn alike would tell as much. None where every item counts alike: all were drawn
    with one inclusion probability, or none is known and the agreement describes the labelled items alone."""
    map: CalibrationMap
    log_loss: dict[MapKind, float]
    """Cross-validated mean log loss of each candidate map, in nats."""
    human_weight: float
    """How much a human row counts beside a judge's row in the reward model's training."""
