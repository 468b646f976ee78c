"""What every part of the configuration shares: closed, typed, documented at the field, bounded.

The docstring under a field is its help text. Does not read files.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

MAX_TEXT = 4096
"""Longest text of an option in characters; no path of a system is longer."""


class Config(BaseModel):
    """A part of the configuration; unknown keys are refused, a field's docstring is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, str_max_length=MAX_TEXT
    )


class Follows(NamedTuple):
    """Marks an option that follows a model of the run where it is null or not given; see resolve.py.

    The default in its class is what suits a language model of ordinary size, all of whose weights are trained.
    """

    model: Literal["policy", "judge"]


RESOLVED = "resolved"
"""Key of a run's config.json: its options that follow a model and what they came to, which "config" holds as well."""
FOLLOWS_POLICY = Follows("policy")
FOLLOWS_JUDGE = Follows("judge")
