"""The page about choosing a judge says in its first sentence what its figures say."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "choosing.py"
spec = importlib.util.spec_from_file_location("choosing", PAGE)
assert spec is not None
assert spec.loader is not None
choosing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(choosing)


def cell(data: str, mode: str, *, beats: bool) -> dict[str, Any]:
    return {"judge": "Small", "data": data, "mode": mode, "beats_length": beats}


@pytest.mark.parametrize(
    ("with_people", "sentence"),
    [
        (
            False,
            "asked by verdict or contrast, is not shown to beat the rule that the longer reply wins: a small model",
        ),
        (
            True,
            "is not shown to beat the rule that the longer reply wins, except Small by contrast on PandaLM: a small",
        ),
    ],
)
def test_the_first_sentence_names_the_modes_that_do_not_beat_length(with_people: bool, sentence: str) -> None:
    cells = [cell("PandaLM", "verdict", beats=False), cell("PandaLM", "contrast", beats=with_people)]
    cells += [cell("manner", "contrast", beats=True), cell("manner", "verdict", beats=False)]
    said = choosing.describe_finding(cells)
    assert sentence in said
    assert "beyond length: shown for Small by contrast." in said
    assert said.endswith("Not shown for Small by verdict.")
