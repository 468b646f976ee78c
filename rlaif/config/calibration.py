"""Options of people's labels: a file of them or how many to ask for, of whom, and how much a person's choice counts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from rlaif.config.base import Config, refuse_idle

CombinePeople = Literal["mean", "dawid_skene"]
"""How several people's choices on a pair make one label."""


def _refuse_repeated(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f'"{twice[0]}" stands there twice: name everybody once')
    return names


Annotator = Annotated[str, Field(pattern=r"^\w[\w.-]{0,39}$")]


class HumanConfig(Config):
    """People's labels. They calibrate the judge's labels, and replace them on pairs that have both."""

    num_items: int = Field(0, ge=0, le=100_000)
    """Pairs of each round that people are asked about. Once its pairs are judged, a run draws so many, writes a sheet
    and waits, with exit code 4, until everybody in `annotators` has answered. 0: none. 60 tell roughly how far the
    judge can be trusted, 100 to 300 calibrate it."""
    annotators: Annotated[tuple[Annotator, ...], AfterValidator(_refuse_repeated)] = ()
    """Who must have answered every drawn pair before the run continues: the names that they give by
    `rlaif spot-check label SHEET --as NAME`. Letters, digits, `.`, `_` and `-`. The answers of nobody else count."""
    principle: tuple[str, ...] = ()
    """With num_items: ids of principles; each drawn item is about one of them. Such labels calibrate the judge and make
    no rows to train on. Empty: about the replies as a whole."""
    focus: bool = False
    """With num_items: draw pairs more often on which the judge is unsure, flips with the order or differs from another
    judge. Every figure counts a label 1 / its probability."""
    max_ratio: float = Field(3.0, ge=1, le=100)
    """With focus: the largest probability over the smallest. Above 3 intervals widen."""
    guideline: str | None = None
    """With num_items: file with the text that says how to decide, shown beside every item. null: it is made of the
    principles."""
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
    """How much a pair that people labelled counts in the reward model's training; a pair of the judge's counts 1.
    `reward_model.human_weight` can choose it instead."""

    combine: CombinePeople = "mean"
    """How several people's choices on a pair make its label. mean: their mean. dawid_skene: the probability that the
    first is right, by how often each person errs (Dawid and Skene 1979); wants three people or more, and about 100
    labels of each."""

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if self.columns is not None and self.path is None:
            raise ValueError("a column map is given and no labels: name them by --human-labels or human.path")
        if self.split is not None and self.path is None:
            raise ValueError("a split is given and no labels: name them by --human-labels or human.path")
        if self.calibration is not None and self.path is not None:
            raise ValueError(
                "give either labels (path), which a calibration is fitted to, or a calibration that is fitted already"
            )
        return self

    @model_validator(mode="after")
    def _people_are_named(self) -> Self:
        if self.num_items == 0:
            return self
        if not self.annotators:
            raise ValueError(
                f"{self.num_items} pairs are to be labelled and nobody is named: write who, such as annotators: [ann]"
            )
        if self.path is not None or self.calibration is not None:
            raise ValueError(
                "give either num_items, for which people are asked about this run's pairs, or "
                f"{'labels (path)' if self.path is not None else 'a calibration'} from elsewhere"
            )
        return self

    @model_validator(mode="after")
    def _draw_options_are_of_a_draw(self, info: ValidationInfo) -> Self:
        if self.num_items == 0:
            names = {"annotators": ((),), "principle": ((),), "focus": (False,), "guideline": (None,)}
            refuse_idle(self, names, when="while num_items is 0", info=info)
        if not self.focus:
            refuse_idle(self, {"max_ratio": ()}, when="without focus", info=info)
        return self

    @property
    def is_used(self) -> bool:
        """Whether people's labels have a part in the preferences, now or through a calibration."""
        return self.num_items > 0 or self.path is not None or self.calibration is not None
