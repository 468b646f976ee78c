"""Writes docs/commands.md and docs/options.md from the program itself, and docs/measured.md, choosing-a-judge.md
and which-method.md from benchmarks/results.

`python docs/generate.py` writes them; with --check it writes nothing and exits 1 where one is out of date.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from choosing import render_choosing
from measured import render_measured
from typer.testing import CliRunner
from which import render_which

from rlaif.cli import app
from rlaif.cli.scaffold import render_config

DOCS = Path(__file__).resolve().parent
WIDTH = 100


def find_commands() -> Iterator[tuple[str, ...]]:
    """The names that lead to each command and group, the program itself first."""
    waiting = [((), typer.main.get_command(app))]
    while waiting:
        names, command = waiting.pop(0)
        yield names
        below = getattr(command, "commands", {})
        waiting[:0] = [((*names, name), child) for name, child in below.items()]


def help_text(names: tuple[str, ...]) -> str:
    """What `rlaif ... --help` says, as plain text."""
    app.rich_markup_mode = None
    result = CliRunner().invoke(
        app,
        [*names, "--help"],
        prog_name="rlaif",
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        env={"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": str(WIDTH)},
    )
    if result.exit_code != 0:
        raise SystemExit(f"rlaif {' '.join(names)} --help failed: {result.output}")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def render_commands() -> str:
    parts = ["# Commands\n\nMade by `make docs` from the commands themselves.\n"]
    for names in find_commands():
        title = " ".join(("rlaif", *names))
        parts.append(f"\n## {title}\n\n```text\n{help_text(names)}\n```\n")
    return "".join(parts)


def render_options() -> str:
    return (
        "# Options\n\nMade by `make docs` from the config itself. This is the `rlaif.yaml` that\n"
        "`rlaif init DIR` writes; for one run alone: `--set group.option=value`.\n\n"
        f"```yaml\n{render_config()}```\n"
    )


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = False
    pages = {
        "commands.md": render_commands, "options.md": render_options, "measured.md": render_measured,
        "choosing-a-judge.md": render_choosing, "which-method.md": render_which,
    }  # fmt: skip
    for name, render in pages.items():
        text = render()
        path = DOCS / name
        held = path.read_text(encoding="utf-8") if path.is_file() else ""
        if check and held != text:
            stale = True
            sys.stdout.writelines(
                difflib.unified_diff(held.splitlines(True), text.splitlines(True), f"docs/{name}", "now")
            )
        elif held != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    if stale:
        sys.exit("the docs are out of date: run `make docs`")


if __name__ == "__main__":
    main()
