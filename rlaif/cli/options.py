"""Options that several commands take, each with one help text and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Config file; ./rlaif.yaml where there is one.")
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="A published recipe: cai, cai_cot, lee2023, salmon, mtbench. It wins over the file.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=value", help="Override one value of the config.")
]
RunOption = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name of the run folder.")]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", help="Folder that holds the runs and their ledger.")]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="The ledger's file, where it is not that of the runs.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume a run that was interrupted.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything that is drawn.")]
LabelsOption = Annotated[
    str | None,
    typer.Option("--human-labels", metavar="PATH", help="People's labels or preferences, mixed in with the judge's."),
]
LabelColumnsOption = Annotated[
    Path | None, typer.Option("--label-columns", help="YAML file that maps the columns of people's labels.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, count calls and tokens, write nothing.")
]
BatchApiOption = Annotated[
    bool,
    typer.Option(
        "--batch-api", help="Submit the questions to the server's batch endpoint; --resume collects the answers."
    ),
]
EngineOption = Annotated[
    Literal["local", "ray"] | None,
    typer.Option("--engine", help="Where sampling and judging are computed: here, or on a Ray cluster (`scale`)."),
]
