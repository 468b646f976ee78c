"""`rlaif reward-bench`: a trained reward model on a file of RewardBench's format.

Parses options, asks `rlaif.reward_model`, prints. Fetches no data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.console import console, show_text


def reward_bench(
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Rows of prompt, chosen, rejected and subset (JSONL, CSV, Parquet).",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="Folder or hub id of the reward model.", show_default=False)],
    device: Annotated[str, typer.Option("--device", help="Where it is loaded: auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Accuracy of a reward model on RewardBench's rows, by subset and section, with 95 % intervals."""
    from rlaif.reward_model.reward_bench import measure_bench, read_bench

    found = read_bench(rows)
    from rlaif.models.weights.loading import load_reward_model
    from rlaif.reward_model.ensemble import open_scorer

    result = measure_bench(found, open_scorer(load_reward_model(model, device=device)).score_each)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
    for part in (*result.subsets, *result.sections, result.all_rows):
        one = part.accuracy
        said = "not measured" if one is None else f"{one.mean:.1%}, 95 % interval {one.low:.1%} to {one.high:.1%}"
        console.print(show_text(f"{part.name}: {said}; {part.num_rows} rows"))
    if result.num_unscored:
        console.print(show_text(f"{result.num_unscored} rows left out: a response could not be scored"))
