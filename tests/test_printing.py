"""Every string that a command prints goes through `show_text`: no word of a stranger reaches a terminal as it came."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "rlaif"
SHOWN_WHERE_IT_IS_MADE = {"table", "line", "shown", "_table", "_mark", "_show_message"}
"""Tables and lines of several styles, whose cells are made harmless where they are made."""
EXACT = {"model_dump_json", "dumps"}
"""Output for programs, in which JSON itself escapes what a terminal would obey."""


def printed() -> Iterator[tuple[str, ast.expr]]:
    """Each argument that is printed, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(PACKAGE / "frontdesk"):
            continue  # what makes the two models, run by nobody else
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and is_print(node.func):
                for argument in node.args:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", argument


def is_print(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "print"
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and (function.value.id, function.attr) in {("console", "print"), ("notes", "print"), ("typer", "echo")}
    )


def is_harmless(argument: ast.expr) -> bool:
    match argument:
        case ast.Constant():
            return True
        case ast.BinOp(left, ast.Add(), right):
            return is_harmless(left) and is_harmless(right)
        case ast.IfExp(_, body, otherwise):
            return is_harmless(body) and is_harmless(otherwise)
        case ast.Name(name) | ast.Call(ast.Name(name)) if name in SHOWN_WHERE_IT_IS_MADE | {"show_text"}:
            return True
        case ast.Call(ast.Attribute(_, name)) if name in EXACT:
            return True
        case ast.Call(ast.Name("Text"), [first, *_]):
            return is_harmless(first)
        case ast.JoinedStr(parts):
            return all(is_harmless(part) for part in parts)
        case ast.FormattedValue(value):
            return ast.unparse(value) in {"len(problems)", "getattr(rlaif, '__version__', 'unknown')"}
    return False


def test_nothing_is_printed_that_was_not_made_harmless() -> None:
    found = [f"{place} prints {ast.unparse(argument)}" for place, argument in printed() if not is_harmless(argument)]
    assert found == []


def test_the_check_sees_a_string_that_is_printed_raw() -> None:
    raw = ast.parse("console.print(f'{name}')\nnotes.print(Text(name))\ntyper.echo(text)").body
    assert not any(is_harmless(line.value.args[0]) for line in raw)  # type: ignore[attr-defined]
