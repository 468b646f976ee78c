"""How people and the judge agree, and the map that their labels put on the judge's labels.

Values and a record; computes nothing (`rlaif.calibration` does).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rlaif.records.base import Record, Value
from rlaif.records.cards import Estimate

MapKind = Literal["identity", "temperature", "temperature_length", "panel", "pooled"]
"""identity: the labels as they are. temperature: one slope. temperature_length: and a weight of length. panel: a slope
for each judge of a panel. pooled: slope and length for each principle, drawn towards their means."""
TIE_BAND = 0.01
"""Where people's labels have ties, a judge's label this near to one half counts as a tie. Log-probabilities are almost
never exactly even, so the judge would otherwise agree with no tie."""


class Agreement(Value):
    """How far two series of choices about the same items agree. Kappa depends on the base rates, so read all four
    numbers together."""

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


def _is_empty(value: Any) -> bool:
    """A part that is left out of the content, so that maps keep the content that they had before there were parts."""
    return not value


class PartMap(Value):
    """The slope, and the weight of length, of one principle or of one judge of a panel."""

    name: str
    """The principle's id, or the judge's."""
    slope: float
    length: float = 0.0


class CalibrationMap(Value):
    """p(first is preferred) = sigmoid(slope * judge's logit + length * difference of lengths); no intercept.

    Because there is no intercept, swapping the responses swaps the label.
    """

    kind: MapKind = "identity"
    slope: float = 1.0
    """1 / temperature."""
    length: float = 0.0
    """Logits added for the longer response, per standard deviation of the difference in length."""
    length_sd: float = Field(1.0, gt=0)
    """Standard deviation, in words, by which the difference in length is divided."""
    length_limit: float = Field(2.0, gt=0)
    """Largest difference in length that counts, in standard deviations; a larger one counts as this."""
    by_principle: tuple[PartMap, ...] = Field((), exclude_if=_is_empty)
    """Of the kind `pooled`: what each labelled principle has in place of `slope` and `length`, which others have."""
    by_judge: tuple[PartMap, ...] = Field((), exclude_if=_is_empty)
    """Of the kind `panel`: the slope that each judge has in place of `slope`."""


class TransportCheck(Value):
    """Whether the calibration by the labels of earlier rounds still held for the fresh labels of a round."""

    outcome: Literal["holds", "does not hold", "undecided"]
    residual: Estimate
    """How much more often people take the calibrated judge's side of a pair than it predicts; 0.1 is 10 points."""
    num_pairs: int
    """Pairs of the round that people labelled and the judge compared."""


class CalibrationCard(Record):
    """What a run's human labels said of its judge, and what was done with them."""

    table: ClassVar[str] = "calibrations"
    left_out_when_empty: ClassVar[tuple[str, ...]] = (
        "num_tied",
        "before_decided",
        "after_decided",
        "effective_n",
        "transport",
    )
    judge_id: str | None
    """Id of the judge or panel whose labels are mapped. A panel with another judge or weight has another id."""
    constitution_id: str
    labels_digest: str
    """sha256 of the label file."""
    num_labels: int
    num_annotators: int
    simulated: bool
    """True when no person gave the labels; every page that shows them says so."""
    before: Agreement
    """Agreement of the judge's own labels with people's."""
    after: Agreement
    """Agreement of the calibrated labels with people's; each item is mapped by a fit that did not see its prompt."""
    between_people: Agreement | None
    """Agreement of two annotators on the same items; None where no item has two."""
    num_tied: int = 0
    """Items that most people called a tie. The judge's label counts as a tie only near one half."""
    before_decided: Estimate | None = None
    """Share of `before`, over the items that people did not call a tie; None where there are no ties, or only ties."""
    after_decided: Estimate | None = None
    """Share of agreement in `after`, over the same items."""
    effective_n: float | None = None
    """Kish's effective sample size: the number of items of equal weight that would tell as much. None where all items
    have equal weight: they were drawn with one inclusion probability, or none is known and the agreement describes the
    labelled items alone."""
    transport: TransportCheck | None = None
    """Of a round after the first whose pairs people labelled: the calibration of the rounds before on these labels."""
    map: CalibrationMap
    log_loss: dict[MapKind, float]
    """Cross-validated mean log loss of each candidate map, in nats."""
    human_weight: float
    """How much a human row counts beside a judge's row in the reward model's training."""
