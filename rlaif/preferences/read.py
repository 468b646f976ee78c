"""A preference folder, ours or anybody's -> rows for the reward model.

Pairs have TRL's columns `prompt`, `chosen`, `rejected` (text, chat messages, or transcripts as in HH-RLHF) and may have
`label`, `weight` and `source`; choices have `prompt`, `responses` and `probabilities`, and rankings `ranks` instead.
Single responses have `prompt`, `response` and a `rating` by an `annotator`, or a `thumb`; TRL's unpaired sets `prompt`,
`completion` and `label`. A row that cannot be read is an error with its place, unless as many may be left out; then it
is counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rlaif.errors import DataError
from rlaif.files.json_rows import OnOdd
from rlaif.files.messages import is_parts, read_messages, read_response, unwrap
from rlaif.files.odd_rows import OddRows
from rlaif.files.row import Row, describe, missing_column
from rlaif.files.row_parts import Part, find_counterpart, find_parts, list_parts, no_training_part, refuse_part_of_file
from rlaif.files.row_sources import is_file_source, read_chosen
from rlaif.files.rows import read_rows
from rlaif.files.transcripts import is_transcript
from rlaif.records import ChoiceRow, Message, PreferenceRow, Prompt, RankingRow, RatedRow, Source, TrainingRow

_COLUMNS = (
    "prompt",
    "chosen",
    "rejected",
    "label",
    "weight",
    "responses",
    "probabilities",
    "ranks",
    "source",
    "response",
    "completion",
    "rating",
    "thumb",
    "annotator",
)
_OPTION = "reward_model.split"
_FIXED_NAMES = "name the columns `prompt`, `chosen` and `rejected`, or `chosen` and `rejected` as whole conversations"


def read_preferences(
    path: str | Path,
    *,
    split: str = "train",
    part: str | None = None,
    option: str = _OPTION,
    odd: OddRows | None = None,
) -> list[TrainingRow]:
    """The rows for training, or with `split="test"` the test split that belongs to them; none where there is none.

    A folder whose files name no split is all `train`. part: the part of the folder or hub data set to train on, for
    example `train_prefs`; None: the one that is for training, and several are refused. option: what names the part,
    for messages. odd: counts the rows that cannot be read, and says how many may be left out; None: none may.
    """
    odd = OddRows(where=str(path)) if odd is None else odd
    found = _find_rows(path, split=split, part=part, option=option, on_odd=odd.add)
    rows = list(odd.read(found, read_preference_row))
    if split == "train" and not rows:
        raise DataError(
            "there is no preference to train on", where=str(path), fix="give a folder with a train split, or a file"
        )
    return rows


def odd_preferences(path: str | Path, *, at_most: int, option: str = "reward_model") -> OddRows:
    """The odd rows of a user's preferences, none so far. option: the group of options that names them."""
    return OddRows(at_most=at_most, option=f"{option}.max_odd_rows", where=str(path))


def _find_rows(path: str | Path, *, split: str, part: str | None, option: str, on_odd: OnOdd) -> Iterator[Row]:
    place = Path(path)
    if is_file_source(place):
        refuse_part_of_file(place, part, option=option)
        return read_rows(place, wanted=_COLUMNS, on_odd=on_odd) if split == "train" else iter(())
    if place.is_dir() and not list_parts(place):
        return iter(())
    return read_chosen(
        path,
        choose=lambda parts: _chosen(parts, split=split, part=part, option=option, where=str(path)),
        subset=(part or "").rpartition("/")[0] or None,
        wanted=_COLUMNS,
        option=option,
        on_odd=on_odd,
    )


def _chosen(parts: Sequence[Part], *, split: str, part: str | None, option: str, where: str) -> list[Part]:
    """The parts to train on, or with `split="test"` the test parts that belong to them."""
    trained = find_parts(parts, part, option=option, where=where)
    if split == "train":
        if parts and not trained:
            raise no_training_part(parts, option=option, where=where)
        return trained
    tests = [find_counterpart(parts, one) for one in trained]
    if not trained and part is None:
        tests = [one for one in parts if one.role == "test" and one.pattern == "*"]
    return list(dict.fromkeys(one for one in tests if one is not None))


def read_preference_row(row: Row) -> TrainingRow:
    """The preference, choice, ranking, rating or thumb of a row."""
    given = _read_prompt(row)
    if row.cells.get("responses") is not None:
        return (_read_choice if row.cells.get("ranks") is None else _read_ranking)(row, given)
    if row.cells.get("chosen") is None and (column := _find_rated(row)) is not None:
        return _read_rated(row, given, column=column)
    # subtle: beside a prompt a text is a response, also one that a model began with "Human:".
    chosen = _read_side(row, "chosen", is_response=bool(given))
    rejected = _read_side(row, "rejected", is_response=bool(given))
    prompt = given or chosen.before
    if not given and is_transcript(row.value("chosen")) != is_transcript(row.value("rejected")):
        raise DataError(
            'one of "chosen" and "rejected" is a transcript of the conversation and the other is none',
            where=row.where,
            fix='begin both with a blank line and "Human:", or give the conversation in `prompt`',
        )
    if not prompt:
        raise missing_column("prompt", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if side.before and side.before != prompt:
            raise DataError(
                f'"{name}" begins with another conversation than the prompt',
                where=row.where,
                fix="give both responses to one prompt",
            )
    return PreferenceRow(
        prompt=Prompt(messages=prompt),
        chosen=chosen.response,
        rejected=rejected.response,
        label=_read_number(row.cells, "label", high=1.0, where=row.where),
        weight=_read_number(row.cells, "weight", high=None, where=row.where),
        source=_read_source(row),
    )


def _read_choice(row: Row, prompt: tuple[Message, ...]) -> ChoiceRow:
    """Responses as texts or as chat messages, and the probability of each that it is the best."""
    responses, shares = row.cells["responses"], row.cells.get("probabilities")
    if not prompt:
        raise missing_column("prompt", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    if not isinstance(responses, list) or not isinstance(shares, list):
        raise DataError(
            '"responses" and "probabilities" are not two lists', where=row.where, fix="give a probability for each"
        )
    try:
        return ChoiceRow(
            prompt=Prompt(messages=prompt),
            responses=_read_responses(row, responses),
            shares=tuple(shares),
            weight=_read_number(row.cells, "weight", high=None, where=row.where),
            source=_read_source(row),
        )
    except ValidationError as error:
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise DataError(
            f"the choice cannot be read: {said}", where=row.where, fix="give two responses or more, and shares of one"
        ) from error


def _read_responses(row: Row, responses: Sequence[Any]) -> tuple[str, ...]:
    cells = {f"responses {number}": response for number, response in enumerate(responses, start=1)}
    inner = Row(cells, row.where, tuple(cells))
    return tuple(_read_side(inner, name, is_response=True).response for name in cells)


def _read_ranking(row: Row, prompt: tuple[Message, ...]) -> RankingRow:
    """Responses, and the rank of each: 1 for the best."""
    responses, ranks = row.cells["responses"], row.cells["ranks"]
    if not prompt:
        raise missing_column("prompt", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    is_list = isinstance(responses, list) and isinstance(ranks, list)
    if not is_list or len(responses) != len(ranks) or len(responses) < 2:
        raise DataError(
            '"responses" and "ranks" are not two lists of one length', where=row.where, fix="give a rank for each"
        )
    if any(isinstance(rank, bool) or not isinstance(rank, int | float) or not math.isfinite(rank) for rank in ranks):
        raise DataError('"ranks" holds what is no number', where=row.where, fix="give 1 for the best, 2 for the next")
    if len(set(ranks)) < len(ranks):
        tied = next(rank for rank in ranks if ranks.count(rank) > 1)
        first, second = [number for number, rank in enumerate(ranks, start=1) if rank == tied][:2]
        raise DataError(
            f"responses {first} and {second} have the same rank, {describe(tied)}",
            where=row.where,
            fix="give each response a rank of its own, or give the row as pairs with `label` .5 for the tie",
        )
    read = _read_responses(row, responses)
    return RankingRow(
        prompt=Prompt(messages=prompt),
        responses=tuple(read[place] for place in sorted(range(len(ranks)), key=lambda place: ranks[place])),
        weight=_read_number(row.cells, "weight", high=None, where=row.where),
        source=_read_source(row),
    )


def _find_rated(row: Row) -> str | None:
    """The column of the one response that a row rates; None where the columns are not those of a rating or a thumb."""
    if not {"rating", "thumb", "completion"} & {*row.columns}:
        return None
    return next((name for name in ("response", "completion") if row.cells.get(name) is not None), None)


def _read_rated(row: Row, prompt: tuple[Message, ...], *, column: str) -> RatedRow:
    """A rating, or a thumb; `label` is the thumb in TRL's unpaired sets."""
    if not prompt:
        raise missing_column("prompt", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    name = next((name for name in ("rating", "thumb", "label") if row.cells.get(name) not in (None, "")), None)
    if name is None:
        raise DataError(
            f'the row has one response in "{column}", and neither a rating nor a thumb',
            where=row.where,
            fix="give `rating` as a number, or `thumb` as true or false",
        )
    value = _read_value(row, name)
    return RatedRow(
        prompt=Prompt(messages=prompt),
        response=_read_side(row, column, is_response=True).response,
        kind="rating" if name == "rating" else "thumb",
        value=value,
        annotator=str(row.cells.get("annotator") or ""),
        weight=_read_number(row.cells, "weight", high=None, where=row.where),
        source=_read_source(row) or "human",
    )


def _read_value(row: Row, name: str) -> float:
    """A rating as a finite number; a thumb as true, false or a number from 0 to 1."""
    given = row.cells[name]
    text = given.strip().lower() if isinstance(given, str) else given
    if name != "rating" and text in (True, False, "true", "false"):
        return float(text in (True, "true"))
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    is_number = math.isfinite(value) and not (name == "rating" and isinstance(given, bool))
    if not is_number or (name != "rating" and not 0 <= value <= 1):
        wanted = "a number" if name == "rating" else "true or false, or a probability"
        raise DataError(f'"{name}" holds {describe(given)}', where=row.where, fix=f"give {wanted}")
    return value


def _read_source(row: Row) -> Source | None:
    """Who preferred, by our own names; in other people's data sets a `source` is often where the prompt comes from."""
    value = row.cells.get("source")
    return value if value in ("judge", "human") else None


class _Side(NamedTuple):
    before: tuple[Message, ...]
    """The conversation before the response, where the column holds it too."""
    response: str


def _read_prompt(row: Row) -> tuple[Message, ...]:
    messages = read_messages(row.cells.get("prompt"), where=row.where, column="prompt")
    # A transcript that is a prompt often ends with an empty "Assistant:", where the response continues.
    ends_open = is_transcript(row.cells.get("prompt")) and not messages[-1].content and len(messages) > 1
    return messages[:-1] if ends_open else messages


def _read_side(row: Row, column: str, *, is_response: bool) -> _Side:
    if column not in row.cells:
        raise missing_column(column, columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    value = row.cells[column]
    if isinstance(value, str) and is_transcript(value) and is_response:
        return _Side((), value)
    value = unwrap(value, where=row.where, column=column)
    if isinstance(value, str) and not is_transcript(value):
        return _Side((), value)
    if isinstance(value, list) and is_parts(value):
        return _Side((), read_response(value, where=row.where, column=column) or "")
    messages = read_messages(value, where=row.where, column=column)
    if not messages or messages[-1].role != "assistant":
        raise DataError(
            f'"{column}" does not end with an assistant\'s message',
            where=row.where,
            fix='give the response as text, or as [{"role": "assistant", "content": "..."}]',
        )
    return _Side(messages[:-1], messages[-1].content)


def _read_number(cells: Mapping[str, Any], column: str, *, high: float | None, where: str) -> float:
    """A share or a weight; 1 where the column or its value is missing."""
    value = cells.get(column)
    if value is None or value == "":
        return 1.0
    if isinstance(value, str):  # in CSV every cell is text
        try:
            value = float(value)
        except ValueError:
            value = cells[column]
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= (sys.float_info.max if high is None else high)
    ):
        bound = "of at least 0" if high is None else f"from 0 to {high:g}"
        raise DataError(
            f'"{column}" holds {describe(value)}',
            where=where,
            fix=f"give a number {bound}, or leave the column out",
        )
    return float(value)
