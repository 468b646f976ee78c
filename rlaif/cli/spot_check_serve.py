"""`rlaif spot-check serve`: the labelling page in a browser, for one annotator or several.

Parses options, opens the server, prints the addresses. Opens the sheet and files of answers, and no ledger.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rlaif.cli.spot_check import AnswersOption, SheetArgument
from rlaif.console import console, show_text

PORT = 8730


def serve_sheet(
    sheet: SheetArgument,
    annotators: Annotated[
        list[str],
        typer.Option(
            "--as",
            metavar="NAME",
            help="Annotator, under whose name the answers are kept; may be repeated. Each has an address that opens "
            "their own answers alone.",
        ),
    ],
    answers: AnswersOption = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Name or number by which the annotators' browsers reach this machine. Other than this machine itself, "
            "only on a network that you trust: what is sent is not encrypted.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0: any free one.")] = PORT,
) -> None:
    """Label in a browser: a page with the same keys as `label`, for each annotator under an address that is theirs.

    Needs the sheet alone: no run and no ledger. Every choice is saved at once. Ctrl-C ends the server; start it again
    to continue, with new addresses.
    """
    from rlaif.audit.web.server import require_installed
    from rlaif.calibration.answer_file import answers_folder, check_annotator

    require_installed()
    from rlaif.audit.web.label_server import open_labelling

    names = tuple(dict.fromkeys(map(check_annotator, annotators)))
    folder = answers or answers_folder(sheet)
    with open_labelling(sheet, answers=folder, annotators=names, host=host, port=port) as labelling:
        num_items = len(labelling.desk.sheet.items)
        console.print(show_text(f"{sheet}: {num_items} items, answers in {folder}. Ctrl-C ends the server."))
        for token, name in labelling.door.people.items():
            console.print(show_text(f"{name}: {labelling.door.address(token)}"))
        sys.stdout.flush()
        try:
            labelling.answer()
        except KeyboardInterrupt:  # how a server ends: all choices are on the disk
            console.print(show_text("ended; every choice is saved"))
