"""`rlaif spot-check draw, label, status`: people say which of two replies is better.

Parses options, calls one function, prints its result. Only the owner's commands open the ledger; `label` does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rlaif.cli.options import RunOption, RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.calibration.spot_check import Queued
    from rlaif.loop.spot_draw import DrawnSheet

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


@spot_check_app.command("draw")
def draw(
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="The file to write, for the annotators.")],
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run", metavar="NAME", help="Run to draw from, all of its rounds; may be repeated. [default: the newest]"
        ),
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, max=100_000, help="How many items to draw.")] = 60,
    principle: Annotated[
        list[str] | None,
        typer.Option(
            "--principle",
            metavar="ID",
            help="Ask about this principle alone; may be repeated, and each item is then about one of them. "
            "[default: about the replies as a whole]",
        ),
    ] = None,
    focus: Annotated[
        bool,
        typer.Option(
            "--focus",
            help="Draw pairs more often on which the judge is unsure, flips with the order or differs from another "
            "judge: more errors are found. Every pair can still be drawn, and the probabilities are kept.",
        ),
    ] = False,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Draw pairs of this queue more often, and a third of the items from all pairs alike: edit-flips, "
            "order-flips, judges-apart, low-mass, unsure, reward-model or reasons. Annotators may see why an item was "
            "asked about once they have answered all of them.",
        ),
    ] = None,
    max_ratio: Annotated[
        float,
        typer.Option(
            "--max-ratio",
            min=1,
            max=100,
            help="With --focus: the largest probability over the smallest. Above 3 intervals widen.",
        ),
    ] = 3.0,
    guideline: Annotated[
        Path | None,
        typer.Option(
            "--guideline",
            metavar="FILE",
            help="Text that says how to decide, shown beside every item. [default: made of the principles]",
        ),
    ] = None,
    evaluation: Annotated[
        bool,
        typer.Option(
            "--evaluation",
            help="Draw from the newest evaluation: a response of the trained policy beside one of its start. "
            "`rlaif evaluate --resume` then shows the win rate as people would give it, and nothing is trained on it.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of the draw.")] = 0,
    runs_dir: RunsDirOption = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be drawn from what, and write nothing.")
    ] = False,
) -> None:
    """Draw pairs for people to label, and write them to a sheet that says nothing of the judge.

    What stands behind an item, its samples, stratum and probability, is kept in the ledger. Strata are the judge's
    sureness, the principle, order flips and judges who differ. Items of earlier draws are left out.
    """
    from rlaif.calibration.sheet import refuse_taken
    from rlaif.calibration.spot_check import NO_QUEUE
    from rlaif.calibration.why_asked import why_path
    from rlaif.run.folder import open_run

    if focus and queue is not None:
        raise InputError("--focus and --queue are two designs", fix="leave one of them out")
    refuse_taken(sheet)
    if queue is not None:
        refuse_taken(why_path(sheet))
    newest: list[str | None] = [None]
    for name in run or newest:
        open_run(runs_dir, name)  # what is not there costs no import of torch
    from rlaif.loop.spot_draw import Wanted, draw_sheet

    queued = (
        NO_QUEUE
        if queue is None
        else _find_queued(queue, runs_dir=runs_dir, run=run[0] if run else None, dry_run=dry_run)
    )
    wanted = Wanted(
        size=items, seed=seed, design="queue" if queue is not None else "focus" if focus else "even",
        max_ratio=max_ratio, principles=tuple(dict.fromkeys(principle or ())), guideline=guideline,
        is_evaluation=evaluation, queued=queued,
    )  # fmt: skip
    _print_draw(draw_sheet(run or [], sheet, runs_dir=runs_dir, wanted=wanted, dry_run=dry_run))
    if dry_run:
        console.print(show_text("dry run: nothing was written"))
    elif queue is not None:
        console.print(
            show_text(
                f"{sheet}: give it to people, with {why_path(sheet).name} beside it, which is opened for those who "
                f"have answered all of it; they run `rlaif spot-check label {sheet} --as NAME`"
            )
        )
    else:
        console.print(show_text(f"{sheet}: give it to people, who run `rlaif spot-check label {sheet} --as NAME`"))


def _find_queued(name: str, *, runs_dir: Path, run: str | None, dry_run: bool) -> Queued:
    """The pairs of a queue, after the search index was brought up to date; a dry run takes it as it is."""
    from rlaif.audit.ledger_file import open_to_read
    from rlaif.audit.queue_index import QUEUES
    from rlaif.audit.queues import find_queued, refuse_no_queue
    from rlaif.audit.search_index import update_index
    from rlaif.calibration.spot_check import Queued

    refuse_no_queue(name)
    with open_to_read(runs_dir, run=run, ledger=None) as ledger:
        if not dry_run:
            update_index(ledger, runs_dir=runs_dir)
        return Queued(name, find_queued(ledger, name), sign=QUEUES[name].sign)


def _print_draw(drawn: DrawnSheet) -> None:
    table = Table("stratum", "drawn", "of", box=None, pad_edge=False, header_style="bold")
    for name, (taken, of) in drawn.draw.by_stratum.items():
        table.add_row(*map(show_text, (name, str(taken), str(of))))
    console.print(table, soft_wrap=False)
    found = [item.inclusion_probability for item in drawn.draw.items]
    runs = ", ".join(drawn.runs)
    console.print(show_text(f"run {runs}: {drawn.tally} items that could be drawn"))
    between = f"{min(found):.4f}" if min(found) == max(found) else f"{min(found):.4f} to {max(found):.4f}"
    console.print(show_text(f"drawn {len(found)} of {drawn.draw.num_frame}, each with a probability of {between}"))
    if drawn.tally.dropped.get("already_drawn"):
        console.print(
            show_text("items of earlier draws are left out: these probabilities are about the items that remained")
        )


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
    from rlaif.calibration.answer_file import answers_folder, open_answers
    from rlaif.calibration.sheet import read_sheet
    from rlaif.cli.labelling import label_at_terminal

    read = read_sheet(sheet)
    folder = answers or answers_folder(sheet)
    with open_answers(read, folder, annotator=annotator) as opened:
        label_at_terminal(opened, sheet=sheet)
        num_done, num_items = len(opened.state.answers), len(read.items)
    left = "" if num_done == num_items else f"; run the same command again for the other {num_items - num_done}"
    console.print(show_text(f"\n{num_done} of {num_items} items have an answer, all saved in {folder}{left}"))


@spot_check_app.command("status")
def status(
    sheet: SheetArgument,
    answers: AnswersOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="The ledger's file, where it is not that of the runs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count the answers, store nothing.")] = False,
) -> None:
    """For the owner: take the answers to a sheet into the ledger, and see how far people and judge agree.

    May be run at any time and as often as you like. Annotators should not see it: what it says would steer them.
    """
    from rlaif.calibration.so_far_words import describe_agreement, describe_progress
    from rlaif.loop.spot_labels import check_sheet

    found = check_sheet(sheet, answers=answers, runs_dir=runs_dir, run=run, ledger=ledger, dry_run=dry_run)
    progress = describe_progress(found.check, found.taken_in, found.so_far)
    for line in (*progress, *describe_agreement(found.so_far)):
        console.print(show_text(line))
    if found.check.is_evaluation:
        console.print(show_text("run `rlaif evaluate --resume` for the win rate as people would give it"))
    if dry_run:
        console.print(show_text("dry run: nothing was stored"))
