"""Why each item of a sheet was asked about: a file beside the sheet, for annotators who have answered all of it.

Nothing of it is on the sheet, so that a label is blind. It is opened when an annotator has answered every item and asks
for it; from then on the answers are final. Says nothing of a judge's verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rlaif.calibration.sheet import Sheet
from rlaif.errors import DataError
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own

FORMAT, VERSION = "rlaif-sheet-why", 1
FROM_ALL = "it was drawn from all pairs"
_REASONS = TypeAdapter(dict[str, str])


def why_path(sheet_path: Path) -> Path:
    """The file that belongs to a sheet's file."""
    return sheet_path.with_name(f"{sheet_path.stem}.why.json")


def write_why(sheet_path: Path, sheet: Sheet, signs: Mapping[str, str]) -> None:
    """Write the file. signs: why an item was asked about, by its id; the others were drawn from all pairs."""
    reasons = {item.id: signs.get(item.id, FROM_ALL) for item in sheet.items}
    found = {"format": FORMAT, "version": VERSION, "sheet": sheet.id, "reasons": reasons}
    write_atomically(why_path(sheet_path), json.dumps(found, indent=1) + "\n")


def read_why(sheet_path: Path, sheet: Sheet) -> Mapping[str, str]:
    """Item id -> why it was asked about; refused where the file is another sheet's."""
    path = why_path(sheet_path)

    def parse(data: bytes) -> dict[str, str]:
        found: Any = json.loads(data)
        if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
            raise ValueError("it is no file of reasons that this version reads")
        if found.get("sheet") != sheet.id:
            raise ValueError("it belongs to another sheet")
        return _REASONS.validate_python(found.get("reasons"))

    return read_own(path, parse, fix="ask the owner of the sheet for the file again", error=DataError)
