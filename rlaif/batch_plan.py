"""Which items are asked together: decided once, written down, and kept by a resumed run.

Other batch compositions change the last bits of a local model's scores, so an interrupted stage goes
on with the batches it began with. Asks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rlaif.runs import write_atomically


def planned_batches(path: Path, missing: Sequence[str], *, batch_size: int) -> list[list[str]]:
    """The batches in `path`; where there is no plan yet, `missing` in its order, cut and written there."""
    if path.is_file():
        batches: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return batches
    batches = [list(missing[at : at + batch_size]) for at in range(0, len(missing), batch_size)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(batches))
    return batches
