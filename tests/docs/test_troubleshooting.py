"""Every message on the page for troubleshooting is one that the code gives, word for word."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOLE = "…"


def as_text(node: ast.AST) -> str | None:
    """A string as it stands in the source, with `…` where something is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None


def find_strings() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "rlaif").rglob("*.py"))
    return {re.sub("…+", HOLE, text) for tree in trees for node in ast.walk(tree) if (text := as_text(node))}


def read_sentences() -> list[str]:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")]


def test_every_message_of_the_page_is_in_the_code() -> None:
    strings = find_strings()
    sentences = read_sentences()
    assert len(sentences) >= 25
    assert len(set(sentences)) == len(sentences)
    missing = [sentence for sentence in sentences if not any(sentence in text for text in strings)]
    assert missing == []


def test_a_sentence_that_the_code_does_not_give_would_be_found() -> None:
    assert not any("the run folder has been eaten" in text for text in find_strings())
    assert any("this run folder is already used" in text for text in find_strings())
