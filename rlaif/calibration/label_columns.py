"""`--label-columns FILE.yaml` -> which columns of a file of people's labels hold what.

Without a map the columns have the names of `own_columns`. Does not read the data.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from rlaif.config import column_map
from rlaif.config.base import Config
from rlaif.config.column_map import Columns, VerdictValues
from rlaif.files.row import missing_column

EXAMPLE = "examples/human-labels"
OWN_IDS = ("first_id", "second_id")
OWN_TEXTS = ("first", "second")


class LabelColumns(Config):
    """The columns of people's labels."""

    sample_ids: tuple[str, str] | None = None
    """The two columns of the samples' ids, in the order in which they were shown."""
    prompt_id: str | None = None
    """Column of the prompt's id, beside `sample_ids`; it is compared with the prompt of the samples."""
    prompt: Columns | None = None
    """Column of the prompt (text or chat messages), or text columns to be joined by a blank line."""
    system: str | None = None
    """Column of the system text, beside `prompt`."""
    responses: tuple[str, str] | None = None
    """The two columns of the responses, in the order in which they were shown, beside `prompt`."""
    choice: str | None = None
    """Column of the choice, where each row is one person's."""
    annotator: str | None = None
    """Column that names the person, beside `choice`; without it all labels are one unnamed person's."""
    annotators: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of choices, one for each person, where each row is one pair."""
    choice_values: VerdictValues = VerdictValues(first=("first",), second=("second",), tie=("tie",))
    """What the choices say for first, second and tie."""
    principle: str = "overall"
    """Id of the principle under which all labels were given; `overall`: they are about the pair as a whole."""
    principle_column: str | None = None
    """Column of the principle's id, where labels were given under several principles."""
    inclusion_probability: str | None = None
    """Column of the probability with which the pair was drawn to be labelled."""
    simulated: str | None = None
    """Column that says `true` of a label that no person gave."""
    seconds: str | None = None
    """Column of the time that the person took."""
    note: str | None = None
    """Column of the person's note."""

    @model_validator(mode="after")
    def _names_the_pair_and_the_choice(self) -> Self:
        if (self.sample_ids is None) == (self.responses is None):
            raise ValueError("give either sample_ids, or prompt and responses")
        if (self.prompt is None) != (self.responses is None):
            raise ValueError("prompt and responses belong together")
        if self.system is not None and self.prompt is None:
            raise ValueError("system belongs to prompt and responses")
        if self.prompt_id is not None and self.sample_ids is None:
            raise ValueError("prompt_id belongs to sample_ids")
        if (self.choice is None) == (self.annotators is None):
            raise ValueError("give either choice, with annotator where a column names the person, or annotators")
        if self.annotator is not None and self.choice is None:
            raise ValueError("annotator belongs to choice")
        if self.annotators and len(set(self.annotators)) < len(self.annotators):
            raise ValueError("a column stands twice in annotators")
        return self

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt or ()

    @property
    def read_columns(self) -> set[str]:
        """All columns that are read."""
        named = (
            *(self.sample_ids or ()),
            self.prompt_id,
            *self.prompt_columns,
            self.system,
            *(self.responses or ()),
            self.choice,
            self.annotator,
            *(self.annotators or ()),
            self.principle_column,
            self.inclusion_probability,
            self.simulated,
            self.seconds,
            self.note,
        )
        return {name for name in named if name}


def load_label_columns(path: Path) -> LabelColumns:
    """Read and validate a column map."""
    return column_map.load_column_map(path, LabelColumns, example=EXAMPLE)


def own_columns(there: Collection[str], *, where: str) -> LabelColumns:
    """The map of a file whose columns have these names; columns that are not there are left out, if they may be."""
    by_text = "prompt" in there and not set(OWN_IDS) & set(there)
    for needed in (*(OWN_TEXTS if by_text else OWN_IDS), "choice"):
        if needed not in there:
            raise missing_column(
                needed, columns=there, where=where,
                way_out=f"rename a column, or map them by a YAML file as in {EXAMPLE} (--label-columns)",
            )  # fmt: skip

    def name(column: str) -> str | None:
        return column if column in there else None

    return LabelColumns(
        sample_ids=None if by_text else OWN_IDS,
        prompt_id=None if by_text else name("prompt_id"),
        prompt="prompt" if by_text else None,
        responses=OWN_TEXTS if by_text else None,
        choice="choice",
        annotator=name("annotator"),
        principle_column=name("principle"),
        inclusion_probability=name("inclusion_probability"),
        simulated=name("simulated"),
        seconds=name("seconds"),
        note=name("note"),
    )
