"""The house: how many rooms and loose files rlaif has, that no files import each other in a circle, and that each room
lists its files.

A room is a package or module directly under rlaif/; a package inside a room is a part of it.
"""

from __future__ import annotations

import ast
import re

import pytest
from house import PACKAGE, circles, imported_files, loose_files, module_files, room_folders

MAX_ROOMS = 29
MAX_LOOSE_FILES = 6
MAX_PARTS = 12
"""Packages inside rooms, such as models/vllm."""

PARTS = sorted(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/*/__init__.py"))
LISTED = re.compile(r"^ *(\w+/?(?:, \w+/?)*)(?:: | {2,})\S")
"""A line of a room's docstring about one file or several: `name: what it is`, or the same in columns."""


def test_there_are_about_29_rooms():
    assert len(room_folders()) + len(loose_files()) <= MAX_ROOMS
    assert len(PARTS) <= MAX_PARTS
    assert not list(PACKAGE.glob("*/*/*/__init__.py")), "no part has parts"


def test_at_most_six_files_lie_loose():
    assert len(loose_files()) <= MAX_LOOSE_FILES


def test_no_files_import_each_other_in_a_circle():
    assert circles({file: imported_files(file) for file in module_files().values()}) == []


def test_a_circle_would_be_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert circles(graph) == [["b", "c"]]


@pytest.mark.parametrize("folder", [*room_folders(), *PARTS])
def test_a_room_lists_its_files(folder):
    """Each file and each package of the folder has its line in the folder's docstring, and nothing else has."""
    source = (PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    lines = [found.group(1) for line in docstring.splitlines()[1:] if (found := LISTED.match(line))]
    listed = [name.removesuffix("/") for line in lines for name in line.split(", ")]
    files = [path.stem for path in (PACKAGE / folder).glob("*.py") if path.stem != "__init__"]
    parts = [path.parent.name for path in (PACKAGE / folder).glob("*/__init__.py")]
    assert sorted(listed) == sorted([*files, *parts])
