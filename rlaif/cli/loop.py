"""`rlaif generate-prefs, train, run, evaluate`: the loop from prompts to a trained policy.

Parses options, opens the run, calls one function of `rlaif.pipeline`, prints its result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rlaif.cli.options import (
    BatchApiOption,
    ConfigOption,
    DryRunOption,
    EngineOption,
    LabelColumnsOption,
    LabelsOption,
    PresetOption,
    ResumeOption,
    RunOption,
    RunsDirOption,
    SeedOption,
    SetOption,
)
from rlaif.config.methods import MethodName
from rlaif.console import console, say, show_text
from rlaif.errors import InputError
from rlaif.files.little_memory import check_memory
from rlaif.training.team import ALONE, Team, join_team, num_launched, refuse_several

if TYPE_CHECKING:
    from rlaif.config.load import Loaded
    from rlaif.config.run import RunConfig
    from rlaif.loop.open_run import OpenRun
    from rlaif.run.folder import RunFolder
    from rlaif.run.stages import Stage

LOADING = "loading torch and transformers"
"""Said before the import, which takes seconds in which nothing else would be seen."""


def generate_prefs(
    config: ConfigOption = None,
    set_: SetOption = None,
    preset: PresetOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    resume: ResumeOption = False,
    seed: SeedOption = None,
    dry_run: DryRunOption = False,
    engine: EngineOption = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", help="Recorded responses (CSV, JSON, JSONL, Parquet) instead of a policy."),
    ] = None,
    judgements: Annotated[
        Path | None,
        typer.Option("--judgements", help="Recorded verdicts (CSV, JSON, JSONL, Parquet) instead of a judge."),
    ] = None,
    columns: Annotated[
        Path | None, typer.Option("--columns", help="YAML file that maps the columns of recorded files.")
    ] = None,
    human_labels: LabelsOption = None,
    label_columns: LabelColumnsOption = None,
    batch_api: BatchApiOption = False,
) -> None:
    """Prompts -> samples -> judgements -> preferences.

    Without a config it runs on the embedded front desk. With --samples, --judgements and --columns it
    takes responses and verdicts that already exist. Where human.num_items asks people about pairs it ends with exit
    code 4 until all have an answer.
    """
    refuse_several("generate-prefs")
    given = [path for path in (samples, judgements, columns) if path is not None]
    if resume and not given and (noted := _find_recorded(runs_dir, run)):
        samples, judgements, columns = given = noted
    if given and len(given) < 3:
        raise InputError(
            "recorded verdicts need all of --samples, --judgements and --columns",
            fix="give the three files; see examples/recorded-verdicts",
        )
    labels = (human_labels, label_columns)
    loaded = _load(
        config, set_, seed, run=run, runs_dir=runs_dir, stored=resume, labels=labels, batch_api=batch_api,
        engine=engine, preset=preset,
    )  # fmt: skip
    from rlaif.loop.preflight import check_recorded
    from rlaif.run.stages import GENERATING

    _check_new(loaded.config, run, runs_dir, resume=resume, stages=[] if given else GENERATING)
    if samples and judgements and columns:
        check_recorded(samples, judgements, columns)
    say(LOADING)
    from rlaif import pipeline

    if samples and judgements and columns and dry_run:
        _show_recorded(loaded.config, samples=samples, judgements=judgements, columns=columns)
    elif samples and judgements and columns:
        with _open(loaded, run, runs_dir, file=config, resume=resume, recorded=given) as opened:
            pipeline.import_recorded_verdicts(opened, samples=samples, judgements=judgements, columns=columns)
    elif dry_run:
        _show_estimate(loaded)
    else:
        with _open(loaded, run, runs_dir, file=config, resume=resume) as opened:
            pipeline.generate_preferences(opened)


def train(
    config: ConfigOption = None,
    set_: SetOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    resume: ResumeOption = False,
    seed: SeedOption = None,
    stage: Annotated[
        Literal["all", "sft", "reward-model", "policy"], typer.Option("--stage", help="Which model to train.")
    ] = "all",
    method: Annotated[
        MethodName | None,
        typer.Option("--method", help="Train the policy by this method alone, with the reward model it may need."),
    ] = None,
    human_labels: LabelsOption = None,
    label_columns: LabelColumnsOption = None,
) -> None:
    """Preferences -> reward model -> policy, in the newest run or the one named by --run.

    Under `accelerate launch` or `torchrun` all processes train together.
    With --human-labels the preferences are first made again from the judge's stored comparisons and people's labels.
    """
    from rlaif.run.stages import POLICY, REWARD_MODEL, SFT

    if method is not None and stage != "all":
        raise InputError("--method and --stage both say what to train", fix="leave one of them out")
    stages = {"all": (REWARD_MODEL, POLICY), "sft": (SFT,), "reward-model": (REWARD_MODEL,), "policy": (POLICY,)}[stage]
    labels = (human_labels, label_columns)
    load = partial(_load, config, seed=seed, run=run, runs_dir=runs_dir, stored=True, labels=labels)
    loaded = load(set_)
    if method is not None and (methods := _choose_methods(loaded.config, method)):
        loaded = load([*(set_ or []), f"methods=[{', '.join(methods)}]"])
    if method is not None and method in loaded.config.chain.before:
        stages = (SFT,)
    _check_further(loaded.config, run, runs_dir, stages=stages)
    say(LOADING)
    from rlaif import pipeline
    from rlaif.policy.ppo.stage import check_sharing
    from rlaif.training.crew import dismiss

    check_sharing(loaded.config, num_processes=num_launched())
    with join_team(on_cpu=loaded.config.policy.device == "cpu") as team:
        if not team.is_first:
            pipeline.follow(team)
            return
        with _open(loaded, run, runs_dir, file=config, resume=resume, stages=stages, team=team) as opened:
            pipeline.train(opened, stage=stage, method=method)
        dismiss(team)


def run(
    config: ConfigOption = None,
    set_: SetOption = None,
    preset: PresetOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    resume: ResumeOption = False,
    seed: SeedOption = None,
    dry_run: DryRunOption = False,
    engine: EngineOption = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="How many rounds, each with the policy that the last one trained.")
    ] = None,
    human_labels: LabelsOption = None,
    label_columns: LabelColumnsOption = None,
    batch_api: BatchApiOption = False,
) -> None:
    """The whole loop: prompts to a trained policy and a report.

    With several rounds a gate (gates.*) may stop it after one. The exit code is then 0 and the last good round is
    named; it is 1 where no round passed its gates. Where human.num_items asks people about pairs the run ends with exit
    code 4 in each round, until all have an answer.
    """
    refuse_several("run")
    labels = (human_labels, label_columns)
    loaded = _load(
        config, set_, seed, run=run, runs_dir=runs_dir, stored=resume, rounds=rounds, labels=labels,
        batch_api=batch_api, engine=engine, preset=preset,
    )  # fmt: skip
    from rlaif.loop.preflight import needed_stages

    _check_new(loaded.config, run, runs_dir, resume=resume, stages=needed_stages(loaded.config))
    say(LOADING)
    from rlaif import pipeline
    from rlaif.loop.rounds import describe_rounds, require_good_round

    if dry_run:
        _show_estimate(loaded, num_rounds=loaded.config.rounds, evaluates=True)
        return
    with _open(loaded, run, runs_dir, file=config, resume=resume) as opened:
        done = pipeline.run_rounds(opened)
        if done.asked_for > 1 and done.rows:
            for line in describe_rounds(done, constitution=opened.round.constitution):
                console.print(show_text(line))
    require_good_round(done)


def evaluate(
    config: ConfigOption = None,
    set_: SetOption = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    resume: ResumeOption = False,
    seed: SeedOption = None,
    batch_api: BatchApiOption = False,
) -> None:
    """Win rate against the starting policy, reward-model accuracy, measures: the report."""
    refuse_several("evaluate")
    loaded = _load(config, set_, seed, run=run, runs_dir=runs_dir, stored=True, batch_api=batch_api)
    from rlaif.run.stages import EVALUATION

    _check_further(loaded.config, run, runs_dir, stages=(EVALUATION,))
    say(LOADING)
    from rlaif import pipeline

    with _open(loaded, run, runs_dir, file=config, resume=resume, stages=(EVALUATION,)) as opened:
        pipeline.evaluate(opened)


def _choose_methods(config: RunConfig, method: MethodName) -> Sequence[MethodName]:
    """The value of `methods` with which this method is trained; none where the run has it already."""
    from rlaif.config.methods import add_method
    from rlaif.errors import ConfigError

    if method in config.chain.names:
        return ()
    if config.methods:
        raise ConfigError(
            f"the run's methods are {', '.join(config.methods)}, and {method} is none of them",
            where="methods",
            fix="name it in `methods`, or start a new run",
        )
    return add_method(config.chain, method)


def _load(
    config: Path | None,
    overrides: list[str] | None,
    seed: int | None,
    *,
    run: str | None,
    runs_dir: Path,
    stored: bool,
    rounds: int | None = None,
    labels: tuple[str | None, Path | None] = (None, None),
    preset: str | None = None,
    batch_api: bool = False,
    engine: str | None = None,
) -> Loaded:
    """The options of the run that is continued (`stored`), else of the config file, else the defaults."""
    from rlaif.config.load import find_config, load_options

    given = {"seed": seed, "rounds": rounds, "scale.engine": engine}
    overrides = [*(overrides or []), *(f"{name}={value}" for name, value in given.items() if value is not None)]
    overrides += [] if preset is None else [f"preset={json.dumps(preset)}"]
    for name, path in zip(("path", "columns"), labels, strict=True):
        overrides += [] if path is None else [f"human.{name}={json.dumps(str(path))}"]
    overrides += ["judge.endpoint.batch_api=true"] if batch_api else []
    from rlaif.cli.stored_options import find_stored, load_stored

    going_on = find_stored(runs_dir, run, config) if stored else None
    if config is not None and find_config(None) not in (None, config):
        say(f"options are read from {config}, and not from {find_config(None)}")
    if going_on is None:
        loaded = load_options(find_config(config), overrides=overrides)
    else:
        loaded = load_stored(going_on, config, overrides)
    for note in loaded.notes:
        say(note)
    check_memory()
    return loaded


def _find_recorded(runs_dir: Path, run: str | None) -> list[Path]:
    from rlaif.cli.stored_options import find_recorded

    return find_recorded(runs_dir, run)


def _check_new(config: RunConfig, run: str | None, runs_dir: Path, *, resume: bool, stages: Sequence[Stage]) -> None:
    """For a run that begins or is resumed: refuse all that needs no model, before torch is imported."""
    from rlaif.loop.preflight import check_inputs, check_new_run, find_open_stages
    from rlaif.run.folder import holds_run, open_run
    from rlaif.run.options import refuse_contradictions

    check_new_run(config, run=run, runs_dir=runs_dir, resume=resume)
    is_there = resume and (run is None or holds_run(runs_dir / run))
    folder: RunFolder | None = open_run(runs_dir, run) if is_there else None
    if folder is not None:
        refuse_contradictions(folder.path, config, resume=True)
    check_inputs(config, stages=find_open_stages(stages, run=folder, num_rounds=config.rounds))


def _check_further(config: RunConfig, run: str | None, runs_dir: Path, *, stages: Sequence[Stage]) -> None:
    """For a command that continues a run: refuse all that needs no model, before torch is imported."""
    from rlaif.loop.preflight import check_inputs, find_open_stages
    from rlaif.run.folder import newest_round, open_run
    from rlaif.run.options import refuse_contradictions

    folder = open_run(runs_dir, run)
    refuse_contradictions(folder.path, config)
    num_rounds = 1 + newest_round(folder, stage=stages[0])
    check_inputs(config, stages=find_open_stages(stages, run=folder, num_rounds=num_rounds))


@contextmanager
def _open(
    loaded: Loaded,
    run: str | None,
    runs_dir: Path,
    *,
    resume: bool,
    file: Path | None,
    stages: Sequence[Stage] = (),
    recorded: Sequence[Path] = (),
    team: Team = ALONE,
) -> Iterator[OpenRun]:
    """`file`: the config file that is given on the command line."""
    from rlaif.cli.stored_options import note_file_of_run
    from rlaif.loop.open_run import open_work

    with open_work(
        loaded.config, run_name=run, runs_dir=runs_dir, resume=resume, stages=stages, recorded=recorded, team=team,
        resolved=loaded.resolved, file=note_file_of_run(runs_dir, run, file, is_new=not (resume or stages)),
    ) as opened:  # fmt: skip
        yield opened


def _show_estimate(loaded: Loaded, *, num_rounds: int = 1, evaluates: bool = False) -> None:
    """What the run would ask of its models; nothing is written."""
    from rlaif.loop.dry_run import describe_estimate, estimate_run

    estimate = estimate_run(loaded.config, num_rounds=num_rounds, evaluates=evaluates)
    for line in describe_estimate(estimate):
        console.print(show_text(line))


def _show_recorded(config: RunConfig, *, samples: Path, judgements: Path, columns: Path) -> None:
    """Count the records that the recorded files would make; nothing is written."""
    from rlaif.loop.dry_run import describe_recorded

    for line in describe_recorded(config, samples=samples, judgements=judgements, columns=columns):
        console.print(show_text(line))
