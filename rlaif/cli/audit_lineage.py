"""`rlaif audit lineage`: from a model back to its judgements, and from a principle or a decision on to the models.

Parses options, asks `rlaif.audit`, prints facts or JSON. Writes nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.audit_print import passing_over, print_sections
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.audit.influence import Influence
    from rlaif.audit.lineage import Lineage
    from rlaif.ledger.store import Ledger


def lineage(
    model_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL_DIR]",
            help="Folder of a reward model or of a trained policy, in its run or a copy of it.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="NAME", help="Without MODEL_DIR: the run to trace back."),
    ] = None,
    round: Annotated[
        int | None,
        typer.Option("--round", min=0, max=10**6, help="Without MODEL_DIR: up to this round. [default: the newest]"),
    ] = None,
    principle: Annotated[
        str | None,
        typer.Option("--principle", metavar="ID", help="The other way: all that was made of decisions under this one."),
    ] = None,
    decision: Annotated[
        str | None,
        typer.Option(
            "--decision",
            metavar="ID",
            help="The other way: all that was made of this comparison, judgement, question or preference.",
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """What a model was made of, or what was made of a principle or a decision.

    Back from MODEL_DIR (or --run) to rounds, preferences, judgements, judges, constitution and prompts; forward from
    --principle or --decision to preferences, their splits, reward models and policies. With the ledger's head.
    """
    if sum(part is not None for part in (model_dir, principle, decision)) > 1 or (model_dir and run):
        raise InputError("give one of MODEL_DIR, --run, --principle and --decision", fix="leave the others out")
    if round is not None and (model_dir or principle or decision):
        raise InputError("--round goes with --run alone", fix="leave it out")
    from rlaif.audit.ledger_file import find_damaged, open_to_read
    from rlaif.audit.lineage import find_place

    place = None if model_dir is None else find_place(model_dir)
    if place is not None and ledger is None:
        runs_dir, run = place.run.path.parent, place.run.name
    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        if principle is not None or decision is not None:
            _print_influence(_follow(opened, principle, decision, runs_dir=runs_dir), as_json=as_json)
        else:
            _print_lineage(_trace(opened, model_dir, run=run, round=round, runs_dir=runs_dir), as_json=as_json)


def _trace(opened: Ledger, model_dir: Path | None, *, run: str | None, round: int | None, runs_dir: Path) -> Lineage:
    from rlaif.audit.lineage import trace_model, trace_round
    from rlaif.run.folder import open_run

    if model_dir is not None:
        return trace_model(opened, model_dir)
    return trace_round(opened, run or open_run(runs_dir, None).name, round)


def _follow(opened: Ledger, principle: str | None, decision: str | None, *, runs_dir: Path) -> Influence:
    from rlaif.audit.influence import find_test_fraction, follow_decision, follow_principle

    find_fraction = partial(find_test_fraction, runs_dir)
    if principle is not None:
        return follow_principle(opened, principle, find_fraction=find_fraction)
    return follow_decision(opened, decision or "", find_fraction=find_fraction)


def _print_lineage(found: Lineage, *, as_json: bool) -> None:
    from rlaif.audit.lineage_view import lineage_view

    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_sections(lineage_view(found))


def _print_influence(found: Influence, *, as_json: bool) -> None:
    from rlaif.audit.lineage_view import influence_view

    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_sections(influence_view(found))
