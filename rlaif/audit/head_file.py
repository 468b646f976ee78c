"""The text of a ledger's head -> a new file for people to sign. Overwrites nothing and signs nothing."""

from __future__ import annotations

from pathlib import Path

from rlaif.audit.signed_heads import HeadText, make_head_text, render_head
from rlaif.errors import InputError
from rlaif.files.atomic import utc_now, write_atomically
from rlaif.ledger.store import Ledger


def write_head(path: Path, *, out: Path | None, annotator: str | None) -> tuple[Path, HeadText]:
    """Write the newest head of the ledger at `path`, with the labels of an annotator where one signs for them.

    out: the new file; None: `head-ROW.txt` in the working folder.
    """
    with Ledger.open(path, read_only=True) as ledger:
        text = make_head_text(ledger, at=utc_now(), annotator=annotator)
    target = out or Path(f"head-{text.seq}{'' if annotator is None else '-labels'}.txt")
    if target.exists():
        raise InputError("this file is there already", where=str(target), fix="name a new one by --out")
    if not target.parent.is_dir():
        raise InputError("there is no such folder", where=str(target.parent), fix="name a file in one that is there")
    write_atomically(target, render_head(text))
    return target, text
