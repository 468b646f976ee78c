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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlaif.calibration.so_far import SoFar
    from rlaif.loop.spot_draw import DrawnSheet
    from rlaif.loop.spot_labels import SheetStatus
    from rlaif.records import Estimate

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
    from rlaif.run.folder import open_run

    refuse_taken(sheet)
    newest: list[str | None] = [None]
    for name in run or newest:
        open_run(runs_dir, name)  # what is not there costs no import of torch
    from rlaif.loop.spot_draw import Wanted, draw_sheet

    wanted = Wanted(
        size=items, seed=seed, design="focus" if focus else "even", max_ratio=max_ratio,
        principles=tuple(dict.fromkeys(principle or ())), guideline=guideline, is_evaluation=evaluation,
    )  # fmt: skip
    _print_draw(draw_sheet(run or [], sheet, runs_dir=runs_dir, wanted=wanted, dry_run=dry_run))
    if dry_run:
        console.print(show_text("dry run: nothing was written"))
    else:
        console.print(show_text(f"{sheet}: give it to people, who run `rlaif spot-check label {sheet} --as NAME`"))


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
        label_at_terminal(opened)
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
    from rlaif.loop.spot_labels import check_sheet

    found = check_sheet(sheet, answers=answers, runs_dir=runs_dir, run=run, ledger=ledger, dry_run=dry_run)
    for line in (*_describe_progress(found), *_describe_agreement(found.so_far)):
        console.print(show_text(line))
    if found.check.is_evaluation:
        console.print(show_text("run `rlaif evaluate --resume` for the win rate as people would give it"))
    if dry_run:
        console.print(show_text("dry run: nothing was stored"))


def _describe_progress(found: SheetStatus) -> Iterator[str]:
    so_far, taken = found.so_far, found.taken_in
    yield f"sheet {found.check.sheet_id[:12]} of run {', '.join(found.check.runs)}: {so_far.num_items} items"
    for one in so_far.annotators:
        unclear = f", {one.num_unclear} of them unclear" if one.num_unclear else ""
        skipped = f", {one.num_skipped} skipped for later" if one.num_skipped else ""
        yield f"{one.name}: {one.num_answered} answered{unclear}{skipped}"
    if not so_far.annotators:
        yield "nobody has begun"
    changes = [
        f"{number} {what}"
        for number, what in ((taken.num_overridden, "overridden"), (taken.num_withdrawn, "withdrawn"))
        if number
    ]
    yield f"labels: {len(taken.labels)}, {taken.num_new} of them new{''.join(f', {one}' for one in changes)}"


def _describe_agreement(so_far: SoFar) -> Iterator[str]:
    if so_far.agreement is None:
        return
    weighted = (
        "a tie counts as half an agreement, and each label 1 / its probability, so this is about all pairs that "
        "could be drawn"
    )
    share = f"judge and people agree on {so_far.agreement:.1%} of {so_far.num_labelled} items"
    if so_far.interval is not None:
        yield f"{share} {_format_interval(so_far.interval, unit='items')}; {weighted}"
    else:
        yield f"{share} so far; {weighted}"
    if so_far.bounds is not None:
        yield (
            f"certain by now (95 %, whenever you look or stop): from {so_far.bounds.low:.1%} to "
            f"{so_far.bounds.high:.1%}; items without a label count against both ends. A narrower interval is given "
            "when every annotator has answered every item"
        )
    if any(one.num_unclear for one in so_far.annotators):
        yield "answers that say unclear are no labels: the figures are about the pairs that people could decide"
    if so_far.between_people is not None:
        people = so_far.between_people
        yield f"two people chose the same on {people.mean:.1%} {_format_interval(people, unit='prompts')}"
    yield from _describe_remaining(so_far)


def _format_interval(estimate: Estimate, *, unit: str) -> str:
    return f"(95 % interval {estimate.low:.1%} to {estimate.high:.1%}, n {estimate.n} {unit})"


def _describe_remaining(so_far: SoFar) -> Iterator[str]:
    left = so_far.num_items - so_far.num_labelled
    needed = so_far.num_for_half_width
    enough = "" if needed is None else f"; for an interval of +- 10 points about {needed} labels are needed in all"
    yield f"{left} items have no label yet{enough}"
    unclear = sum(one.num_unclear for one in so_far.annotators)
    answered = sum(one.num_answered for one in so_far.annotators)
    if unclear > 0.3 * answered:
        yield f"{unclear} of {answered} answers are unclear: the guideline does not decide"
