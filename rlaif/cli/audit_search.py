"""`rlaif audit search`: decisions by any filter and by words in their texts.

Parses options, brings the index up to date, prints a page. Writes nothing but the index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlaif.cli.audit import UsedByOption
from rlaif.cli.audit_print import passing_over, print_listing
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import Progress


def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words in prompt, replies or reason: all of them.")] = None,
    principle: Annotated[str | None, typer.Option("--principle", metavar="ID", help="Under this principle.")] = None,
    people: Annotated[
        Literal["agree", "disagree", "tie"] | None, typer.Option("--people", help="What people's labels say of it.")
    ] = None,
    sureness: Annotated[
        Literal["50-60", "60-75", "75-90", "90-100"] | None,
        typer.Option("--sureness", help="The winner's probability, in percent."),
    ] = None,
    longer: Annotated[
        Literal["longer", "shorter"] | None, typer.Option("--winner", help="Whether the winner is the longer reply.")
    ] = None,
    flipped: Annotated[
        Literal["yes", "no"] | None, typer.Option("--flipped", help="Whether it changes with the order.")
    ] = None,
    round: Annotated[int | None, typer.Option("--round", min=0, help="In this round of a run.")] = None,
    judge: Annotated[str | None, typer.Option("--judge", metavar="ID", help="By the judge of this model id.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", help="Asked in this mode.")] = None,
    queue: Annotated[
        Literal["edit-flips", "order-flips", "judges-apart", "low-mass", "unsure", "reward-model", "reasons"] | None,
        typer.Option("--queue", help="With this sign that the judge may be wrong."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Lines of one page.")] = 20,
    after: Annotated[
        int, typer.Option("--after", metavar="KEY", min=0, max=2**63 - 1, help="Continue after this key.")
    ] = 0,
    run: UsedByOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Find decisions by words in their texts, and by what the judge and people said of them.

    The first search makes an index beside the ledger, and later ones bring it up to date.
    """
    from rlaif.audit.ledger_file import find_damaged, open_to_read
    from rlaif.audit.search import Search, check_search, find_decisions
    from rlaif.audit.search_index import count_new, update_index

    wanted = Search(
        text=" ".join(words or ()),
        principle=principle or "",
        people=people or "",
        sureness=sureness or "",
        longer=longer or "",
        flipped=flipped or "",
        run=run or "",
        round="" if round is None else str(round),
        judge=judge or "",
        mode=mode or "",
        queue=queue or "",
    )
    check_search(wanted)
    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        num_new = count_new(opened)
        with Progress("index" if num_new else "", num_new, unit="decisions") as progress:
            update_index(opened, runs_dir=runs_dir, report=progress.advance)
        print_listing(find_decisions(opened, wanted, after=after, limit=limit).listing)
