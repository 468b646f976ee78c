"""`rlaif spot-check label`: people say which of two replies is better.

Parses options, calls one function, prints its result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.console import console, show_text

spot_check_app = typer.Typer(
    no_args_is_help=True, help="Ask people about a few of the judge's pairs: draw them, label them, use the labels."
)

SheetArgument = Annotated[Path, typer.Argument(metavar="SHEET", help="The sheet, as `spot-check draw` wrote it.")]
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        metavar="FOLDER",
        help="Folder of the answers, a file for each annotator. [default: beside the sheet, SHEET.answers]",
    ),
]


@spot_check_app.command("label")
def label(
    sheet: SheetArgument,
    annotator: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Your name, under which your answers are kept.")
    ],
    answers: AnswersOption = None,
) -> None:
    """Say which of two replies is better, item by item. Run it again to continue.

    Needs the sheet alone: no run and no ledger. Every choice is saved at once, and z takes back the last one. Which
    reply comes first is drawn for each annotator.
    """
    from rlaif.calibration.answers import answers_folder, open_answers
    from rlaif.calibration.sheet import read_sheet
    from rlaif.cli.labelling import label_at_terminal

    read = read_sheet(sheet)
    folder = answers or answers_folder(sheet)
    with open_answers(read, folder, annotator=annotator) as opened:
        label_at_terminal(opened)
        num_done, num_items = len(opened.state.answers), len(read.items)
    left = "" if num_done == num_items else f"; run the same command again for the other {num_items - num_done}"
    console.print(show_text(f"\n{num_done} of {num_items} items have an answer, all saved in {folder}{left}"))
