"""What every part of the configuration shares: closed, typed, documented at the field.

The docstring under a field is its help text. Does not read files.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A part of the configuration; unknown keys are refused, a field's docstring is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
