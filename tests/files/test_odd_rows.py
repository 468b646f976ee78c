"""Rows that cannot be read: counted over the whole source, and the first few named in one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError
from rlaif.preferences.read import read_preferences
from rlaif.sampling.prompts import read_demonstrations, read_prompts

GOOD = {"prompt": "a", "chosen": "b", "rejected": "c", "response": "d"}
ODD: dict[str, Any] = {"prompt": 3, "chosen": 4, "rejected": "c", "response": "d"}


@pytest.mark.parametrize(
    "read",
    [
        read_preferences,
        lambda path: read_demonstrations(str(path)),
        lambda path: read_prompts(PromptsConfig(path=path)),
    ],
)
def test_all_odd_rows_are_counted_and_the_first_few_are_named(tmp_path: Path, read: Any) -> None:
    lines = [json.dumps(row) for row in (GOOD, ODD, GOOD, *[ODD] * 5)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*lines, '{"prompt": ']))
    with pytest.raises(DataError, match=r"7 rows of 9 cannot be read: .*a.jsonl:2\); .*a.jsonl:4\).*and 2 more"):
        read(str(path))


def test_a_single_odd_row_is_named_by_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,chosen,rejected\na,b,c\na,b\n")
    with pytest.raises(DataError, match=r"^the row has 2 cells.*a.csv:3\): quote"):
        read_preferences(path)
