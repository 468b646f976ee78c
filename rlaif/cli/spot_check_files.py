"""`rlaif spot-check import, export`: labels from other tools into a run's ledger, and its labels as files.

Parses options, calls one function, prints its result. A file that is there already is never written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlaif.cli.options import LabelColumnsOption, RunOption, RunsDirOption
from rlaif.cli.spot_check import AnswersOption
from rlaif.console import console, show_text
from rlaif.errors import InputError

LabelFormat = Literal["jsonl", "csv", "preferences", "reward-bench", "label-studio"]


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labels as JSONL, CSV or Parquet, a preference set, or Label Studio's export as JSON.",
        ),
    ],
    columns: LabelColumnsOption = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="SHEET",
            help="FILE is Label Studio's export of tasks that were made from this sheet: its annotations become "
            "answers to the sheet, which `status` takes in with their probabilities.",
        ),
    ] = None,
    answers: AnswersOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count the labels, store nothing.")] = False,
) -> None:
    """Labels of other tools, for the samples of a run, into its ledger; or, with --sheet, answers to a sheet.

    A label without a probability describes the labelled pairs alone. Nothing is stored where one label cannot be used.
    """
    if sheet is not None:
        _import_answers(file, sheet, answers=answers, columns=columns, dry_run=dry_run)
    else:
        from rlaif.loop.spot_labels import import_labels

        if answers is not None:
            raise InputError("--answers is about a sheet, and none is given", fix="add --sheet SHEET")
        tally, num_new = import_labels(file, columns=columns, runs_dir=runs_dir, run=run, dry_run=dry_run)
        console.print(show_text(f"labels: {tally}, {num_new} of them new"))
    if dry_run:
        console.print(show_text("dry run: nothing was stored"))


def _import_answers(file: Path, sheet_path: Path, *, answers: Path | None, columns: Path | None, dry_run: bool) -> None:
    from rlaif.calibration.answer_file import answers_folder, write_answers
    from rlaif.calibration.label_studio import read_annotations, sheet_answers
    from rlaif.calibration.sheet import read_sheet

    if columns is not None:
        raise InputError("a column map is for files of labels, and --sheet is about tasks", fix="leave one of them out")
    sheet = read_sheet(sheet_path)
    given = sheet_answers(read_annotations(file), sheet)
    folder = answers or answers_folder(sheet_path)
    if not dry_run:
        write_answers(sheet, folder, given)
    for name, found in given.items():
        console.print(show_text(f"{name}: {len(found)} of {len(sheet.items)} items answered"))


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; one that is there stays as it is.")],
    format: Annotated[
        LabelFormat,
        typer.Option(
            "--format",
            help="jsonl, csv: a row per label, as --human-labels reads it. preferences: prompt, chosen and rejected as "
            "JSONL, as TRL and `datasets` read it, without ties. reward-bench: rows for `rlaif reward-bench`, without "
            "ties; the subset is the principle, or overall. label-studio: tasks of the sheet that --sheet names, "
            "with the answers so far, and the labelling interface beside them as .xml.",
        ),
    ] = "jsonl",
    labels: Annotated[
        Literal["all", "drawn", "imported", "edit-tests"],
        typer.Option(
            "--labels",
            help="drawn: labels with a probability. imported: labels without one. Both kinds go into no file together. "
            "edit-tests: labels of `constitution test` and `judge-check --against`, most of them on pairs that the "
            "edit changes; they tell nothing of agreement.",
        ),
    ] = "all",
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="SHEET",
            help="With label-studio: the sheet to make tasks of. Else: export its labels alone.",
        ),
    ] = None,
    answers: AnswersOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
) -> None:
    """The labels of a run as a file, to train with, or to use elsewhere."""
    if format == "label-studio" and sheet is None:
        raise InputError("label-studio makes tasks of a sheet, and none is given", fix="add --sheet SHEET")
    if answers is not None and format != "label-studio":
        raise InputError("--answers is about the tasks of a sheet", fix="leave it out, or add --format label-studio")
    if sheet is not None and labels == "edit-tests":
        raise InputError("--sheet names a draw, and --labels edit-tests are of no draw", fix="leave one of them out")
    if out.exists() or out.is_symlink():
        raise InputError("there is a file of this name already", where=str(out), fix="name a new file")
    if format == "label-studio" and sheet is not None:
        _export_tasks(out, sheet, answers=answers)
    else:
        _export_labels(out, format, labels, sheet=sheet, run=run, runs_dir=runs_dir)


def _export_tasks(out: Path, sheet_path: Path, *, answers: Path | None) -> None:
    import json

    from rlaif.calibration.answer_file import answers_folder, read_all_answers
    from rlaif.calibration.label_studio import CONFIG, make_tasks
    from rlaif.calibration.sheet import read_sheet
    from rlaif.files.atomic import write_atomically

    interface = out.with_suffix(".xml")
    if interface.exists() or interface == out:
        raise InputError("the interface would be written here", where=str(interface), fix="name another file")
    sheet = read_sheet(sheet_path)
    tasks = make_tasks(sheet, read_all_answers(sheet, answers or answers_folder(sheet_path)))
    write_atomically(out, json.dumps(tasks, indent=1, ensure_ascii=False) + "\n")
    write_atomically(interface, CONFIG)
    console.print(show_text(f"{len(tasks)} tasks in {out}; their labelling interface is {interface}"))


def _export_labels(
    out: Path,
    format: LabelFormat,
    which: Literal["all", "drawn", "imported", "edit-tests"],
    *,
    sheet: Path | None,
    run: str | None,
    runs_dir: Path,
) -> None:
    from rlaif.calibration.label_rows import (
        as_csv,
        as_jsonl,
        choose_labels,
        labelled_bench_rows,
        own_rows,
        preference_rows,
    )
    from rlaif.files.atomic import write_atomically
    from rlaif.loop.spot_labels import read_run_labels

    found = read_run_labels(runs_dir=runs_dir, run=run, which=which, sheet=sheet)
    chosen = choose_labels(found.labels, which=which)
    if format in ("preferences", "reward-bench"):
        make_rows = preference_rows if format == "preferences" else labelled_bench_rows
        rows, tally = make_rows(chosen, prompts=found.prompts, samples=found.samples)
        if not rows:
            raise InputError(f"no label says which reply is better: {tally}", fix="export --format jsonl")
        write_atomically(out, as_jsonl(rows))
        console.print(show_text(f"labels: {tally}; {len(rows)} rows in {out}"))
        return
    own = own_rows(chosen)
    write_atomically(out, as_csv(own) if format == "csv" else as_jsonl(own))
    console.print(show_text(f"{len(own)} labels in {out}; to train with them: rlaif train --human-labels {out}"))
