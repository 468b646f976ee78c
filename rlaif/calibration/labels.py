"""Files of people's labels -> labels that name their pair by sample ids or by its texts.

People's labels are few, so an unknown choice, a missing one or a label given twice is refused in a sentence and never
skipped. Does not know which samples there are and computes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.label_columns import OWN_TEXTS, LabelColumns, load_label_columns, own_columns
from rlaif.errors import DataError
from rlaif.files.messages import read_prompt_messages, read_response, read_sides
from rlaif.files.odd_rows import OddRows
from rlaif.files.row import Row, describe, joined_text, missing_column, scalar_text
from rlaif.files.rows import read_rows
from rlaif.records import (
    Constitution,
    HumanLabel,
    Message,
    PreferenceRow,
    Prompt,
    TrainingRow,
    TransportCheck,
    Verdict,
)
from rlaif.stats.logits import P_FIRST

OVERALL = "overall"
UNNAMED = "unnamed"
"""The annotator where no column names one."""
_CHOICE_OF_LABEL: Mapping[float, Verdict] = {p: choice for choice, p in P_FIRST.items()}


class Texts(NamedTuple):
    prompt: Prompt
    responses: tuple[str, str]
    """The two samples in the order in which they were shown."""


class LabelRow(NamedTuple):
    """One label as in its file: one person's choice on one pair, under one principle or as a whole."""

    where: str
    annotator: str
    principle_id: str
    choice: Verdict
    pair: tuple[str, str] | Texts
    """Sample ids in the order in which they were shown, or the texts."""
    prompt_id: str | None = None
    inclusion_probability: float | None = None
    simulated: bool = False
    seconds: float | None = None
    note: str | None = None


class Labels(NamedTuple):
    """All labels of a file."""

    path: str
    digest: str
    rows: list[LabelRow]
    brings_pairs: bool
    """True for a preference set, which has its own responses; other labels are about this run's samples alone."""
    num_identical: int = 0
    """Rows of a preference set whose two responses are one text, which is no choice."""
    taken_in: tuple[HumanLabel, ...] = ()
    """Labels that people gave to a sheet of this run. They name its samples already; `rows` is empty then."""
    transport: TransportCheck | None = None
    """How the calibration by the labels of earlier rounds did on the fresh ones among `taken_in`."""


def read_labels(path: Path, *, columns_path: Path | None, digest: str) -> Labels:
    """Read a file of labels, through a column map where one is given; `digest` is the file's."""
    columns = None if columns_path is None else load_label_columns(columns_path)
    rows = list(read_rows(path, wanted=None if columns is None else columns.read_columns))
    if not rows:
        raise DataError("the file has no labels", where=str(path), fix="write one label per line, or leave it out")
    there = list(dict.fromkeys(name for row in rows for name in row.columns))
    if columns is None:
        columns = own_columns(there, where=str(path))
    else:
        for name in sorted(columns.read_columns):
            if name not in there:
                raise missing_column(name, columns=there, where=f"{path}, by {columns_path}")
    labels = Labels(str(path), digest, labels_from_rows(rows, columns, where=str(path)), brings_pairs=False)
    refuse_unfit(labels)
    return labels


def is_preference_file(path: Path) -> bool:
    """Whether the first row has a chosen and a rejected response."""
    first = next(read_rows(path, wanted=()), None)
    return first is not None and {"chosen", "rejected"} <= set(first.columns)


def labels_from_preferences(rows: Sequence[TrainingRow], *, path: str, digest: str) -> Labels:
    """People's preferences as labels, each the choice of an unnamed person on the responses of its row."""
    found = []
    num_identical = 0
    for number, row in enumerate(rows, start=1):
        where = f"{path} row {number}"
        if not isinstance(row, PreferenceRow):
            raise DataError(
                "a choice or ranking of several responses, a rating or a thumb is no label of a pair",
                where=where,
                fix="give people's pairs: prompt, chosen and rejected",
            )
        choice = _CHOICE_OF_LABEL.get(row.label)
        if choice is None:
            raise DataError(
                f"the label {row.label:g} is no person's choice",
                where=where,
                fix="give 1, 0.5 or 0, or leave the column out; a judge's preferences are no human labels",
            )
        if row.chosen.strip() == row.rejected.strip():
            num_identical += 1
            continue
        found.append(
            LabelRow(
                where=where,
                annotator=UNNAMED,
                principle_id=OVERALL,
                choice=choice,
                pair=Texts(row.prompt, (row.chosen, row.rejected)),
            )
        )
    labels = Labels(path, digest, found, brings_pairs=True, num_identical=num_identical)
    refuse_unfit(labels)
    return labels


def labels_from_rows(rows: Sequence[Row], columns: LabelColumns, *, where: str) -> list[LabelRow]:
    """The labels of rows. Rows that cannot be read are reported together, and so are choices that the map lacks."""
    unknown: Counter[str] = Counter()
    first_unknown: list[str] = []

    def read(row: Row) -> list[LabelRow]:
        labels = []
        for annotator, column in _choice_columns(row, columns):
            value = row.cells.get(column)
            text = scalar_text(value)
            if not text and columns.annotators:
                continue  # this person was not asked about the pair
            if not text:
                raise DataError(
                    f'the choice is missing: "{column}" is empty', where=row.where, fix="give it, or remove the row"
                )
            choice = columns.choice_values.by_text.get(text)
            if choice is None:
                unknown[describe(value)] += 1
                first_unknown.append(row.where)
                continue
            labels.append(_read_label(row, columns, annotator=annotator, choice=choice))
        return labels

    labels = [label for found in OddRows(where=where).read(rows, read) for label in found]
    if unknown:
        seen = ", ".join(f"{value} ({count})" for value, count in unknown.most_common(3))
        named = ", ".join(columns.choice_values.by_text)
        raise DataError(
            f"{unknown.total()} of {unknown.total() + len(labels)} choices are none of {named}: {seen}",
            where=f"first at {first_unknown[0]}",
            fix="correct them, or name them under `choice_values` in a column map",
        )
    if not labels:
        raise DataError("there is no choice in it", where=where, fix="check the file and the columns of the choices")
    return labels


def refuse_unfit(labels: Labels) -> None:
    """Refuse what no single row can show: one label given twice, labels of several kinds, ties alone."""
    rows = labels.rows
    if not labels.brings_pairs:
        _refuse_doubled(rows)
    _refuse_two_probabilities(rows)
    if all(row.choice == "tie" for row in rows):
        raise DataError(
            f"each of the {len(rows)} labels is a tie, so they say nothing of which response is better",
            where=labels.path,
            fix="check `choice_values`, or label pairs that differ",
        )
    for what, is_so in (
        ("are simulated and the others are not", [row.simulated for row in rows]),
        (
            "have an inclusion probability and the others have none",
            [row.inclusion_probability is not None for row in rows],
        ),
    ):
        if any(is_so) and not all(is_so):
            raise DataError(
                f"{sum(is_so)} of {len(rows)} labels {what}",
                where=f"{labels.path}, first other at {rows[is_so.index(False)].where}",
                fix="give it for all labels or for none",
            )


def _refuse_doubled(rows: Sequence[LabelRow]) -> None:
    """Refuse two labels of one pair of ids by one person; texts may mean several pairs, which matching tells apart."""
    seen: dict[tuple[str, str, frozenset[str]], LabelRow] = {}
    for row in rows:
        if isinstance(row.pair, Texts):
            continue
        before = seen.setdefault((row.annotator, row.principle_id, frozenset(row.pair)), row)
        if before is not row:
            raise doubled(row, before)


def _refuse_two_probabilities(rows: Sequence[LabelRow]) -> None:
    """Refuse two probabilities of one pair under one principle: whoever labels the pair, it was drawn once."""
    seen: dict[tuple[str, str, frozenset[str]], LabelRow] = {}
    for row in rows:
        by_text = isinstance(row.pair, Texts)
        texts = row.pair.responses if isinstance(row.pair, Texts) else row.pair
        prompt = row.pair.prompt.id if isinstance(row.pair, Texts) else ""
        key = (row.principle_id, prompt, frozenset(text.strip() if by_text else text for text in texts))
        before = seen.setdefault(key, row)
        if before.inclusion_probability != row.inclusion_probability and None not in (
            before.inclusion_probability,
            row.inclusion_probability,
        ):
            raise DataError(
                f"one pair has two inclusion probabilities, {before.inclusion_probability:g} and "
                f"{row.inclusion_probability:g}",
                where=f"{before.where} and {row.where}",
                fix="give the probability with which the pair was drawn, the same in all of its rows",
            )


def doubled(row: LabelRow, before: LabelRow) -> DataError:
    """The error of a label given twice, with both of its places."""
    return DataError(
        f"{describe(row.annotator)} labelled this pair twice under {describe(row.principle_id)}",
        where=f"{before.where} and {row.where}",
        fix="keep one of the two rows",
    )


def check_principles(labels: Labels, constitution: Constitution) -> None:
    """Refuse labels under a principle that the constitution does not have."""
    principles = [principle.id for principle in constitution.principles]
    others = [row for row in labels.rows if row.principle_id not in (OVERALL, *principles)]
    if others:
        raise DataError(
            f"{len(others)} of {len(labels.rows)} labels are of {describe(others[0].principle_id)}, "
            f'which is no principle of "{constitution.name}"',
            where=f"first at {others[0].where}",
            fix=f"write {OVERALL} or one of {', '.join(principles)}",
        )


def _choice_columns(row: Row, columns: LabelColumns) -> Iterator[tuple[str, str]]:
    """Person and column of each choice in a row."""
    if columns.annotators:
        yield from ((name, name) for name in columns.annotators)
    elif columns.choice:
        name = scalar_text(row.cells.get(columns.annotator)) if columns.annotator else ""
        yield name or UNNAMED, columns.choice


def _read_label(row: Row, columns: LabelColumns, *, annotator: str, choice: Verdict) -> LabelRow:
    principle = scalar_text(row.cells.get(columns.principle_column)) if columns.principle_column else columns.principle
    probability = _number(row, columns.inclusion_probability)
    if probability is not None and not 0 < probability <= 1:
        raise DataError(
            f'"{columns.inclusion_probability}" is {probability:g}, no probability of being drawn',
            where=row.where,
            fix="give a number above 0, at most 1",
        )
    note = scalar_text(row.cells.get(columns.note)) if columns.note else ""
    return LabelRow(
        where=row.where,
        annotator=annotator,
        principle_id=principle or OVERALL,
        choice=choice,
        pair=_read_ids(row, columns.sample_ids) if columns.sample_ids else _read_texts(row, columns),
        prompt_id=(scalar_text(row.cells.get(columns.prompt_id)) or None) if columns.prompt_id else None,
        inclusion_probability=probability,
        simulated=_is_true(row, columns.simulated),
        seconds=_number(row, columns.seconds),
        note=note or None,
    )


def _read_ids(row: Row, columns: tuple[str, str]) -> tuple[str, str]:
    ids = [scalar_text(row.cells.get(column)) for column in columns]
    for column, value in zip(columns, ids, strict=True):
        if not value:
            raise DataError(f'"{column}" is empty', where=row.where, fix="give the sample's id")
    if ids[0] == ids[1]:
        raise DataError("both responses are the same sample", where=row.where, fix="correct the ids")
    return ids[0], ids[1]


def _read_texts(row: Row, columns: LabelColumns) -> Texts:
    named = columns.responses or OWN_TEXTS
    sides = read_sides(row.cells, named, prompt=columns.prompt, where=row.where)
    messages: tuple[Message, ...]
    if sides is not None:
        messages = sides.prompt
    elif isinstance(columns.prompt, str):
        messages = read_prompt_messages(_as_text(row, columns.prompt), where=row.where, column=columns.prompt)
    else:
        text = joined_text(_text(row, column) for column in columns.prompt_columns)
        messages = (Message(role="user", content=text),) if text else ()
    system = _text(row, columns.system) if columns.system else ""
    if system.strip() and messages and messages[0].role != "system":
        messages = (Message(role="system", content=system), *messages)
    first, second = sides.responses if sides else (_text(row, column) for column in named)
    if not messages:
        raise DataError("the prompt is empty", where=row.where, fix="give it, or remove the row")
    if first.strip() == second.strip():
        raise DataError("both responses are the same text", where=row.where, fix="correct or remove the row")
    return Texts(Prompt(messages=messages), (first, second))


def _text(row: Row, column: str) -> str:
    return read_response(_as_text(row, column), where=row.where, column=column) or ""


def _as_text(row: Row, column: str) -> object:
    """The cell as text: a reply such as "42" or "true" is often a number in a file."""
    value = row.cells.get(column)
    return scalar_text(value) if isinstance(value, bool | int | float) else value


def _number(row: Row, column: str | None) -> float | None:
    text = scalar_text(row.cells.get(column)) if column else ""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f'"{column}" holds {describe(text)}, no number', where=row.where, fix="give a number or leave it empty"
        )
    return number


def _is_true(row: Row, column: str | None) -> bool:
    text = scalar_text(row.cells.get(column)).lower() if column else ""
    if text not in ("", "true", "false", "1", "0"):
        raise DataError(f'"{column}" holds {describe(text)}', where=row.where, fix="write true or false")
    return text in ("true", "1")
