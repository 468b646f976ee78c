"""Records -> Parquet: a stage's output as a table that any tool reads.

Nested lists stay lists; free-form dictionaries become JSON. Same records, same bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.files.atomic import write_atomically
from rlaif.records import Record


def write_records(records: Sequence[Record], path: Path) -> None:
    """One row per record: its id and its content, without what was merely observed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = {name for record in records for name in record.column_when_used}
    unused = {name for name in names if not any(getattr(record, name, None) for record in records)}
    rows: list[dict[str, Any]] = []
    for record in records:
        content = record.model_dump(mode="json", exclude={"observed", *unused})
        row = {k: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for k, v in content.items()}
        rows.append({"id": record.id, **row})
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    write_atomically(path, sink.getvalue())
