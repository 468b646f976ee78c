"""What people said of a pair. Overrides are new records that point at the label they replace.

Does not draw spot checks and computes nothing from the labels.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from rlaif.records.base import Observed, Record
from rlaif.records.judgement import Verdict


class HumanLabel(Record):
    table: ClassVar[str] = "human_labels"
    text_fields: ClassVar[tuple[str, ...]] = ("note",)
    annotator: str
    prompt_id: str
    sample_ids: tuple[str, ...]
    """Samples in the order shown."""
    principle_id: str = "overall"
    guideline_digest: str = ""
    choice: Verdict
    seconds: float | None = None
    inclusion_probability: float | None = Field(None, gt=0, le=1)
    """Probability with which the item was drawn for labelling. None: it was not drawn at random, so agreement describes
    the labelled items only."""
    simulated: bool = False
    replaces: str | None = None
    """Id of the label that this one overrides; `note` then says why."""
    note: str | None = None
    observed: Observed = Observed()
