"""`rlaif audit report, export`: decisions as one HTML page for a colleague, or as a file for other programs.

Parses options, asks `rlaif.audit`, writes one new file. Changes nothing that is there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from rlaif.cli.audit_print import passing_over, print_line
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import show_text
from rlaif.errors import InputError

PrincipleOption = Annotated[
    str | None, typer.Option("--principle", metavar="ID", help="Only comparisons under this principle.")
]
VerdictOption = Annotated[
    Literal["first", "second", "tie"] | None, typer.Option("--verdict", help="Only what was decided so.")
]
FlippedOption = Annotated[bool, typer.Option("--flipped", help="Only pairs whose two orders named different winners.")]
UsedByOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only what this run used.")]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The new file; one that is there is refused.", show_default=False)
]


def report(
    out: OutOption,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Ids of comparisons, judgements, questions or preferences, or how they begin. None: those that pass "
            "the filters.",
            show_default=False,
        ),
    ] = None,
    principle: PrincipleOption = None,
    verdict: VerdictOption = None,
    flipped: FlippedOption = False,
    run: UsedByOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Most decisions of the page.")] = 20,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Write decisions as one static HTML page: no script, nothing loaded, light and dark.

    For each: conversation and replies, both orders with reason and proven prompt, how its label came about, and what
    was made of it. The page names the ledger's head.
    """
    from rlaif.audit.decision_page import collect_page, render_page
    from rlaif.audit.decision_rows import Filter
    from rlaif.audit.influence import find_test_fraction
    from rlaif.audit.ledger_file import find_damaged, open_to_read
    from rlaif.calibration.artifact import refuse_existing
    from rlaif.files.atomic import utc_now, write_atomically

    if ids and (principle or verdict or flipped):
        raise InputError("ids and filters do not go together", fix="give either")
    refuse_existing(out)
    filter = Filter(principle, verdict, True if flipped else None, run)
    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        page = collect_page(
            opened, ids or [], filter, limit=limit, at=utc_now(), find_fraction=partial(find_test_fraction, runs_dir)
        )
        write_atomically(out, render_page(page).encode("utf-8", "backslashreplace"))
        more = f"; more pass the filter than --limit {limit}" if page.num_left else ""
        print_line(show_text(f"{len(page.screens)} decisions in {out}{more}"))


def export_decisions(
    out: OutOption,
    format: Annotated[
        Literal["annotated-pairs", "csv", "jsonl", "parquet", "reward-bench"],
        typer.Option(
            "--format",
            help="annotated-pairs: version 2.0, as feedback-forensics reads it, with an annotator for each principle "
            "and person. reward-bench: labels of pairs as rows for `rlaif reward-bench`; with --run the subset says "
            "which prompts that run holds out. The others: a row for each comparison.",
            show_default=False,
        ),
    ],
    principle: PrincipleOption = None,
    verdict: VerdictOption = None,
    flipped: FlippedOption = False,
    run: UsedByOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Write the comparisons that pass the filters, with their texts, to a file that other programs read."""
    from rlaif.audit.decision_rows import Filter, read_rows
    from rlaif.audit.export import export_rows
    from rlaif.audit.influence import find_test_fraction
    from rlaif.audit.ledger_file import find_damaged, open_to_read
    from rlaif.calibration.artifact import refuse_existing
    from rlaif.files.atomic import utc_now, write_atomically

    refuse_existing(out)
    filter = Filter(principle, verdict, True if flipped else None, run)
    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        found = read_rows(opened, filter)
        fraction = find_test_fraction(runs_dir, run) if run is not None and format == "reward-bench" else None
        exported = export_rows(found, format=format, at=utc_now(), test_fraction=fraction)
        write_atomically(out, exported.data)
        what = "pairs" if format in ("annotated-pairs", "reward-bench") else "comparisons"
        ties = f"; {exported.num_ties} ties left out, which the format does not have" if exported.num_ties else ""
        none = f"; {exported.num_unlabelled} comparisons without a label left out" if exported.num_unlabelled else ""
        print_line(show_text(f"{exported.num_rows} {what} in {out}, {filter.describe()}{ties}{none}"))
        print_line(show_text(f"head {found.head.seq} {found.head.hex}"))
