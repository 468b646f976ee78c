"""What holds for every test: no network, no colours, no time limit per hypothesis example.

With `-m heavy` only the files that hold such tests are imported, and the longest tests begin first, so that the
workers end together.
"""

import importlib
import os
from pathlib import Path

import pytest
from hypothesis import settings

from examples import examples

# Before anything imports a library that reads them; child processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

# In CI the same examples every time: what passes here passes there; at home new ones are tried.
settings.register_profile(
    "rlaif", max_examples=examples(100), deadline=None, print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("rlaif")


def pytest_configure() -> None:
    """A console keeps the width that COLUMNS has where it is made: the test that imports it first must not choose."""
    os.environ.pop("COLUMNS", None)
    importlib.import_module("rlaif.console")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.option.markexpr == "heavy" and collection_path.match("test_*.py"):
        return "pytest.mark.heavy" not in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr == "heavy":
        items.sort(key=_minutes_of, reverse=True)


def _minutes_of(item: pytest.Item) -> float:
    """About how long the test takes on two cores, as its mark says; the short ones say nothing."""
    marks = [mark for mark in item.iter_markers("heavy") if "minutes" in mark.kwargs]
    return float(marks[0].kwargs["minutes"]) if marks else 0.0
