"""Signed heads that were handed in: stored in the ledger, and checked again from there.

A sign-off stands in the chain after the row that it is about, so whoever rewrites a ledger can leave it out: what
proves is the copy that the signer kept. Stored ones tell readers, manifests, reports and cards who signed which rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rlaif.audit.signed_heads import SignedHead, compare_said, find_text, read_signature, render_head
from rlaif.errors import DataError, LedgerError
from rlaif.files.atomic import utc_now
from rlaif.files.texts import read_text_file
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Observed, SignOff

MAX_STORED_BYTES = 2**20
"""A text with more labels than fit is kept by whoever signed it, and not here."""


def store_sign_off(ledger: Ledger, signed: SignedHead) -> SignOff:
    """Store a head whose signature is good. ledger: open to be written, refused where it never had that head.

    One that is stored already stays as it is.
    """
    head = signed.head
    if ledger.head_at(1) != head.ledger or ledger.head_at(head.seq) != head.hex:
        raise LedgerError(
            f"the ledger does not have the head that {signed.signer} signed, row {head.seq}",
            where=str(ledger.path),
            fix="name the ledger that was signed by --run or --ledger; if this is it, it was changed since",
        )
    if (first := next(compare_said(ledger, signed), None)) is not None:
        raise LedgerError(f"what was signed is not what the ledger has: {first}", where=str(ledger.path))
    made = SignOff(
        seq=head.seq, head=head.hex, signer=signed.signer, at=head.at, text=render_head(head),
        signature=read_text_file(signed.path, error=DataError, max_bytes=MAX_STORED_BYTES),
        observed=Observed(at=utc_now()),
    )  # fmt: skip
    if len(made.text.encode()) > MAX_STORED_BYTES:
        raise DataError(
            "this text has too many labels to be stored",
            where=str(find_text(signed.path)),
            fix="keep it with its signature, and check it by `rlaif audit verify --signed-head`",
        )
    ledger.append([made])
    return made


def read_stored(path: Path, *, allowed: Path) -> list[SignedHead]:
    """The heads that a ledger stores; refused where a signature is not good, or its signer is not among `allowed`."""
    with Ledger.open(path, read_only=True) as ledger:
        found = list(list_records(ledger, SignOff))
    read: list[SignedHead] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(found):
            text = Path(folder) / f"sign-off-{number}.txt"
            text.write_text(one.text, encoding="utf-8", newline="")
            signature = text.with_name(f"{text.name}.sig")
            signature.write_text(one.signature, encoding="utf-8", newline="")
            stored = Path(f"the ledger's sign-off {one.id[:12]}")
            read.append(read_signature(signature, allowed=allowed, said_of=stored)._replace(path=stored))
    return read
