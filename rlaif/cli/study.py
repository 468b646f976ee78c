"""`rlaif study curves`: what each training method buys for a budget, on the front desk.

Parses options, calls `rlaif.study`, prints what it found. Trains nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlaif.console import console, show_text

study_app = typer.Typer(no_args_is_help=True, help="Studies of training methods on the front desk.")


@study_app.command("curves")
def curves(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where cells and pages are kept.")] = Path(
        "study"
    ),
    recipes: Annotated[
        str,
        typer.Option(
            "--recipes",
            help="What to compare: sft, rl, sft+rl@SHARE, rl+sft@SHARE, where SHARE of the budget buys demonstrations.",
        ),
    ] = "sft,rl,sft+rl@.4,rl+sft@.4",
    budgets: Annotated[
        str, typer.Option("--budgets", help="What a training may spend, in the unit of the prices.")
    ] = "80,320,1280,5120",
    demo_cost: Annotated[float, typer.Option("--demo-cost", help="Price of a demonstration.")] = 10.0,
    label_cost: Annotated[float, typer.Option("--label-cost", help="Price of a thumb, a rating or a choice.")] = 1.0,
    judgement_cost: Annotated[
        float, typer.Option("--judgement-cost", help="Price of a judgement, with --label-kind judgement.")
    ] = 0.1,
    demo_noise: Annotated[
        str,
        typer.Option("--demo-noise", help="How likely a demonstration lacks each quality; a panel for each value."),
    ] = "0,.1",
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings of each cell, by seeds 0, 1, ...")] = 5,
    label_kind: Annotated[
        Literal["thumb", "rating", "choice4", "judgement"],
        typer.Option(
            "--label-kind",
            help="Feedback on responses: good or not, the share of the wanted qualities, the best of four, or a "
            "judge's score.",
        ),
    ] = "thumb",
    algorithm: Annotated[
        Literal["rloo", "grpo", "ppo"], typer.Option("--algorithm", help="How rl trains by rewards.")
    ] = "rloo",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue or extend the study in --out; finished cells stay.")
    ] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Write the pages of the study in --out again; train nothing.")
    ] = False,
) -> None:
    """Success over budget by recipe: cells.jsonl, curves.json, curves.svg and curves.html in --out.

    All people are simulated. Every finished training is kept; --resume trains those that are missing, and may name
    more recipes, budgets and seeds. Each of the default 140 trainings takes between five seconds and two minutes.
    """
    from rlaif.study.page import describe_finding, write_study
    from rlaif.study.plan import Prices, make_plan
    from rlaif.study.results import read_finished
    from rlaif.study.runner import refuse_used, run_study
    from rlaif.study.summary import summarise

    if render:
        prices, cells = read_finished(out)
    else:
        prices = Prices(
            demo_cost=demo_cost,
            label_cost=label_cost,
            judgement_cost=judgement_cost,
            label_kind=label_kind,
            algorithm=algorithm,
        )
        plan = make_plan(recipes=recipes, budgets=budgets, noises=demo_noise, num_seeds=seeds, prices=prices)
        if not resume:
            refuse_used(out)
        cells = run_study(plan, out)
    study = summarise(cells, prices)
    page = write_study(study, out)
    for panel in study.panels:
        for decision in panel.decisions:
            console.print(show_text(f"demo noise {panel.noise:g}, {decision.claim}: {decision.verdict}"))
            for finding in decision.findings:
                console.print(show_text(f"  {describe_finding(finding)}"))
            if decision.note:
                console.print(show_text(f"  {decision.note}"))
    console.print(show_text(f"{len(study.trained)} trainings, {len(study.seeds)} whole seeds: {page}"))
