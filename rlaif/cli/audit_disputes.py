"""`rlaif audit disputes, dispute`: what people say of decisions, listed; and one more word on one of them.

Parses options, asks `rlaif.audit.disputes`, prints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rlaif.cli.audit_print import passing_over, print_line, print_listing
from rlaif.cli.audit_serve import own_name
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import show_text

SaysChoice = Literal["right", "wrong", "unclear"]
ReasonChoice = Literal["ignored", "backwards", "length", "style", "injection", "fact", "other"]
RunOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Whose ledger. [default: the newest]")]


def disputes(
    says: Annotated[SaysChoice | None, typer.Option("--says", help="Only those that say this of the judge.")] = None,
    reason: Annotated[ReasonChoice | None, typer.Option("--reason", help="Only those with this reason.")] = None,
    principle: Annotated[
        str | None, typer.Option("--principle", metavar="ID", help="Only about decisions under this principle.")
    ] = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List what people said of decisions: each author's last word on each, the newest first.

    Ends with how often each principle's decisions are called right, wrong or unclear: those to rewrite come first.
    """
    from rlaif.audit.disputes import Asked, count_disputed, describe_counts, list_disputes, list_lines
    from rlaif.audit.ledger_file import find_damaged, open_to_read

    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over([] if as_json else damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        asked = Asked(says or "", reason or "", principle or "")
        rows, counts = list_disputes(opened, asked).rows, count_disputed(opened, asked)
    if as_json:
        typer.echo(json.dumps({"disputes": [_as_json(row) for row in rows], "principles": counts}, indent=1))
        return
    print_listing(list_lines(rows))
    for line in describe_counts(counts):
        print_line(show_text(line))


def _as_json(row: Any) -> dict[str, Any]:
    principle = None if row.comparison is None else row.comparison.principle.id
    return {"id": row.dispute.id, "principle": principle, **row.dispute.model_dump(mode="json")}


def dispute(
    id: Annotated[str, typer.Argument(help="Id of a comparison, judgement, question or preference, or how it begins.")],
    says: Annotated[SaysChoice, typer.Argument(help="Whether the judge was right.")],
    reason: Annotated[
        ReasonChoice | None,
        typer.Option(
            "--reason",
            help="Why it was wrong. ignored: the principle was. backwards: it was read so. length, style: they "
            "decided. injection: a reply spoke to the judge. fact: a statement was taken for true, or for false.",
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="A note of at most 2000 characters.")] = "",
    author: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who says it. [default: your login name]")
    ] = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Say whether the judge decided a pair rightly; see it first by `rlaif audit show ID`.

    Kept in the ledger with your name, the time and the chain's head. It changes no label: for labels that count, have
    pairs labelled blind.
    """
    from rlaif.audit.disputes import add_dispute
    from rlaif.audit.ledger_file import open_to_write

    with open_to_write(runs_dir, run=run, ledger=ledger) as opened:
        made = add_dispute(
            opened, id, author=author or own_name(), says=says, reason=reason or "", note=note, seen=opened.head()
        )
    why = f", {made.reason}" if made.reason else ""
    print_line(show_text(f"{made.author}: the judge was {made.says}{why}, on {made.comparison_id}"))
