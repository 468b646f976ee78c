"""What a person says of a decision of the judge. A later word of the same author is a record of its own.

Changes no label: people's labels do, and are drawn blind.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rlaif.records.base import Observed, Record

Says = Literal["right", "wrong", "unclear"]
DisputeReason = Literal["ignored", "backwards", "length", "style", "injection", "fact", "other"]


class Dispute(Record):
    """Whether a judge decided a pair rightly, in the eyes of somebody who saw all that is known of it."""

    table: ClassVar[str] = "disputes"
    text_fields: ClassVar[tuple[str, ...]] = ("note",)
    comparison_id: str
    author: str
    says: Says
    """Of the judge's decision."""
    reason: DisputeReason | None = None
    """ignored, backwards: the principle was. length, style: it counted, and no principle names it. injection: a reply
    spoke to the judge. fact: a statement was taken for true, or for false."""
    seen_seq: int
    """Rows of the chain that the author's page was made from."""
    seen_head: str
    """The chain's head after that row."""
    note: str | None = None
    observed: Observed = Observed()
