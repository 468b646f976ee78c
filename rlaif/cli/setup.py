"""`rlaif doctor` and `rlaif init`: what this machine offers, and a folder of files to edit.

Parses options, calls one function, prints its result. Knows no stage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from rlaif.cli.options import PresetOption
from rlaif.console import console, show_text
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.cli.starter import Situation

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    runs_dir: Annotated[
        Path, typer.Option("--runs-dir", help="Folder that will hold the runs and their ledger.")
    ] = Path("runs"),
) -> None:
    """Report on this machine: versions, memory, disk, accelerators, and what was never tried on it.

    Works with torch missing. Exit code 1 if something must be fixed before rlaif can run.
    """
    from rlaif.cli.doctor import examine

    sections = examine(runs_dir=runs_dir, environ=os.environ)
    for title, findings in sections.items():
        console.print(show_text(title if findings else f"{title}: nothing"), style="bold")
        for finding in findings:
            line = Text("  ") + Text(f"{finding.state:8}", style=STYLES[finding.state])
            fix = f": {finding.fix}" if finding.fix else ""
            console.print(line + show_text(f"{finding.topic:18} {finding.found}{fix}"))
    problems = [f for findings in sections.values() for f in findings if f.state == "problem"]
    if problems:
        console.print(Text(f"{len(problems)} to fix", style="bold red"))
        raise typer.Exit(1)
    console.print(Text("rlaif can run here", style="bold green"))


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write them into, made if it does not exist.")
    ],
    preset: PresetOption = None,
    situation: Annotated[
        Literal["own-model", "api-judge", "front-desk", "recorded"] | None,
        typer.Option("--for", help="Write a short configuration for this situation and the files that it names."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="PATH", help="With --for: folder or hub id of the model to be trained."),
    ] = None,
) -> None:
    """Write rlaif.yaml, constitutions/, prompts/ and presets/ to edit: every option with its help and default.

    With --for a short rlaif.yaml instead: your own model as its own judge, your own model and a judge behind a server,
    the front desk, or verdicts that already exist.
    """
    if situation is not None:
        _init_for(folder, situation, policy=policy, preset=preset)
        return
    if policy is not None:
        raise InputError("--policy goes with --for", where="rlaif init", fix="add --for own-model, or leave it out")
    from rlaif.cli.scaffold import write_scaffold

    for path in write_scaffold(folder, preset=preset):
        console.print(show_text(f"wrote {path}"))
    console.print(
        show_text("the front desk's judge reads only words that it learnt: `rlaif constitution words` lists them")
    )
    console.print(show_text(f"now: cd {folder} && rlaif run --dry-run"))


def _init_for(folder: Path, situation: Situation, *, policy: str | None, preset: str | None) -> None:
    from rlaif.cli.starter import STARTERS, write_starter

    if preset is not None:
        raise InputError("--for and --preset each decide what is written", where="rlaif init", fix="give one of them")
    for path in write_starter(folder, situation=situation, policy=policy):
        console.print(show_text(f"wrote {path}"))
    console.print(show_text(f"now: cd {folder} && {STARTERS[situation].command}"))
