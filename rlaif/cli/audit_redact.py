"""`rlaif audit redact`: a text goes from the ledger, with a reason; where it still is, is said.

Parses options, asks `rlaif.audit.redaction`, prints.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.audit_print import print_line
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import show_text
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.audit.redaction import Redacted, StillThere

SHOWN = 50


def redact(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="sha256 of a text, or the id of a sample, prompt, judgement, failed judgement, demonstration or human "
            "label, whose texts go.",
            show_default=False,
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.", show_default=False)],
    author: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who redacts. [default: your login name]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Name what would go and what would stay, and change nothing.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Whose ledger. [default: the newest]")
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Remove texts from the ledger, its log included. Digest, reason, author and time stay, and the chain verifies.

    It cannot be undone. Files of the runs are not changed: those that still hold the text are listed, so that you can
    delete or replace them, and so are texts that quote it and models that were trained on it.
    """
    from rlaif.audit.ledger_file import open_to_read, open_to_write
    from rlaif.audit.redaction import check_reason, plan_redaction
    from rlaif.audit.redaction import redact as redact_texts

    searched = runs_dir if runs_dir.is_dir() else None
    opening = open_to_read if dry_run else open_to_write
    with opening(runs_dir, run=run, ledger=ledger) as opened:
        found = plan_redaction(opened, ids, runs_dir=searched)
        check_reason(opened, found, reason=reason)
        if not dry_run:
            found = redact_texts(opened, found, reason=reason, author=_find_author(author))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    for line in describe_redaction(found):
        print_line(show_text(line))


def _find_author(author: str | None) -> str:
    try:
        name = (author or getpass.getuser()).strip()
    except (KeyError, OSError):
        name = ""
    if not 0 < len(name) <= 200:
        raise InputError("who redacts is not known", where="--as", fix="give a name of 1 to 200 characters")
    return name


def describe_redaction(found: Redacted) -> Iterator[str]:
    """What went, and what still holds it."""
    verb = "redacted" if found.is_done else "would be redacted"
    for text in found.texts:
        yield f"{verb}: {text.digest}, {text.num_characters} characters"
        yield from _list("  of ", text.records)
        if not text.is_searched:
            yield "  it is too short to be searched for in other texts and in files"
    for title, places in (
        ("other texts of the ledger that repeat a part of it; redact each by its digest", found.repeats),
        ("records that hold a part themselves and cannot be changed, for the chain covers them", found.fixed),
        ("files that still hold it or a part of it; delete or replace them", found.files),
        ("sheets for annotators that show it, wherever their files are", found.sheets),
    ):
        yield from _describe_still(title, places)
    if found.models:
        yield "models that were trained on it, and may repeat it:"
        models = [f"{one.kind} {one.model_id} in {one.name or 'no known folder'}" for one in found.models]
        yield from _list("  ", models)
    if found.head is None:
        yield "nothing was changed"
        return
    yield f"head {found.head.seq} {found.head.hex}"
    if not found.is_out_of_log:
        yield (
            "another process reads the ledger, so the log beside it may still hold the text: it is gone once that "
            "process has ended and the ledger is opened again"
        )


def _describe_still(title: str, places: tuple[StillThere, ...]) -> Iterator[str]:
    if not places:
        return
    yield f"{title}:"
    yield from _list("  ", [f"{one.where}{f' {one.what}' if one.what else ''}" for one in places])


def _list(begin: str, lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    for line in lines[:SHOWN]:
        yield f"{begin}{line}"
    if len(lines) > SHOWN:
        yield f"{begin}and {len(lines) - SHOWN} more: --json names all"
