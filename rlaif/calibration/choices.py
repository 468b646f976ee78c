"""Files of people's choices and of verdicts -> items with what each person and the judge said.

One row per item with a column per person, or one row per item and person. A value that the column map does
not name is an error among people's choices and a failed judgement among verdicts. Computes no figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.agreement_columns import AgreementColumns, listed
from rlaif.config.column_map import Columns
from rlaif.errors import DataError
from rlaif.files.row import Row, describe, scalar_text
from rlaif.files.rows import read_rows
from rlaif.records import Tally, Verdict

Key = tuple[str, ...]


class Item(NamedTuple):
    """Two responses as they were shown, and what people chose."""

    key: Key
    prompt: Key
    """The item's own key where the map names no prompt."""
    policies: tuple[str, str] | None
    choices: dict[str, Verdict]
    """Person -> choice, in the file's order."""
    weight: float = 1.0
    """One over the probability with which the item was drawn."""
    stratum: Key = ()
    """The part of the items from which it was drawn; empty where the map names none."""
    principle: str = ""
    """The principle under which people chose; empty where the map names no column of it."""
    words: tuple[int, int] | None = None
    """Words of the two responses; None where the map names no column of their texts."""


class PeopleRead(NamedTuple):
    items: list[Item]
    tally: Tally
    """Counts choices; those that a row leaves empty are dropped as `no_choice`."""
    is_drawn: bool = False
    """True where the column map names each item's probability of being drawn."""


class VerdictsRead(NamedTuple):
    verdicts: dict[Key, Verdict]
    failed: dict[Key, str]
    """The values of the verdict column that are no verdicts."""
    tally: Tally
    """Counts verdicts; dropped are failed ones and those on items that no person chose on."""


def read_people(path: Path, columns: AgreementColumns) -> PeopleRead:
    """The items that at least one person chose on, in the file's order."""
    return collect_choices(read_rows(path, wanted=columns.people_columns), columns, where=str(path))


def read_verdicts(path: Path, columns: AgreementColumns, *, items: Sequence[Item]) -> VerdictsRead:
    """The judge's verdicts on these items."""
    if columns.verdict is None:
        raise DataError("the column map names no verdict", where=str(path), fix="add `verdict` and `verdict_values`")
    wanted = {*listed(columns.verdict_key or columns.key), columns.verdict}
    return collect_verdicts(read_rows(path, wanted=wanted), columns, items=items, where=str(path))


def collect_choices(rows: Iterable[Row], columns: AgreementColumns, *, where: str) -> PeopleRead:
    """Rows of choices -> items; `where` names the file in messages."""
    found: dict[Key, tuple[Item, str]] = {}
    num_in = num_empty = 0
    for row in rows:
        item = Item(
            key=_key(row, columns.key),
            prompt=_prompt(row, columns),
            policies=_policies(row, columns),
            choices={},
            weight=_weight(row, columns),
            stratum=_key(row, columns.stratum) if columns.stratum else (),
            principle=scalar_text(row.value(columns.principle)) if columns.principle else "",
            words=_words(row, columns),
        )
        if item.key not in found:
            found[item.key] = (item, row.where)
        else:
            _check_same(item, *found[item.key], row=row, columns=columns)
        choices = found[item.key][0].choices
        for person, column in _choice_columns(row, columns):
            num_in += 1
            text = scalar_text(row.value(column))
            if not text:
                num_empty += 1
                continue
            if person in choices:
                raise DataError(
                    f"{_named(item.key)} has two choices of {describe(person)}",
                    where=row.where,
                    fix=f"remove the row, or name by `key` what tells it from {found[item.key][1]}",
                )
            choices[person] = _choice(text, column, row=row, columns=columns)
    items = [item for item, _ in found.values() if item.choices]
    if not items:
        raise DataError("there is no choice in it", where=where, fix="check the file and the columns of the choices")
    tally = Tally(num_in=num_in, dropped={"no_choice": num_empty} if num_empty else {})
    return PeopleRead(items, tally, is_drawn=columns.inclusion_probability is not None)


def collect_verdicts(
    rows: Iterable[Row], columns: AgreementColumns, *, items: Sequence[Item], where: str
) -> VerdictsRead:
    """Rows of verdicts -> verdicts and failed judgements by item; `where` names the file in messages."""
    if columns.verdict is None or columns.verdict_values is None:
        raise ValueError("a map without `verdict` reads no verdicts")
    known = {item.key for item in items}
    places: dict[Key, str] = {}
    verdicts: dict[Key, Verdict] = {}
    failed: dict[Key, str] = {}
    num_unknown = 0
    for row in rows:
        key = _key(row, columns.verdict_key or columns.key)
        if key in places:
            raise DataError(
                f"{_named(key)} has a second verdict",
                where=row.where,
                fix=f"keep one of this row and {places[key]}",
            )
        places[key] = row.where
        text = scalar_text(row.value(columns.verdict))
        if key not in known:
            num_unknown += 1
        elif verdict := columns.verdict_values.by_text.get(text):
            verdicts[key] = verdict
        else:
            failed[key] = text
    if not verdicts and not failed:
        what = "no verdict is about an item that a person chose on" if places else "there is no verdict in it"
        raise DataError(what, where=where, fix="check `key` and `verdict_key` in the column map")
    if not verdicts:
        seen = ", ".join(f'"{text}" ({count})' for text, count in Counter(failed.values()).most_common(5))
        raise DataError(
            f'no value of "{columns.verdict}" is named in verdict_values; it holds {seen}',
            where=where,
            fix="name its values in the column map",
        )
    dropped = {"failed": len(failed), "no_person_chose": num_unknown}
    tally = Tally(num_in=len(places), dropped={reason: count for reason, count in dropped.items() if count})
    return VerdictsRead(verdicts, failed, tally)


def _key(row: Row, columns: Columns) -> Key:
    key = tuple(scalar_text(row.value(column)) for column in listed(columns))
    if not any(key):
        names = '" and "'.join(listed(columns))
        raise DataError(f'"{names}" is empty, the row names no item', where=row.where, fix="give every row its key")
    return key


def _prompt(row: Row, columns: AgreementColumns) -> Key:
    return _key(row, columns.prompt or columns.key)


def _policies(row: Row, columns: AgreementColumns) -> tuple[str, str] | None:
    return columns.policies.read(row) if columns.policies else None


def _weight(row: Row, columns: AgreementColumns) -> float:
    """One over the row's probability. A row without one is refused: its weight cannot be known."""
    column = columns.inclusion_probability
    if column is None:
        return 1.0
    text = scalar_text(row.value(column))
    try:
        probability = float(text)
    except ValueError:
        probability = math.nan
    if not 0 < probability <= 1:
        raise DataError(
            f'"{column}" holds {describe(text)}, no probability of being drawn' if text else f'"{column}" is empty',
            where=row.where,
            fix="give a number above 0, at most 1, in every row, or leave inclusion_probability out of the column map",
        )
    return 1 / probability


def _words(row: Row, columns: AgreementColumns) -> tuple[int, int] | None:
    if columns.responses is None:
        return None
    first, second = (len(scalar_text(row.value(column)).split()) for column in columns.responses)
    return first, second


def _choice_columns(row: Row, columns: AgreementColumns) -> list[tuple[str, str]]:
    """(person, column of that person's choice) for each choice in a row."""
    if columns.annotators is not None:
        return [(column, column) for column in columns.annotators]
    if columns.annotator is None or columns.choice is None:
        raise ValueError("the column map has been validated")
    person = scalar_text(row.value(columns.annotator))
    if not person:
        raise DataError(f'"{columns.annotator}" is empty', where=row.where, fix="name the person in every row")
    return [(person, columns.choice)]


def _choice(text: str, column: str, *, row: Row, columns: AgreementColumns) -> Verdict:
    choice = columns.choice_values.by_text.get(text)
    if choice is None:
        raise DataError(
            f'"{column}" holds {describe(text)}, which the column map does not name',
            where=row.where,
            fix="name it under choice_values, or correct the row",
        )
    return choice


def _check_same(item: Item, first: Item, first_where: str, *, row: Row, columns: AgreementColumns) -> None:
    if columns.annotators is not None:
        raise DataError(
            f"{_named(item.key)} stands twice", where=row.where, fix=f"keep one of this row and {first_where}"
        )
    differences: tuple[tuple[str, object, object], ...] = (
        ("another prompt", item.prompt, first.prompt),
        ("other policies", item.policies, first.policies),
        ("another inclusion probability", item.weight, first.weight),
        ("another stratum", item.stratum, first.stratum),
        ("another principle", item.principle, first.principle),
        ("responses of other lengths", item.words, first.words),
    )
    for what, here, there in differences:
        if here != there:
            raise DataError(
                f"{_named(item.key)} has {what} here than at {first_where}",
                where=row.where,
                fix="let `key` name two responses in one order; give another order another key",
            )


def _named(key: Key) -> str:
    return f"the item {', '.join(describe(part) for part in key)}"
