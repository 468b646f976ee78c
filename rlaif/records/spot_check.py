"""Which pairs were drawn for people to label, how, and with what probability. It is for the owner of the run alone.

What an annotator sees of a draw is its sheet, `rlaif.calibration.sheet`. Draws nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rlaif.records.base import Observed, Record, Value

Design = Literal["even", "focus", "queue"]
"""even: every pair has one probability. focus: pairs on which the judge may well be wrong are drawn more often. queue:
the same for the pairs of a queue, and a third of the items from all pairs alike."""


class DrawnItem(Value):
    """A pair under one principle, or as a whole, that was drawn."""

    item_id: str
    """Its name on the sheet, which says nothing of the samples."""
    prompt_id: str
    sample_ids: tuple[str, str]
    """The samples that the sheet calls a and b."""
    principle_id: str
    stratum: str
    inclusion_probability: float
    """Probability with which this draw takes the item."""
    p_judge: float
    """The judge's label at the draw: its probability that a is better."""


class SpotCheck(Record):
    """One draw: one sheet, and what stands behind each of its items."""

    table: ClassVar[str] = "spot_checks"
    left_out_when_empty: ClassVar[tuple[str, ...]] = ("is_evaluation", "drawn_from", "queue")
    sheet_id: str
    runs: tuple[str, ...]
    design: Design
    max_ratio: float
    """Bound on the largest probability over the smallest."""
    seed: int
    guideline_digest: str
    """Digest of the text that annotators read; the ledger keeps the text."""
    frame_digest: str
    """sha256 of all items that could be drawn, with the judge's label of each."""
    num_frame: int
    """Items that could be drawn: those of the runs without those of earlier draws."""
    items: tuple[DrawnItem, ...]
    """In the order of the sheet."""
    is_evaluation: bool = False
    """The items are of an evaluation, trained policy against start. Nothing is ever trained on their labels."""
    drawn_from: tuple[str, ...] = ()
    """The judged rounds whose pairs could be drawn, as run/number; empty where it is not known."""
    queue: str = ""
    """The queue whose pairs were drawn more often; empty where there was none."""
    observed: Observed = Observed()

    @property
    def stage(self) -> str:
        """The stage of a run's uses under which this draw and the labels that count of it stand."""
        return f"spot_check_{self.sheet_id[:12]}"
