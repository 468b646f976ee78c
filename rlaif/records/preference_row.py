"""A preference as a reward model reads it: the texts themselves, chosen before rejected.

What a row of an exported (or a user's own) preference folder says. A value, not a row of the ledger.
"""

from __future__ import annotations

from pydantic import Field

from rlaif.records.base import Value
from rlaif.records.prompt import Prompt


class PreferenceRow(Value):
    prompt: Prompt
    chosen: str
    rejected: str
    label: float = Field(1.0, ge=0, le=1)
    """Probability that `chosen` is preferred; one half is a tie, 1 a hard label."""
    weight: float = Field(1.0, ge=0)
    """How much the row counts in the loss."""
