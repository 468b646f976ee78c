"""`rlaif audit list, show, verify`: find decisions, open one in full, check that none was changed.

Parses options, asks `rlaif.audit`, prints. Writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from rlaif.cli.audit_print import passing_over, print_facts, print_line, print_listing, print_proof, print_section
from rlaif.cli.options import RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError, LedgerError

if TYPE_CHECKING:
    from rlaif.audit.decision import DecisionView
    from rlaif.audit.label import LabelView
    from rlaif.audit.ledger_file import VerifiedLedger

audit_app = typer.Typer(
    no_args_is_help=True, help="Open the ledger: every decision of the judge, and whether it still stands."
)

UsedByOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only what this run used.")]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="The ledger's file, where it is not that of the runs.")
]
BREAKS_SHOWN = 20


@audit_app.command("list")
def list_(
    run: UsedByOption = None,
    principle: Annotated[
        str | None, typer.Option("--principle", metavar="ID", help="Only decisions under this principle.")
    ] = None,
    verdict: Annotated[
        Literal["first", "second", "tie"] | None, typer.Option("--verdict", help="Only this verdict.")
    ] = None,
    flipped: Annotated[
        bool, typer.Option("--flipped", help="Only pairs whose two orders named different winners.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only answers that could not be used.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Lines of one page.")] = 20,
    after: Annotated[
        int,
        typer.Option(
            "--after", metavar="KEY", min=0, max=2**63 - 1, help="Continue after this key, which the last page names."
        ),
    ] = 0,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """List judgements; with --flipped the pairs that the order decided, with --failed the failed answers."""
    from rlaif.audit.ledger_file import find_damaged, open_to_read
    from rlaif.audit.listing import list_decisions, refuse_unknown_run

    if failed and (flipped or verdict):
        raise InputError("--failed goes with neither --verdict nor --flipped", fix="a failed answer has no verdict")
    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        found = list_decisions(
            opened, "flipped" if flipped else "failed" if failed else "judgements",
            principle=principle, verdict=verdict, run=run, after=after, limit=limit,
        )  # fmt: skip
        if not found.rows and ledger is not None:
            refuse_unknown_run(opened, run)
        print_listing(found)


@audit_app.command("show")
def show(
    id: Annotated[str, typer.Argument(help="Id of a preference, comparison, judgement or question, or how it begins.")],
    run: UsedByOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """One decision in full: the exact prompt, both orders, reasons, log-probabilities, digests.

    For a preference, such as the id of a row of the data set: each comparison behind its label, what it counted as.
    """
    from rlaif.audit.decision import DecisionView, find_view
    from rlaif.audit.ledger_file import find_damaged, open_to_read

    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        view = find_view(opened, id)
        if isinstance(view, DecisionView):
            _print_decision(view)
        else:
            _print_label(view)


@audit_app.command("verify")
def verify(
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Compare with this run's printed heads alone.")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="HEX",
            help="Compare with this head too, all 64 digits of it, as a model's card or a report prints it: the rows "
            "that it covers are proven. May be given several times.",
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Check every row of the ledger against the chain, and the chain against the heads that were printed of it.

    Heads are read from the manifests, cards and reports of the runs, and from --head. Exit code 1 if anything was
    changed, removed, reordered or cut off; the places are named.
    """
    from rlaif.audit.ledger_file import find_damaged, verify_file

    with passing_over(find_damaged(runs_dir, with_manifests=False) if run is None else []):
        verified = verify_file(runs_dir, run=run, ledger=ledger, given=head or ())
        _print_given(verified)
        if not verified.problems:
            _print_verified(verified)
            return
        for found in verified.problems[:BREAKS_SHOWN]:
            console.print(show_text(str(found)))
        if len(verified.problems) > BREAKS_SHOWN:
            console.print(show_text(f"and {len(verified.problems) - BREAKS_SHOWN} more"))
        _refuse(verified)


def _print_given(verified: VerifiedLedger) -> None:
    """Print how many rows each head of the user covers."""
    total = verified.verification.rows
    for head, found in verified.given.items():
        covered = f"it covers {found.seq} of {total} rows, {found.num_judgements} judgements among them"
        console.print(show_text(f"head {head}: row {found.seq}, {covered}"))


def _print_verified(verified: VerifiedLedger) -> None:
    rows, head, num_heads = verified.verification.rows, verified.verification.head, verified.num_heads
    console.print(show_text(f"{verified.path}: {rows} rows, unbroken"))
    console.print(show_text(f"head {head.seq} {head.hex}"))
    if total := num_heads.total():
        where = ", ".join(f"{kind} {count}" for kind, count in num_heads.items())
        console.print(show_text(f"{total} head{'s' * (total > 1)} printed in {where}: as printed"))
    else:
        console.print(show_text("no manifest holds a head of it: rows cut off at its end would not show"))


def _refuse(verified: VerifiedLedger) -> NoReturn:
    """One sentence about the first problem: the ledger itself, a head that it does not have, or a file of a run."""
    first, where = verified.problems[0], str(verified.path)
    if not verified.verification.breaks:
        raise LedgerError(
            f"the ledger verifies, and what was printed of it does not, first at {first}",
            where=where,
            fix="restore that file from a copy; give the head of a copy you trust by --head",
        )
    raise LedgerError(
        f"the ledger does not verify, first at {first}",
        where=where,
        fix="restore what was changed from a copy; what was computed from changed rows cannot be relied on",
    )


def _print_decision(view: DecisionView) -> None:
    print_section(view.head)
    for order in view.orders:
        print_line("")
        print_section(order.section)
        print_proof(order.proof)
    print_facts(view.labels)


def _print_label(view: LabelView) -> None:
    print_section(view.head)
    for section in view.comparisons:
        print_line("")
        print_section(section)
    print_facts(view.people)
    print_line("")
    print_facts(view.steps)
    print_facts(view.uses)
