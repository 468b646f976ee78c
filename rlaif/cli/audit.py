"""`rlaif audit list, show, verify`: find decisions, open one in full, check that none was changed.

Parses options, asks the ledger, prints. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from rlaif.cli.options import RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError, LedgerError, RunFolderError

if TYPE_CHECKING:
    from rlaif.ledger.queries import ComparisonLine, FailureLine, JudgementLine, Page
    from rlaif.ledger.store import Ledger
    from rlaif.run.folder import RunFolder

audit_app = typer.Typer(
    no_args_is_help=True, help="Open the ledger: every decision of the judge, and whether it still stands."
)

UsedByOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only what this run used.")]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="The ledger's file, where it is not that of the runs.")
]
ID_SHOWN = 12
MIN_WIDTHS = {
    "key": 6,
    "judgement": ID_SHOWN,
    "comparison": ID_SHOWN,
    "failed": ID_SHOWN,
    "principle": 12,
    "cause": 10,
}
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
        int, typer.Option("--after", metavar="KEY", min=0, max=2**63 - 1, help="Go on after this key.")
    ] = 0,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """List judgements; with --flipped the pairs that the order decided, with --failed the failed answers."""
    from rlaif.ledger import queries

    if failed and (flipped or verdict):
        raise InputError("--failed goes with neither --verdict nor --flipped", fix="a failed answer has no verdict")
    with _open(runs_dir, run, ledger) as opened:
        if flipped:
            _print_comparisons(
                queries.list_comparisons(
                    opened,
                    principle=principle,
                    verdict=verdict,
                    flipped=True,
                    run=run,
                    after=after,
                    limit=limit,
                )
            )
        elif failed:
            _print_failures(queries.list_failures(opened, principle=principle, run=run, after=after, limit=limit))
        else:
            _print_judgements(
                queries.list_judgements(opened, principle=principle, verdict=verdict, run=run, after=after, limit=limit)
            )


@audit_app.command("show")
def show(
    id: Annotated[str, typer.Argument(help="Id of a preference, comparison, judgement or question, or how it begins.")],
    run: UsedByOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """One decision in full: the exact prompt, both orders, reasons, log-probabilities, digests.

    Of a preference, such as the id of a row of the data set: each comparison behind its label, and what it counted as.
    """
    from rlaif.audit.decision import decision_parts
    from rlaif.audit.label import label_line, label_parts
    from rlaif.ledger.labels import find_label, find_labels_of
    from rlaif.ledger.queries import find_decision

    with _open(runs_dir, run, ledger) as opened:
        if (label := find_label(opened, id)) is not None:
            parts = list(label_parts(label))
        else:
            decision = find_decision(opened, id)
            went_into = [] if decision.comparison is None else find_labels_of(opened, decision.comparison)
            parts = [*decision_parts(decision), *map(label_line, went_into)]
    for part in parts:
        console.print(part, soft_wrap=True)


@audit_app.command("verify")
def verify(
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Compare with this run's printed heads alone.")
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Check every row of the ledger against the chain, and the chain against the heads in manifests.

    Exit code 1 if anything was changed, removed, reordered or cut off; the places are named.
    """
    from rlaif.ledger.store import Ledger
    from rlaif.ledger.verify import verify as verify_ledger

    path = _ledger_path(runs_dir, run, ledger)
    heads = list(_printed_heads(runs_dir, run, path))
    if heads and not path.is_file():
        raise LedgerError("the ledger is gone, and manifests print heads of it", where=str(path), fix="restore it")
    with Ledger.open(path, read_only=True) as opened:
        verification = verify_ledger(opened, heads=heads)
    if verification.ok:
        console.print(Text(f"{path}: {verification.rows} rows, unbroken"))
        console.print(Text(f"head {verification.head.seq} {verification.head.hex}"))
        if heads:
            console.print(Text(f"{len(heads)} head{'s' * (len(heads) > 1)} printed in manifests: as printed"))
        else:
            console.print(Text("no manifest holds a head of it: rows cut off at its end would not show"))
        return
    for found in verification.breaks[:BREAKS_SHOWN]:
        console.print(show_text(str(found)))
    if len(verification.breaks) > BREAKS_SHOWN:
        console.print(Text(f"and {len(verification.breaks) - BREAKS_SHOWN} more"))
    raise LedgerError(
        f"the ledger does not verify, first at {verification.breaks[0]}",
        where=str(path),
        fix="restore it from a copy; what was computed from these rows cannot be relied on",
    )


def _open(runs_dir: Path, run: str | None, ledger: Path | None) -> Ledger:
    """The ledger to read, refused where it is not the one that the run left; a file that is named is read as it is."""
    from rlaif.ledger.store import Ledger
    from rlaif.run.state import open_ledger

    path = _ledger_path(runs_dir, run, ledger)
    found = None if ledger is not None else _find_run(runs_dir, run)
    return Ledger.open(path, read_only=True) if found is None else open_ledger(found, path, read_only=True)


def _find_run(runs_dir: Path, run: str | None) -> RunFolder | None:
    """The named or the newest run; None where there is none yet."""
    from rlaif.run.folder import open_run

    try:
        return open_run(runs_dir, run)
    except RunFolderError:
        if run is not None:
            raise
        return None


def _ledger_path(runs_dir: Path, run: str | None, ledger: Path | None) -> Path:
    """The file that is named; else that of the named or the newest run; else the one beside the runs."""
    if ledger is not None:
        return ledger
    found = _find_run(runs_dir, run)
    return runs_dir / "ledger.sqlite" if found is None else _ledger_of(runs_dir, found.config)


def _ledger_of(runs_dir: Path, stored: dict[str, Any]) -> Path:
    from rlaif.run.state import ledger_path_of

    return ledger_path_of(stored, runs_dir=runs_dir)


def _printed_heads(runs_dir: Path, run: str | None, ledger: Path) -> Iterable[tuple[int, str]]:
    """The heads in the manifests of the named run, or of all runs that use this ledger."""
    from rlaif.run.folder import RunFolder, find_runs, open_run

    folders = [open_run(runs_dir, run)] if run else [RunFolder(path) for path in find_runs(runs_dir)]
    for folder in folders:
        path = folder.path / "manifest.json"
        if not path.is_file() or _ledger_of(runs_dir, folder.config).resolve() != ledger.resolve():
            continue
        for printed in json.loads(path.read_text(encoding="utf-8"))["ledger_heads"]:
            yield printed["seq"], printed["head"]


def _print_judgements(page: Page[JudgementLine]) -> None:
    table = _table("key", "judgement", "principle", "verdict", "label mass", "reason")
    for key, judgement, question in page.lines:
        outcome = judgement.verdict or (
            f"score {judgement.score:g}" if judgement.score is not None else str(judgement.ranking)
        )
        mass = "not known" if judgement.label_mass is None else f"{judgement.label_mass:.3f}"
        names = ", ".join(principle.id for principle in question.principles) if question else ""
        table.add_row(
            str(key),
            judgement.id[:ID_SHOWN],
            show_text(names),
            outcome,
            mass,
            _one_line(judgement.reason or ""),
        )
    _print_page(table, page)


def _print_comparisons(page: Page[ComparisonLine]) -> None:
    table = _table("key", "comparison", "principle", "p(first)", "position effect", "prompt")
    for key, comparison in page.lines:
        effect = "not known" if comparison.position_effect is None else f"{comparison.position_effect:+.2f}"
        table.add_row(
            str(key), comparison.id[:ID_SHOWN], show_text(comparison.principle.id),
            f"{comparison.p_first:.3f}", effect, comparison.prompt_id[:ID_SHOWN],
        )  # fmt: skip
    _print_page(table, page)


def _print_failures(page: Page[FailureLine]) -> None:
    table = _table("key", "failed", "principle", "cause", "attempt", "raw reply")
    for key, failure, question in page.lines:
        names = ", ".join(principle.id for principle in question.principles) if question else ""
        table.add_row(
            str(key), failure.id[:ID_SHOWN], show_text(names), failure.cause, str(failure.attempt),
            _one_line(failure.raw_reply),
        )  # fmt: skip
    _print_page(table, page)


def _table(*columns: str) -> Table:
    """The last column gets what width is left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=MIN_WIDTHS.get(column, len(column)))
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis")
    return table


def _one_line(text: str) -> Text:
    return show_text(" ".join(text.split())[:200])


def _print_page(table: Table, page: Page[ComparisonLine] | Page[JudgementLine] | Page[FailureLine]) -> None:
    if not page.lines:
        console.print(Text("nothing found"))
        return
    console.print(table, soft_wrap=False)
    if page.next_key is not None:
        console.print(Text(f"more: add --after {page.next_key}"))
