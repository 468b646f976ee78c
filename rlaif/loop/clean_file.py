"""A file of prompts, demonstrations or preferences -> a report of its faults, and a cleaned copy beside it.

The copy is JSONL with the columns of the file; only the texts of corrected rows differ. Never writes over a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.cleaning.clean import FIXERS, clean_rows
from rlaif.cleaning.kinds import DEMONSTRATIONS, PREFERENCES, PROMPTS, Kind
from rlaif.cleaning.report import CleaningReport
from rlaif.config.cleaning import CleaningConfig
from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError, InputError
from rlaif.files.atomic import write_atomically
from rlaif.files.messages import unwrap
from rlaif.files.odd_rows import OddRows
from rlaif.files.row import Row
from rlaif.files.rows import read_rows
from rlaif.preferences.read import read_preference_row
from rlaif.records import Demonstration, Prompt
from rlaif.sampling.prompts import (
    CONVERSATION_COLUMNS,
    RESPONSE_COLUMNS,
    read_demonstration_row,
    read_prompt_row,
    read_prompts,
)

KindName = Literal["prompts", "demonstrations", "preferences"]
_OF_PREFERENCES = {"chosen", "rejected", "responses", "rating", "thumb"}
_TEXT_COLUMNS = {"prompt", "chosen", "rejected", "responses", *RESPONSE_COLUMNS, *CONVERSATION_COLUMNS}
MAX_PROMPTS = 10_000_000
_NO_TEXT = ("role", "from", "type")
"""Keys of a message whose values are not its text."""


class CleanedFile(NamedTuple):
    report: CleaningReport
    num_empty: int
    """Rows without a prompt or a response, which are left out."""
    lines: list[str]
    """The rows that are kept, as JSON."""


def clean_file(
    path: Path, *, config: CleaningConfig, kind: KindName | None = None, against: Path | None = None, column: str
) -> CleanedFile:
    """The rows of a file, cleaned. kind: None goes by the columns. column: of a prompt. against: prompts of an
    evaluation, which no row may have."""
    rows = list(read_rows(path))
    if not rows:
        raise DataError("there is no row in it", where=str(path), fix="write one row per line")
    kind = kind or find_kind(rows[0], column=column)
    odd = OddRows(where=str(path))
    read = [
        (row, made) for row, made in odd.read(rows, lambda row: (row, _make(row, kind, column))) if made is not None
    ]
    evaluated = [] if against is None else _read_evaluated(against, column=column)
    cleaned = clean_rows([made for _, made in read], kind=_KINDS[kind], config=config, evaluated=evaluated)
    lines = []
    for place, row in zip(cleaned.places, cleaned.rows, strict=True):
        original, made = read[place]
        cells = original.cells if row is made else _fix_cells(original, config, columns={*_TEXT_COLUMNS, column})
        lines.append(json.dumps(dict(cells), ensure_ascii=False, default=str))
    return CleanedFile(cleaned.report, len(rows) - len(read), lines)


def find_kind(row: Row, *, column: str) -> KindName:
    """What a row is, by its columns."""
    columns = set(row.columns)
    if columns & _OF_PREFERENCES or {"completion", "label"} <= columns:
        return "preferences"
    if column not in columns and not columns & {*CONVERSATION_COLUMNS, "prompt"}:
        raise InputError(
            f"the columns {', '.join(sorted(columns)[:20])} say nothing of what the rows are",
            where=row.where,
            fix="name the prompts' column by --column, and say what they are by --kind",
        )
    return "demonstrations" if columns & {*RESPONSE_COLUMNS, *CONVERSATION_COLUMNS} else "prompts"


def find_out(path: Path, out: Path | None) -> Path:
    """Where the copy goes; refused where something is there."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    out = out or path.with_name(f"{stem}.cleaned.jsonl")
    if out.exists():
        raise InputError(
            "there is a file already, and nothing is overwritten", where=str(out), fix="give another --out"
        )
    if not out.parent.is_dir():
        raise InputError("there is no such folder", where=str(out.parent), fix="make it, or give another --out")
    return out


def write_copy(cleaned: CleanedFile, out: Path) -> None:
    """The kept rows as JSONL."""
    write_atomically(out, "".join(f"{line}\n" for line in cleaned.lines))


_KINDS: Mapping[KindName, Kind[Any]] = {
    "prompts": PROMPTS, "demonstrations": DEMONSTRATIONS, "preferences": PREFERENCES,
}  # fmt: skip


def _make(row: Row, kind: KindName, column: str) -> object | None:
    """The row's record; None where it has no prompt or no response."""
    if kind == "preferences":
        return read_preference_row(row)
    if kind == "prompts":
        return read_prompt_row(row, config=PromptsConfig(path="FILE", column=column))
    messages, response = read_demonstration_row(row)
    if not messages or not response.strip():
        return None
    prompt = Prompt(messages=messages)
    return prompt, Demonstration(prompt_id=prompt.id, response=response)


def _read_evaluated(path: Path, *, column: str) -> Sequence[Prompt]:
    return read_prompts(PromptsConfig(path=str(path), column=column, num_prompts=MAX_PROMPTS)).prompts


def _fix_cells(row: Row, config: CleaningConfig, *, columns: set[str]) -> dict[str, Any]:
    """The row's cells with every text of these columns corrected, as its record was."""
    cells = dict(row.cells)
    for name in columns & cells.keys():
        value = unwrap(cells[name], where=row.where, column=name)
        fixed = _fix(value, config)
        if fixed != value:
            cells[name] = fixed
    return cells


def _fix(value: Any, config: CleaningConfig) -> Any:
    if isinstance(value, str):
        for rule, fix in FIXERS.items():
            value = fix(value) if getattr(config, rule) == "fix" else value
        return value
    if isinstance(value, list):
        return [_fix(inner, config) for inner in value]
    if isinstance(value, dict):
        return {key: inner if key in _NO_TEXT else _fix(inner, config) for key, inner in value.items()}
    return value
