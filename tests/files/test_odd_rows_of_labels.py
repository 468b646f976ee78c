"""Labels and recorded verdicts with several rows that cannot be read: one message counts them and names the first."""

import json
from pathlib import Path

import pytest

from rlaif.calibration.labels import read_labels
from rlaif.errors import DataError
from rlaif.files.row import Row
from rlaif.judging.recorded_columns import load_column_map
from rlaif.judging.recorded_rows import read_pairs


def test_all_labels_that_cannot_be_read_are_counted_in_one_message(tmp_path: Path) -> None:
    good = {"prompt": "When?", "first": "At nine.", "second": "Nine.", "choice": "first", "annotator": "p"}
    rows = [good, {**good, "choice": ""}, {**good, "first": {"x": 1}, "annotator": "q"}, {**good, "choice": None}]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError, match=r"3 rows of 4 cannot be read: .*jsonl:2.*jsonl:3.*jsonl:4"):
        read_labels(path, columns_path=None, digest="d")


def test_all_recorded_responses_that_cannot_be_read_are_counted_in_one_message() -> None:
    columns = load_column_map(Path(__file__).parents[2] / "examples" / "recorded-verdicts" / "columns.yaml")
    names = sorted(columns.sample_columns)
    good = {name: f"{name} words" for name in names}
    rows = [Row({**good, columns.responses[0]: {"a": 1}}, f"f:{n}", tuple(names)) for n in range(3)]
    rows.append(Row(good, "f:4", tuple(names)))
    with pytest.raises(DataError, match="3 rows of 4 cannot be read"):
        read_pairs(rows, columns)
