"""A file of pairs whose better reply is known -> checked pairs, each with the principle that it was labelled under.

Reads JSONL, CSV or Parquet; a row that is no labelled pair is refused with its line. Asks no judge.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import DataError
from rlaif.files.messages import read_prompt_messages, read_response
from rlaif.files.row import Row, describe, read_text
from rlaif.files.rows import read_rows
from rlaif.records import Message, Principle, digest_text
from rlaif.stats.logits import P_FIRST

COLUMNS = ("prompt", "first", "second", "label", "principle", "opposite", "group")
WINNERS: Mapping[str, float] = {str(winner): label for winner, label in P_FIRST.items()}
MIN_PAIRS = 8
"""Least number of pairs with a winner: fewer say nothing of a judge."""


class LabelledPair(NamedTuple):
    """Two replies to one prompt, and which of them is better."""

    messages: tuple[Message, ...]
    first: str
    second: str
    label: float
    """Probability that the first reply is better; one half is a tie."""
    principle: Principle | None = None
    """None: the pair is judged by a constitution."""
    group: str = ""

    @property
    def has_winner(self) -> bool:
        return self.label != 0.5


def load_labelled_pairs(path: str | Path) -> list[LabelledPair]:
    """Read and check the rows: `prompt`, `first`, `second`, `label`; `principle`, `opposite`, `group` where given."""
    pairs = [_read_pair(row) for row in read_rows(path)]
    num_winners = sum(pair.has_winner for pair in pairs)
    if num_winners < MIN_PAIRS:
        raise DataError(
            f"{len(pairs)} pairs, {num_winners} of them with a winner, say nothing of a judge",
            where=str(path),
            fix=f"give at least {MIN_PAIRS} pairs with a winner, better 200",
        )
    return pairs


def _read_pair(row: Row) -> LabelledPair:
    for column in row.columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1)
            fix = f'did you mean "{near[0]}"?' if near else f"take it out; the columns are {', '.join(COLUMNS)}"
            raise DataError(f'a labelled pair has no column "{column[:80]}"', where=row.where, fix=fix)
    messages = read_prompt_messages(row.value("prompt"), where=row.where, column="prompt")
    if not messages:
        raise DataError("the prompt is empty", where=row.where, fix="give the user's words")
    first, second = (_read_reply(row, name) for name in ("first", "second"))
    if first == second:
        raise DataError("both replies are the same", where=row.where, fix="take the row out")
    return LabelledPair(
        messages, first, second,
        label=_read_label(row), principle=_read_principle(row), group=_read_optional(row, "group"),
    )  # fmt: skip


def _read_reply(row: Row, column: str) -> str:
    text = read_response(row.value(column), where=row.where, column=column) or ""
    if not text.strip():
        raise DataError(f"the {column} reply is empty", where=row.where, fix="take the row out")
    return text


def _read_label(row: Row) -> float:
    given: Any = row.value("label")
    text = given.strip().lower() if isinstance(given, str) else given
    if isinstance(text, str) and text in WINNERS:
        return WINNERS[text]
    try:
        number = math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise DataError(
            f'"label" holds {describe(given)}',
            where=row.where,
            fix='write "first", "second" or "tie", or the probability from 0 to 1 that the first reply is better',
        )
    return number


def _read_principle(row: Row) -> Principle | None:
    text, opposite = _read_optional(row, "principle"), _read_optional(row, "opposite")
    if not text and opposite:
        raise DataError("there is an opposite and no principle", where=row.where, fix="write the principle")
    if text and text == opposite:
        raise DataError("the opposite is the principle's own text", where=row.where, fix="write the contrary")
    return make_principle(text, opposite) if text else None


def make_principle(text: str, opposite: str = "") -> Principle:
    """A principle with an id of its text and opposite, so that the same two are the same principle in each row."""
    name = text if not opposite else f"{text}\n{opposite}"
    return Principle(id=f"principle-{digest_text(name)[:12]}", text=text, opposite=opposite)


def _read_optional(row: Row, column: str) -> str:
    return read_text(row.cells.get(column), where=row.where, column=column).strip()
