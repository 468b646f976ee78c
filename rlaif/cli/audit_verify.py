"""`rlaif audit verify, head, sign-off`: check that no decision was changed, and have people sign the chain's head.

Parses options, asks `rlaif.audit`, prints. `head` writes one new file, `sign-off` a row of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from rlaif.cli.audit_print import passing_over
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError, LedgerError

if TYPE_CHECKING:
    from rlaif.audit.ledger_file import VerifiedLedger
    from rlaif.audit.signed_heads import SignedHead

SignedHeadOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--signed-head",
        metavar="FILE.sig",
        help="Compare with the head that somebody signed by OpenSSH, with the text that was signed beside it: the rows "
        "up to it are proven against everybody who does not hold that key. May be given several times.",
    ),
]
AllowedSignersOption = Annotated[
    Path | None,
    typer.Option("--allowed-signers", metavar="FILE", help="Who may sign: an allowed_signers file of OpenSSH."),
]
LedgerOfRunOption = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="Take the ledger of this run, not of the newest one.")
]
BREAKS_SHOWN = 20
WORDS = {"holds": "holds", "differs": "DIFFERS", "open": "open"}


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
    pack: Annotated[
        Path | None,
        typer.Option(
            "--pack",
            metavar="DIR",
            help="Check the folder that `rlaif audit pack` wrote, and nothing else: everything is derived again from "
            "its questions and answers.",
        ),
    ] = None,
    signed_head: SignedHeadOption = None,
    allowed_signers: AllowedSignersOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Check every row of the ledger against the chain, and the chain against the heads that were printed of it.

    Heads are read from the manifests, cards and reports of the runs, from --head and from --signed-head. Whoever can
    write the ledger can write those files too, and then a signed head alone shows it. With --allowed-signers, heads
    that `rlaif audit sign-off` stored are checked too. Exit code 1 if anything was changed, removed, reordered or cut
    off; the places are named.
    """
    from rlaif.audit.ledger_file import find_damaged, find_path, verify_file
    from rlaif.audit.sign_offs import read_stored
    from rlaif.audit.signed_heads import nothing_signed, read_signed

    if pack is not None:
        if run is not None or ledger is not None or head:
            raise InputError("a pack is checked by itself", where="--pack", fix="leave out --run, --ledger and --head")
        _verify_pack(pack, signatures=signed_head or (), allowed=allowed_signers)
        return
    signed = read_signed(signed_head, allowed=allowed_signers) if signed_head else []
    with passing_over(find_damaged(runs_dir, with_manifests=False) if run is None else []):
        if allowed_signers is not None:
            signed += read_stored(find_path(runs_dir, run=run, ledger=ledger), allowed=allowed_signers)
            if not signed:
                raise nothing_signed()
        verified = verify_file(runs_dir, run=run, ledger=ledger, given=head or (), signed=signed)
        _print_given(verified)
        if not verified.problems:
            _print_verified(verified)
            _print_signed(signed, rows=verified.verification.rows)
            return
        for found in verified.problems[:BREAKS_SHOWN]:
            console.print(show_text(str(found)))
        if len(verified.problems) > BREAKS_SHOWN:
            console.print(show_text(f"and {len(verified.problems) - BREAKS_SHOWN} more"))
        refuse(verified)


def head(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The new file; without it head-ROW.txt.")
    ] = None,
    annotator: Annotated[
        str | None,
        typer.Option(
            "--annotator",
            metavar="NAME",
            help="Sign every label and dispute of this name too.",
        ),
    ] = None,
    run: LedgerOfRunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Write the chain's newest head as a text for people to sign, and print the line that signs it.

    The ledger is verified first: nobody should sign the head of one that was changed. Keys are never read; whoever
    signs keeps theirs, and gives away the text and the signature.
    """
    from rlaif.audit.head_file import write_head
    from rlaif.audit.ledger_file import verify_file
    from rlaif.audit.signed_heads import sign_command

    verified = verify_file(runs_dir, run=run, ledger=ledger)
    if verified.problems:
        refuse(verified)
    path, text = write_head(verified.path, out=out, annotator=annotator)
    labels = f", {len(text.said)} labels and disputes of {annotator}" if annotator is not None else ""
    console.print(show_text(f"{path}: row {text.seq}{labels}"), soft_wrap=True)
    console.print(show_text(f"to sign it: {sign_command(path)}"), soft_wrap=True)


def sign_off(
    signature: Annotated[
        Path, typer.Argument(metavar="FILE.sig", help="The signature, with the text that was signed beside it.")
    ],
    allowed_signers: Annotated[
        Path,
        typer.Option("--allowed-signers", metavar="FILE", help="Who may sign: an allowed_signers file of OpenSSH."),
    ],
    run: LedgerOfRunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
) -> None:
    """Store a head that somebody signed: manifests, reports and cards written from then on name it and its signer.

    The signature is checked first, and that the ledger has this head. Whoever signed keeps a copy: a rewritten ledger
    can leave the stored one out.
    """
    from rlaif.audit.ledger_file import open_to_write
    from rlaif.audit.sign_offs import store_sign_off
    from rlaif.audit.signed_heads import read_signature

    signed = read_signature(signature, allowed=allowed_signers)
    with open_to_write(runs_dir, run=run, ledger=ledger) as opened:
        stored = store_sign_off(opened, signed)
    console.print(show_text(f"stored: {stored.signer} signed rows 1 to {stored.seq}, {stored.at}"))


def _verify_pack(path: Path, *, signatures: Sequence[Path], allowed: Path | None) -> None:
    """Print what holds in a pack and what does not, a line each. Raises `LedgerError` at the first difference."""
    from rlaif.audit.pack_check import check_pack

    checked = check_pack(path, signatures=signatures, allowed=allowed)
    for check in checked.checks:
        console.print(show_text(f"{WORDS[check.outcome]:>8}  {check.name}: {check.said}"), soft_wrap=True)
    _print_signed(checked.signed, rows=checked.num_rows)
    if (first := checked.first_difference) is not None:
        raise LedgerError(
            f"the pack does not verify, first at {first.name}: {first.said}",
            where=str(path),
            fix="ask whoever made it how this came about; what was computed from it cannot be relied on",
        )


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


def _print_signed(signed: Sequence[SignedHead], *, rows: int) -> None:
    """Print who signed which rows, and that nobody vouches for those after them."""
    for one in signed:
        labels = f", and {len(one.head.said)} labels and disputes of {one.head.annotator}" if one.head.annotator else ""
        console.print(show_text(f"signed by {one.signer}: rows 1 to {one.head.seq}{labels}, in {one.path}"))
    last = max((one.head.seq for one in signed), default=rows)
    if last < rows:
        console.print(show_text(f"rows {last + 1} to {rows} are after the last signed head: nobody vouches for them"))


def refuse(verified: VerifiedLedger) -> NoReturn:
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
