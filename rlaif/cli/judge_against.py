"""`rlaif judge-check --against`: is the judge of another run better, by people's labels?

Calls `rlaif.audit.judge_tests`, prints as `rlaif constitution test` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.constitution_test import describe_pairs, describe_status
from rlaif.console import console, show_text

AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME",
        help="A run whose judge judged the same pairs by the same constitution: people label those on which the two "
        "judges differ, and decide whether its judge is better than that of --run. The first call writes the sheet, "
        "further ones take answers in.",
    ),
]
SheetOption = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE", help="With --against: the sheet. [default: judges-RUN-NAME.json]"),
]
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers", metavar="FOLDER", help="With --against: folder of the answers. [default: beside the sheet]"
    ),
]


def check_against(run: str | None, *, against: str, sheet: Path | None, answers: Path | None, runs_dir: Path) -> None:
    """Begin the test of the two judges, or take its answers in, and print where it stands."""
    from rlaif.run.folder import open_run

    for name in (run, against):
        open_run(runs_dir, name)  # what is not there costs no import of torch
    from rlaif.audit.judge_tests import Begun, compare_judges

    found = compare_judges(run=run, against=against, sheet=sheet, answers=answers, runs_dir=runs_dir)
    if isinstance(found, Begun):
        lines = [
            *describe_pairs(found.test),
            f"{found.sheet_path}: {found.test.budget} items; give it to people, who run "
            f"`rlaif spot-check label {found.sheet_path} --as NAME`",
            "then run this command again, as often as you like: it takes the answers in",
        ]
    else:
        lines = [*describe_status(found)]
    for line in lines:
        console.print(show_text(line))
