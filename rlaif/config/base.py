"""What every part of the configuration shares: closed, typed, documented at the field, bounded.

The docstring under a field is its help text. Does not read files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationInfo

STORED: Mapping[str, bool] = {"stored": True}
"""Validation context of a run's stored configuration: values that were accepted once are accepted again."""
TYPED: Mapping[str, bool] = {"typed": True}
"""Validation context of options that a user gives: those that would do nothing are refused."""

MAX_TEXT = 4096
"""Longest text of an option, in characters; no system allows longer paths."""


class Config(BaseModel):
    """A part of the configuration; unknown keys are refused, a field's docstring is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, str_max_length=MAX_TEXT
    )


def refuse_idle(
    config: Config, names: Mapping[str, tuple[Any, ...]], *, when: str, info: ValidationInfo, prefix: str = ""
) -> None:
    """Raise ValueError where a user gave an option that another option makes useless; `when` names the other one.

    names: the options, each with the values that are accepted beside its default because they mean "off".
    """
    if not (info.context or {}).get("typed"):
        return
    for name, off in names.items():
        value = getattr(config, name)
        if value != type(config).model_fields[name].get_default(call_default_factory=True) and value not in off:
            raise ValueError(f"{prefix}{name} does nothing {when}: leave it out")


class Follows(NamedTuple):
    """Marks an option whose value is chosen to suit a model of the run where it is null or not given; see resolve.py.

    The default in the option's class suits a language model of ordinary size, all of whose weights are trained.
    """

    model: Literal["policy", "judge"]


RESOLVED = "resolved"
"""Key of a run's config.json for the options that follow a model and their chosen values, which "config" holds too."""
FOLLOWS_POLICY = Follows("policy")
FOLLOWS_JUDGE = Follows("judge")
