"""docs/architecture.md is true: it names every room in its order, and its lists of files can be followed by imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from house import PACKAGE, imported_files, loose_files, room_folders
from test_layers import ORDER

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
ENTRIES = ("pipeline.py", "cli/")
"""Where a newcomer begins: the map, or the command that was typed."""


def find_lists() -> dict[str, list[str]]:
    """Question -> the files of its list, as paths below rlaif/."""
    _, *parts = re.split(r"^### (\d\. .+)$", PAGE, flags=re.MULTILINE)
    return {
        question: re.findall(r"^- \[[^\]]+\]\(\.\./rlaif/([^)]+)\)", text, flags=re.MULTILINE)
        for question, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_eight_questions_take_sixty_files_at_most():
    lists = find_lists()
    assert [question[0] for question in lists] == list("12345678")
    assert all(len(files) == len(set(files)) for files in lists.values())
    assert sum(map(len, lists.values())) <= 60


@pytest.mark.parametrize("question", find_lists())
def test_every_file_of_a_list_is_imported_by_an_earlier_one(question):
    first, *rest = find_lists()[question]
    assert first.startswith(ENTRIES)
    reached = set(imported_files(first))
    unreached = []
    for file in rest:
        assert (PACKAGE / file).is_file(), file
        if file not in reached:
            unreached.append(file)
        reached |= imported_files(file)
    assert unreached == []


def test_every_room_has_a_line_and_no_line_is_about_something_else():
    table = PAGE.split("## The rooms\n")[1].split("## State\n")[0]
    named = re.findall(r"^\| `(\w+/?)` \| \S", table, flags=re.MULTILINE)
    rooms = {f"{name}/" for name in room_folders()} | {file.removesuffix(".py") for file in loose_files()}
    assert sorted(named) == sorted(rooms)


def test_the_order_of_the_rooms_is_that_of_the_imports():
    block = re.search(r"^    errors .*\n(?:    .+\n)+", PAGE, flags=re.MULTILINE)
    assert block is not None
    assert tuple(block.group().split()) == ORDER


def test_every_file_that_the_page_names_exists():
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE)) - {"tests/test_layers.py"}
    assert len(named) > 20
    assert sorted(name for name in named if not (PACKAGE / name).is_file()) == []
