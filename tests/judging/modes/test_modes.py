"""The table of judge modes is the one place that knows their names."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import rlaif
from rlaif.constitution.template_rules import KINDS
from rlaif.judging.modes import MODES
from rlaif.records.judgement import JudgeMode

ROOT = Path(rlaif.__file__).parent


def names_a_mode(node: ast.AST) -> bool:
    """Whether a comparison sets a question's mode or a template's kind beside the name of a mode."""
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    asks = any(
        isinstance(side, ast.Attribute)
        and (side.attr == "mode" or (side.attr == "kind" and "template" in ast.unparse(side.value)))
        for side in sides
    )
    return asks and any(isinstance(side, ast.Constant) and side.value in MODES for side in sides)


def test_every_mode_of_a_question_has_its_row_and_its_kind_of_template():
    assert set(MODES) == set(KINDS) == set(get_args(JudgeMode))


def test_no_file_branches_on_the_name_of_a_mode():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if names_a_mode(node)
    ]
    assert found == []


def test_a_branch_on_the_name_of_a_mode_is_found():
    for source in ('question.mode != "pair"', '"score" == self._template.kind'):
        assert names_a_mode(ast.parse(source, mode="eval").body)
    assert not names_a_mode(ast.parse('config.preferences.kind == "ranking"', mode="eval").body)
