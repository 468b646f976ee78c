"""A probe file -> checked pairs of replies that differ clearly, for asking whether a judge understands a principle.

Reads JSONL, CSV or Parquet; a row that is not a probe is refused with its line. Asks no judge.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rlaif.errors import DataError
from rlaif.files.messages import read_prompt_messages
from rlaif.files.row import Row, describe, read_text
from rlaif.files.rows import read_rows
from rlaif.records import Message, Principle

PROBE_FILE = "probes.jsonl"
"""Name of the probes in a judge's folder."""
COLUMNS = ("prompt", "first", "second", "expected", "only")
MIN_PROBES = 8
"""Least number of pairs: with fewer, the share of flips is too uncertain."""
ANY = "*"
"""Name that means every principle."""

Winner = Literal["first", "second"]


class Probe(NamedTuple):
    """Two replies to one prompt that differ clearly."""

    messages: tuple[Message, ...]
    first: str
    second: str
    expected: Mapping[str, Winner] = {}
    """Which reply should win, by a tag or the id of the principle; "*" is every principle."""
    only: tuple[str, ...] = ()
    """Tags or ids of the only principles that this pair contrasts in; empty: it contrasts in whatever is asked."""

    def winner_for(self, names: Sequence[str]) -> Winner | None:
        """The reply that should win under a principle of these names; None where they name no winner, or both."""
        winners = {self.expected[name] for name in names if name in self.expected}
        return winners.pop() if len(winners) == 1 else None


def names_of(principle: Principle, *, probes: Sequence[Probe]) -> tuple[str, ...]:
    """Names by which the probes know a principle: its tags, else its id, else "*"."""
    known = {name for probe in probes for name in (*probe.expected, *probe.only)}
    for names in (principle.tags, (principle.id,), (ANY,)):
        if found := tuple(name for name in names if name in known):
            return found
    return ()


def find_probes(judge_dir: str | Path) -> Path | None:
    """The probe file in a judge's folder; None where there is none."""
    path = Path(judge_dir) / PROBE_FILE
    return path if path.is_file() else None


def load_probes(path: str | Path) -> list[Probe]:
    """Read and check a file of pairs: `prompt`, `first`, `second`, and where they are known `expected` and `only`."""
    probes: list[Probe] = []
    seen: dict[tuple[object, ...], str] = {}
    for row in read_rows(path):
        probe = _read_probe(row)
        key = (probe.messages, *sorted((probe.first, probe.second)))
        if key in seen:
            raise DataError("this pair stands twice", where=row.where, fix=f"take it out, or the one at {seen[key]}")
        seen[key] = row.where
        probes.append(probe)
    if len(probes) < MIN_PROBES:
        raise DataError(
            f"{len(probes)} probe pairs say little of how often a verdict flips",
            where=str(path),
            fix=f"give at least {MIN_PROBES}, better 40",
        )
    return probes


def _read_probe(row: Row) -> Probe:
    for column in row.columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1)
            fix = f'did you mean "{near[0]}"?' if near else f"the columns are {', '.join(COLUMNS)}"
            raise DataError(f'a probe has no column "{column[:80]}"', where=row.where, fix=fix)
    messages = read_prompt_messages(row.value("prompt"), where=row.where, column="prompt")
    if not messages:
        raise DataError("the prompt is empty", where=row.where, fix="give the user's words")
    first, second = (_read_reply(row, name) for name in ("first", "second"))
    if first == second:
        raise DataError("both replies are the same", where=row.where, fix="give two replies that differ clearly")
    return Probe(messages, first, second, _read_expected(row), _read_only(row))


def _read_reply(row: Row, column: str) -> str:
    text = read_text(row.value(column), where=row.where, column=column)
    if not text.strip():
        raise DataError(f"the {column} reply is empty", where=row.where, fix="give two replies that differ clearly")
    return text


def _read_expected(row: Row) -> dict[str, Winner]:
    given = row.cells.get("expected")
    if given is None or given == "":
        return {}
    by_name: Mapping[str, Any] = given if isinstance(given, dict) else {ANY: given}
    expected: dict[str, Winner] = {}
    for name, winner in by_name.items():
        if winner is None and isinstance(given, dict):
            continue  # Parquet gives every row the names of all rows
        if winner not in get_args(Winner):
            raise DataError(
                f'"expected" holds {describe(winner)} where a winner belongs',
                where=row.where,
                fix='write "first" or "second", or {"tag or id of a principle": "first"}',
            )
        expected[name] = winner
    return expected


def _read_only(row: Row) -> tuple[str, ...]:
    given = row.cells.get("only")
    if given is None or given == "":
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(
            f'"only" holds {describe(given)} where names belong',
            where=row.where,
            fix='write ["tag or id of a principle"]',
        )
    return tuple(names)
