"""Answers and files of labels -> human labels in the ledger, and human labels of a run -> rows to export.

Which labels count now is kept as uses of a stage: one stage for each sheet, one for what was imported. Where a label is
withdrawn the stage is made again; nothing is removed. Loads no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.answer_file import answers_folder, read_all_answers
from rlaif.calibration.label_rows import Which
from rlaif.calibration.label_studio import read_label_studio
from rlaif.calibration.labels import Labels, check_principles
from rlaif.calibration.match import Matched, match_labels
from rlaif.calibration.pooled import pool_draws
from rlaif.calibration.sheet import Sheet, read_sheet
from rlaif.calibration.so_far import SoFar, sum_up
from rlaif.calibration.taken_in import LabelKey, TakenIn, chosen_side, key_of_label, take_in
from rlaif.config.calibration import HumanConfig
from rlaif.errors import DataError, StageError
from rlaif.ledger.queries import find_drawn_labels, list_records
from rlaif.ledger.store import Ledger
from rlaif.preferences.people import load_labels
from rlaif.records import Comparison, EditTest, HumanLabel, Prompt, Record, Sample, SpotCheck, Tally, Use
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.stages import JUDGEMENTS, SAMPLES
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.run.stored import open_stored

IMPORTED = "spot_check_import"
"""Stage of the labels that were imported for a run."""


class SheetStatus(NamedTuple):
    """A sheet as its owner sees it."""

    check: SpotCheck
    taken_in: TakenIn
    so_far: SoFar


class RunLabels(NamedTuple):
    """The labels of a run's samples that count now, and the texts that they are about."""

    labels: list[HumanLabel]
    prompts: dict[str, Prompt]
    samples: dict[str, Sample]


def check_sheet(
    path: Path, *, answers: Path | None, runs_dir: Path, run: str | None, ledger: Path | None, dry_run: bool
) -> SheetStatus:
    """Take the answers to a sheet into the ledger, unless `dry_run`, and say what they come to."""
    sheet = read_sheet(path)
    states = read_all_answers(sheet, answers or answers_folder(path))
    with _open(ledger, runs_dir=runs_dir, run=run, read_only=dry_run) as opened:
        check = find_draw(opened, sheet)
        before = opened.used(check.runs[0], 0, check.stage, HumanLabel)
        taken = take_in(check, sheet, states, before=before)
        if not dry_run:
            store_labels(opened, check.runs, check.stage, labels=taken.labels, before=before)
    return SheetStatus(check, taken, sum_up(check, states, taken.labels))


def _open(ledger: Path | None, *, runs_dir: Path, run: str | None, read_only: bool) -> Ledger:
    """The file `ledger`; without one that of the named or the newest run, refused where the run did not leave it so."""
    if ledger is None:
        folder = open_run(runs_dir, run)
        return open_ledger(folder, ledger_path_of(folder.config, runs_dir=runs_dir), read_only=read_only)
    if not ledger.is_file():
        raise DataError("there is no such ledger", where=str(ledger), fix="name the file of the runs' ledger")
    return Ledger.open(ledger, read_only=read_only)


def find_draw(ledger: Ledger, sheet: Sheet) -> SpotCheck:
    """The draw behind a sheet, refused where this ledger has none."""
    found = [check for check in list_records(ledger, SpotCheck) if check.sheet_id == sheet.id]
    if not found:
        raise DataError(
            f"nobody drew this sheet ({sheet.id[:12]}) from the runs of this ledger",
            where=str(ledger.path),
            fix="name the runs that it was drawn from by --runs-dir, or their ledger by --ledger",
        )
    return found[0]


def import_labels(
    path: Path, *, columns: Path | None, runs_dir: Path, run: str | None, dry_run: bool
) -> tuple[Tally, int]:
    """Labels of other tools for a run's samples into its ledger: all of them counted, and how many are new."""
    labels = read_label_studio(path) if columns is None else None
    if labels is None:
        labels = load_labels(HumanConfig(path=str(path), columns=None if columns is None else str(columns)))
    if labels is None:
        raise ValueError("a path was given")
    folder = open_run(runs_dir, run)
    matched = _match(labels, folder, runs_dir=runs_dir)
    with open_ledger(folder, ledger_path_of(folder.config, runs_dir=runs_dir), read_only=dry_run) as ledger:
        before = ledger.used(folder.name, 0, IMPORTED, HumanLabel)
        known = {key_of_label(label): label for label in _labels_of(ledger, folder.name)}
        new = [label for label in matched.labels if not _is_known(label, known, where=str(path))]
        if not dry_run:
            brought: list[Record] = [record for four in matched.brought for record in four]
            ledger.append(brought)
            store_labels(ledger, (folder.name,), IMPORTED, labels=[*before, *new], before=before)
    return matched.tally, len(new)


def _is_known(label: HumanLabel, known: Mapping[LabelKey, HumanLabel], *, where: str) -> bool:
    """Whether the ledger has this choice already; refused where it has another one of this annotator."""
    before = known.get(key_of_label(label))
    if before is not None and chosen_side(before) != chosen_side(label):
        raise DataError(
            f"{label.annotator} has labelled the pair {' and '.join(label.sample_ids)} already, under "
            f"{label.principle_id}, and chose otherwise",
            where=where,
            fix="leave the row out, or give another annotator's name",
        )
    return before is not None


def read_run_labels(*, runs_dir: Path, run: str | None, which: Which = "all", sheet: Path | None = None) -> RunLabels:
    """The labels that were taken in or imported for a run, with their texts.

    which: those of draws, imported ones, both, or those of tests of edits. sheet: those of one draw alone. Labels of
    several draws from the same pairs have the probability with which their item came into any of the draws.
    """
    folder = open_run(runs_dir, run)
    with open_ledger(folder, ledger_path_of(folder.config, runs_dir=runs_dir), read_only=True) as ledger:
        if which == "edit-tests":
            labels = _labels_of_tests(ledger, folder.name)
        elif sheet is not None:
            check = find_draw(ledger, read_sheet(sheet))
            if check.is_evaluation:
                raise DataError(
                    "the sheet is of an evaluation, and nothing may be trained on its prompts",
                    where=str(sheet),
                    fix="run `rlaif evaluate --resume` to see what the labels say",
                )
            labels = ledger.used(check.runs[0], 0, check.stage, HumanLabel)
        else:
            drawn = [] if which == "imported" else _pool(ledger, folder.name)
            labels = [*drawn, *ledger.used(folder.name, 0, IMPORTED, HumanLabel)]
        if not labels:
            raise StageError(
                "no labels were taken in or imported for this run",
                where=str(folder.path),
                fix="run `rlaif spot-check status SHEET` or `rlaif spot-check import FILE` first",
            )
        return RunLabels(
            labels,
            ledger.find(Prompt, dict.fromkeys(label.prompt_id for label in labels)),
            ledger.find(Sample, dict.fromkeys(key for label in labels for key in label.sample_ids)),
        )


def _pool(ledger: Ledger, run: str) -> list[HumanLabel]:
    """The labels of all draws from a run, with their probabilities as one sample."""
    checks = [c for c in list_records(ledger, SpotCheck) if run in c.runs and not c.is_evaluation]
    labels = {check.id: ledger.used(run, 0, check.stage, HumanLabel) for check in checks}
    chances = pool_draws([check for check in checks if labels[check.id]])
    return [
        label if (chance := chances[check.id]) is None else label.changed(inclusion_probability=chance)
        for check in checks
        for label in labels[check.id]
    ]


def _labels_of_tests(ledger: Ledger, run: str) -> list[HumanLabel]:
    """The labels of tests of edits, and of judges, on pairs of a run."""
    tests = [test for test in list_records(ledger, EditTest) if run in (test.run, test.new_run)]
    return [label for test in tests for label in ledger.used(test.run, 0, test.stage, HumanLabel)]


def _labels_of(ledger: Ledger, run: str) -> list[HumanLabel]:
    """The labels to use: those of an evaluation's pairs are left out, because nothing may be trained on them."""
    drawn = find_drawn_labels(ledger, run=run, is_evaluation=False)
    return [*drawn, *ledger.used(run, 0, IMPORTED, HumanLabel)]


def store_labels(
    ledger: Ledger, runs: Sequence[str], stage: str, *, labels: Sequence[HumanLabel], before: Sequence[HumanLabel]
) -> None:
    """Store what is new, and which labels count; where some count no more, the stage is made again."""
    now = {label.id for label in labels}
    is_made_again = any(label.id not in now for label in before)
    old = set() if is_made_again else {label.id for label in before}
    added = [label for label in labels if label.id not in old]
    if not added and not is_made_again:
        return
    for run in runs:
        if is_made_again:
            ledger.make_again(run, 0, stage)
        making = ledger.makings(run, 0, stage).number
        uses = [
            Use(run=run, round=0, stage=stage, record_table=label.table, record_id=label.id, making=making)
            for label in added
        ]
        ledger.append([*added, *uses])


def _match(labels: Labels, run: RunFolder, *, runs_dir: Path) -> Matched:
    """The labels matched with the samples of all rounds."""
    samples: list[Sample] = []
    pairs: list[tuple[str, str]] = []
    elsewhere: dict[str, Sample] = {}
    named = {key for row in labels.rows if isinstance(row.pair[0], str) for key in row.pair if isinstance(key, str)}
    for number in range(max(1, len(list(run.path.glob("round_*"))))):
        with open_stored(run, runs_dir=runs_dir, number=number, read_only=True) as (round, book):
            if number == 0:
                check_principles(labels, round.constitution)
            samples += book.used(SAMPLES, Sample, round=number)
            if read_stage(run.stage_dir(number, JUDGEMENTS)) is not None:
                pairs += [comparison.sample_ids for comparison in book.used(JUDGEMENTS, Comparison, round=number)]
            elsewhere |= round.ledger.find(Sample, named)
    return match_labels(labels, samples=samples, pairs=list(dict.fromkeys(pairs)), find=lambda ids: elsewhere)
