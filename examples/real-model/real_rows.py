"""The replies behind the table: a row per training, from the folder of the trainings and from the published file.

The published file is the table's evidence: everyone can make the table again from it without training. Trains nothing
and measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlaif.files.atomic import write_atomically

Row = dict[str, Any]


def read_finished(folder: Path) -> list[Row]:
    """The rows of the trainings that are finished in a folder of the table."""
    return [json.loads(path.read_text()) for path in sorted((folder / "rows").glob("*.json"))]


def read_published(path: Path) -> list[Row]:
    """The rows of a published file, a line each; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def merge_rows(finished: list[Row], published: list[Row]) -> list[Row]:
    """Every training once, in a fixed order; a finished one takes the place of the published one of its name."""
    by_training = {_training_of(row): row for row in (*published, *finished)}
    return [by_training[key] for key in sorted(by_training)]


def publish_rows(rows: list[Row], path: Path) -> None:
    """Write the rows, a line each."""
    write_atomically(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def _training_of(row: Row) -> tuple[str, str, int]:
    return row["through"], row["arm"], row["seed"]
