"""`rlaif clean`: what is wrong with a file of prompts, demonstrations or preferences, and a cleaned copy of it.

Parses options, calls `rlaif.loop.clean_file`, prints its report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlaif.cli.options import DryRunOption
from rlaif.console import console, show_text


def clean(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Rows (JSONL, JSON, CSV, Parquet, Arrow).", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the copy goes; without it: FILE's name with .cleaned.jsonl.")
    ] = None,
    kind: Annotated[
        Literal["prompts", "demonstrations", "preferences"] | None,
        typer.Option("--kind", help="What the rows are; without it their columns say."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Prompts of an evaluation: rows with one of them are leaks."),
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Column of a prompt.")] = "prompt",
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML file whose `cleaning:` holds; without it all rules are on."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One option, such as cleaning.near_duplicates=report.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report the faults of a file, and write a cleaned copy. The file stays as it is.

    Without --config texts are corrected, duplicates, leaks and identical pairs dropped, and personal data, nearly
    identical pairs and contradictions reported.
    """
    from rlaif.cleaning.report import describe_rule
    from rlaif.config.cleaning import RECOMMENDED
    from rlaif.config.load import load_config
    from rlaif.loop.clean_file import clean_file, find_out, write_copy

    recommended = RECOMMENDED.model_dump(exclude_defaults=True).items()
    rules = [] if config is not None else [f"cleaning.{name}={mode}" for name, mode in recommended]
    options = load_config(config, overrides=[*rules, *(set_ or [])]).cleaning
    place = None if dry_run else find_out(file, out)
    cleaned = clean_file(file, config=options, kind=kind, against=against, column=column)
    report = cleaned.report
    if place is not None:
        write_copy(cleaned, place)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    for rule in report.rules:
        if rule.found:
            console.print(show_text(describe_rule(rule, noun=report.noun, num_in=report.num_in)))
        for example in rule.examples:
            console.print(show_text(f"  row {example.row}: {example.text}"))
            if example.beside:
                console.print(show_text(f"    {example.beside}"))
    if quiet := [rule.rule for rule in report.rules if not rule.found]:
        console.print(show_text(f"nothing by {', '.join(quiet)}"))
    if cleaned.num_empty:
        console.print(show_text(f"{cleaned.num_empty} rows without a prompt or a response are left out"))
    kept = f"{len(cleaned.lines)} of {report.num_in + cleaned.num_empty} rows"
    console.print(show_text(f"{kept} kept" if place is None else f"{kept} in {place}"))
