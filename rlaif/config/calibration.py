"""Options of people's labels: the file, its columns, and how much a person's choice counts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

CombinePeople = Literal["mean", "dawid_skene"]
"""How several people's choices on a pair make one label."""


class HumanLabelsConfig(Config):
    """People's labels. They calibrate the judge's labels, and replace them on pairs that have both."""

    path: str | None = None
    """Labels as JSONL, CSV or Parquet, or a preference set (`prompt, chosen, rejected`) as a file, folder or hub id."""
    split: str | None = None
    """Split to read of a preference set in `path`, such as `train_prefs`, or `SUBSET/SPLIT`; join several by `+`. null:
    its `train` and `test` splits. Every row counts as a person's label."""
    columns: str | None = None
    """YAML file that says which column of the labels holds what; null: the columns have rlaif's own names, see
    examples/human-labels."""
    calibration: str | None = None
    """File that `rlaif calibrate` wrote: its calibration maps the judge's labels, and no labels are read. It is refused
    where judge, template or constitution is another than it was fitted to."""
    weight: float = Field(5.0, gt=0, le=1e6)
    """How much a pair that people labelled counts in the reward model's training; a pair of the judge's counts 1."""

    combine: CombinePeople = "mean"
    """How several people's choices on a pair make its label. mean: their mean. dawid_skene: the probability that the
    first is right, by how often each person errs (Dawid and Skene 1979); wants three people or more, and about 100
    labels of each."""

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if self.columns is not None and self.path is None:
            raise ValueError("a column map is given and no labels: name them by --human-labels or human_labels.path")
        if self.split is not None and self.path is None:
            raise ValueError("a split is given and no labels: name them by --human-labels or human_labels.path")
        if self.calibration is not None and self.path is not None:
            raise ValueError(
                "give either labels (path), which a calibration is fitted to, or a calibration that is fitted already"
            )
        return self

    @property
    def is_used(self) -> bool:
        """Whether people's labels have a part in the preferences, now or through a calibration."""
        return self.path is not None or self.calibration is not None
