"""Options of people's labels: the file, its columns, and how much a person's choice weighs."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rlaif.config.base import Config


class HumanLabelsConfig(Config):
    """People's labels, which calibrate the judge's and stand in their place where a pair has both."""

    path: str | None = None
    """Labels as JSONL, CSV or Parquet, or a preference set (`prompt, chosen, rejected`) as a file, folder or hub id."""
    split: str | None = None
    """Split of a preference set in `path`, such as `train_prefs`, or `SUBSET/SPLIT`; several are joined by `+`. null:
    its `train` and `test` splits, all of whose rows are people's."""
    columns: str | None = None
    """YAML file that maps the columns of the labels; null: they have our own names, see examples/human-labels."""
    weight: float = Field(5.0, gt=0, le=1e6)
    """How much a pair that people labelled counts in the reward model's training; the judge's pairs count 1 each."""

    @model_validator(mode="after")
    def _a_map_is_of_a_file(self) -> Self:
        if self.columns is not None and self.path is None:
            raise ValueError("a column map is given and no labels: name them by --human-labels or human_labels.path")
        if self.split is not None and self.path is None:
            raise ValueError("a split is given and no labels: name them by --human-labels or human_labels.path")
        return self
