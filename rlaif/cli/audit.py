"""`rlaif audit list, show`: find decisions, open one in full. Also the group of all audit commands.

Parses options, asks `rlaif.audit`, prints. Writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rlaif.cli.audit_pack import pack
from rlaif.cli.audit_print import passing_over, print_facts, print_line, print_listing, print_proof, print_section
from rlaif.cli.audit_verify import head, sign_off, verify
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.audit.decision import DecisionView
    from rlaif.audit.label import LabelView

audit_app = typer.Typer(
    no_args_is_help=True, help="Open the ledger: every decision of the judge, and whether it still stands."
)

UsedByOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only what this run used.")]

audit_app.command("verify")(verify)
audit_app.command("head")(head)
audit_app.command("sign-off")(sign_off)
audit_app.command("pack")(pack)


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
