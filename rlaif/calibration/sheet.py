"""A sheet: the file that an annotator is given, with conversations, two replies each and the guideline.

Nothing in it comes from the judge: no verdict, probability, stratum, sample id or model. Its id is the digest of all
that is in it, so a sheet that was changed is refused. Opens no ledger and knows no run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rlaif.errors import DataError
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own
from rlaif.records import Message, Principle, Value, digest_text

FORMAT, VERSION = "rlaif-sheet", 1
FIX = "ask its owner for the file again"


class SheetItem(Value):
    """A conversation and two replies, as an annotator may see them."""

    id: str
    question: str
    """What to decide between the replies."""
    messages: tuple[Message, ...]
    a: str
    b: str


class Sheet(Value):
    """All items of a draw in their order, and the text that says how to decide."""

    id: str
    guideline: str
    guideline_digest: str
    items: tuple[SheetItem, ...]


def describe_guideline(principles: Sequence[Principle], *, is_single: bool) -> str:
    """How to decide, where the owner of the run gives no text. is_single: each item names the principle that counts."""
    if is_single:
        what = "Each item names one principle. Say which of the two replies keeps it better, whatever else they do."
    else:
        listed = "".join(f"\n- {principle.text}" for principle in principles)
        what = f"Say which of the two replies is better as a whole, by these principles:{listed}"
    return (
        f"{what}\nChoose a tie where neither is better, and unclear where you cannot decide. A reply is not better for "
        "being longer, nor for being the first or the second."
    )


def describe_question(principle: Principle | None) -> str:
    """What an item asks; None: about the replies as a whole."""
    return "Which reply is better?" if principle is None else f"Which reply keeps this better? {principle.text}"


def make_sheet(items: tuple[SheetItem, ...], *, guideline: str) -> Sheet:
    """The sheet of these items, named by what is in it."""
    unnamed = Sheet(id="", guideline=guideline, guideline_digest=digest_text(guideline), items=items)
    return unnamed.model_copy(update={"id": _digest(unnamed)})


def write_sheet(sheet: Sheet, path: Path) -> None:
    """Write a new file. A file that is there is never replaced."""
    refuse_taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "version": VERSION, **sheet.model_dump(mode="json")}, indent=1)
    write_atomically(path, text + "\n")


def refuse_taken(path: Path) -> None:
    """Refuse a path where something is already."""
    if path.exists() or path.is_symlink():
        raise DataError("there is a file of this name already", where=str(path), fix="name a new file for the sheet")


def read_sheet(path: Path) -> Sheet:
    """The sheet of a file, refused where it is none or where anything in it was changed."""
    if not path.is_file():
        raise DataError("there is no such sheet", where=str(path), fix="name the file that `spot-check draw` wrote")
    found = read_own(path, _parse, fix=FIX, error=DataError)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError("this is not a sheet", where=str(path), fix="name the file that `spot-check draw` wrote")
    if found.get("version") != VERSION:
        raise DataError(
            f"the sheet has version {found.get('version')}, and this rlaif reads version {VERSION}",
            where=str(path),
            fix="install the rlaif that wrote it",
        )
    values = {name: value for name, value in found.items() if name not in ("format", "version")}
    try:
        sheet = Sheet.model_validate_json(json.dumps(values))
    except ValidationError as error:
        at = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise DataError(f"the sheet is damaged at {at}", where=str(path), fix=FIX) from error
    if sheet.guideline_digest != digest_text(sheet.guideline):
        raise DataError(
            "the guideline on the sheet was changed, and labels under two guidelines are no one set",
            where=str(path),
            fix="draw a new sheet with the new guideline: `rlaif spot-check draw --guideline FILE`",
        )
    if sheet.id != _digest(sheet):
        raise DataError("the sheet was changed after it was drawn", where=str(path), fix=FIX)
    return sheet


def _parse(data: bytes) -> Any:
    return json.loads(data)


def _digest(sheet: Sheet) -> str:
    return digest_text(json.dumps(sheet.model_dump(mode="json", exclude={"id"}), sort_keys=True))[:32]
