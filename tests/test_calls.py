"""No call of a function or class of ours passes more than five arguments by position: swapped ones would go unseen."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_POSITIONAL = 5
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def names_defined(trees: Mapping[str, ast.Module]) -> set[str]:
    return {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, DEFINITIONS)}


def long_calls(trees: Mapping[str, ast.Module], *, names: set[str]) -> Iterator[str]:
    """The place and the name of each call of one of `names` with too many positional arguments."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > MAX_POSITIONAL:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in names:
                    yield f"{path}:{node.lineno}: {called} gets {len(node.args)} arguments by position"


def parse(*folders: str) -> dict[str, ast.Module]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_call_passes_more_than_five_arguments_by_position() -> None:
    trees = parse("rlaif", "benchmarks")
    names = names_defined({path: tree for path, tree in trees.items() if path.startswith("rlaif/")})
    assert len(names) > 1000
    found = list(long_calls(trees, names=names))
    assert not found, "\n" + "\n".join(found)


def test_a_call_by_position_is_found_and_a_call_by_name_is_not() -> None:
    source = "class Batch: ...\ndef make(*args): ...\nBatch(1, 2, 3, 4, 5, 6)\nx.make(1, 2, 3, 4, 5, 6)\n"
    source += "make(1, 2, 3, 4, 5, f=6)\nprint(1, 2, 3, 4, 5, 6)\n"
    trees = {"a.py": ast.parse(source)}
    assert list(long_calls(trees, names=names_defined(trees))) == [
        "a.py:3: Batch gets 6 arguments by position",
        "a.py:4: make gets 6 arguments by position",
    ]
