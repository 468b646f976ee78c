"""The sheets that were drawn for people, as their owner sees them: how many answers of whom, and what is certain.

A sheet's answers are read where its file is found: in a run's round, beside the folder of runs, or where it is named.
Without its file the labels count that `rlaif spot-check status` took in last. Takes in nothing and writes nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.answer_file import answers_folder, read_all_answers
from rlaif.calibration.answers import Answer, Answered
from rlaif.calibration.sheet import FORMAT, read_sheet
from rlaif.calibration.so_far import SoFar, sum_up
from rlaif.calibration.so_far_words import describe_agreement, describe_annotators, describe_remaining
from rlaif.calibration.taken_in import key_of_label, take_in
from rlaif.errors import RlaifError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import HumanLabel, SpotCheck
from rlaif.stats.logits import canonical_pair

MAX_SHEETS = 50
MAX_FILES = 200
"""Files of one folder that may be sheets."""
_BEGINNING = re.compile(rb'"format":\s*"' + FORMAT.encode() + rb'"[^}]{0,80}?"id":\s*"([0-9a-f]{32})"')
DESIGNS = {
    "even": "every pair was as likely to be drawn",
    "focus": "pairs on which the judge may be wrong were drawn more often",
    "queue": "pairs of a queue were drawn more often, a third of the items from all pairs alike",
}


class Bar(NamedTuple):
    """Shares of agreement, between 0 and 1."""

    low: float
    high: float
    mean: float
    is_final: bool
    """An interval of the finished sheet; False: a bound that holds whenever somebody looks or stops."""


class SheetView(NamedTuple):
    """A sheet as a page shows it."""

    check: SpotCheck
    design: str
    path: Path | None
    """Its file; None where it was not found."""
    problem: str
    """Why its answers cannot be read; empty where they can, or where no file was found."""
    so_far: SoFar
    num_waiting: int
    """Labels in the answers that the ledger does not have yet."""
    bar: Bar | None
    """None before the first label."""
    annotators: tuple[str, ...]
    """How many answers of whom, a sentence each."""
    sentences: tuple[str, ...]
    """What the labels come to by now."""


def find_sheets(ledger: Ledger, *, runs_dir: Path, named: Sequence[Path] = ()) -> list[SheetView]:
    """The draws of a ledger, the newest first. named: files of sheets that lie elsewhere."""
    checks = list_records(ledger, SpotCheck)[-MAX_SHEETS:]
    files = _find_files(runs_dir, named) if checks else {}
    return [_view(ledger, check, files.get(check.sheet_id)) for check in reversed(checks)]


def _view(ledger: Ledger, check: SpotCheck, path: Path | None) -> SheetView:
    before = ledger.used(check.runs[0], 0, check.stage, HumanLabel)
    problem, num_waiting = "", 0
    states, labels = _states_of(check, before), before
    if path is not None:
        try:
            sheet = read_sheet(path)
            states = read_all_answers(sheet, answers_folder(path))
            taken = take_in(check, sheet, states, before=before)
            labels, num_waiting = taken.labels, taken.num_new + taken.num_withdrawn
        except RlaifError as error:
            problem, states, labels = error.sentence, _states_of(check, before), before
    so_far = sum_up(check, states, labels)
    words = describe_agreement(so_far) if so_far.agreement is not None else describe_remaining(so_far)
    return SheetView(
        check=check, design=DESIGNS[check.design], path=path, problem=problem, so_far=so_far, num_waiting=num_waiting,
        bar=_make_bar(so_far), annotators=tuple(describe_annotators(so_far)), sentences=tuple(words),
    )  # fmt: skip


def _make_bar(so_far: SoFar) -> Bar | None:
    found = so_far.interval or so_far.bounds
    if found is None or so_far.agreement is None:
        return None
    low, high = max(0.0, found.low), min(1.0, found.high)
    return Bar(low, high, min(high, max(low, so_far.agreement)), is_final=so_far.interval is not None)


def _states_of(check: SpotCheck, labels: Iterable[HumanLabel]) -> list[Answered]:
    """Where each annotator stands by labels alone: what was unclear or skipped is not known then."""
    items = {(canonical_pair(*item.sample_ids), item.principle_id): item.item_id for item in check.items}
    answers: dict[str, dict[str, Answer]] = defaultdict(dict)
    for label in labels:
        item_id = items.get(key_of_label(label)[1:])
        if item_id is not None:
            answers[label.annotator][item_id] = Answer(
                item_id=item_id, choice=label.choice, order="ab", seconds=label.seconds, note=label.note or "",
                at=label.observed.at, guideline=label.guideline_digest, is_override=label.replaces is not None,
            )  # fmt: skip
    return [
        Answered(name, found, orders={}, skips={}, last_undone=None, undone=frozenset(), history=tuple(found),
                 firsts=found, notes={})
        for name, found in sorted(answers.items())
    ]  # fmt: skip


def _find_files(runs_dir: Path, named: Sequence[Path]) -> dict[str, Path]:
    """The sheets' files by id; a named one counts before one that was found."""
    found: dict[str, Path] = {}
    for path in (*named, *_list_files(runs_dir)):
        if (sheet_id := _read_id(path)) is not None:
            found.setdefault(sheet_id, path)
    return found


def _list_files(runs_dir: Path) -> Iterator[Path]:
    yield from sorted(runs_dir.glob("*/round_*/sheet.json"))[-MAX_FILES:]
    yield from sorted(runs_dir.parent.glob("*.json"))[:MAX_FILES]


def _read_id(path: Path) -> str | None:
    """The id that a sheet's file names; None where it is no such file. All of it is checked when it is read."""
    try:
        with path.open("rb") as file:
            match = _BEGINNING.search(file.read(400))
    except OSError:
        return None
    return None if match is None else match[1].decode()
