"""`rlaif calibrate`: people's labels of a run's pairs -> a calibration of its judge, as a file for other runs.

Parses options, asks `rlaif.preferences.stage`, prints. Loads no model and asks no judge.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.agreement import print_agreement
from rlaif.cli.options import LabelColumnsOption, RunOption, RunsDirOption
from rlaif.console import console, show_text


def calibrate(
    labels: Annotated[
        str, typer.Argument(metavar="LABELS", help="People's labels (JSONL, CSV, Parquet).", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="New file for the calibration; one that is there is never replaced."),
    ] = Path("calibration.json"),
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    label_columns: LabelColumnsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print agreement and calibration as JSON.")] = False,
) -> None:
    """People's labels of a judged run -> agreement, and a calibration that `human.calibration` applies.

    The calibration is bound to the digests of judge, template and constitution, and refused where one of them changed.
    """
    from rlaif.calibration.artifact import refuse_existing
    from rlaif.config.calibration import HumanConfig
    from rlaif.run.folder import open_run

    refuse_existing(out)
    open_run(runs_dir, run)  # a run that is not there costs no import of torch
    config = HumanConfig(path=labels, columns=None if label_columns is None else str(label_columns))
    from rlaif.calibration.mix import describe_calibration
    from rlaif.preferences.stage import calibrate_run

    fitted = calibrate_run(config, run=run, runs_dir=runs_dir, out=out)
    if as_json:
        both = {
            "calibration": fitted.file.model_dump(mode="json"),
            "agreement": fitted.agreement.model_dump(mode="json"),
        }
        typer.echo(json.dumps(both, indent=2))
        return
    print_agreement(fitted.agreement)
    for line in describe_calibration(fitted.file.card, labels=fitted.labels):
        console.print(show_text(line))
    applied = f"human.calibration={out}"
    console.print(show_text(f"calibration of run {fitted.file.run} in {out}; to apply it: {applied}"))
