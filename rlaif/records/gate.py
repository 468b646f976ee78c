"""A gate between two stages of a round, and the figure that was compared with its limit. A value, not a row."""

from __future__ import annotations

from rlaif.records.base import Value


class GateResult(Value):
    """What a gate said."""

    name: str
    """Its option."""
    stage: str
    """The stage after whose work it stands, as people read it."""
    sentence: str
    """The figure beside the limit."""
    is_closed: bool
    """Whether it stops the run."""
