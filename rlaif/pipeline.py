"""THE MAP: the rounds of the loop, and one round top to bottom, one call per stage. Read this first.

    prompts -> samples -> judgements -> preferences -> reward model -> policy -> evaluation

A stage is `stage.py` of its room. A finished stage is not done again; an interrupted one continues where it stopped.
A stage gets what it needs of four values: `round`, where it works; `book`, what the stages used; `shelf`, the loaded
models; `bench`, the judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rlaif.calibration.labels import Labels
from rlaif.config.methods import BY_REWARDS, MethodName
from rlaif.console import say
from rlaif.errors import GateClosed
from rlaif.judging.stage import draw_round_pairs, judge_samples
from rlaif.loop.gates import ClosedGate
from rlaif.loop.open_run import OpenRun
from rlaif.loop.people import ask_people
from rlaif.loop.rounds import RoundRow, Rounds, collect_round, describe_outcome, refuse_fewer_rounds, write_rounds
from rlaif.loop.stage_gates import pass_stage_gates
from rlaif.models.open import check_rollout_engine
from rlaif.policy.ppo.stage import PolicyJob, follow_policy
from rlaif.policy.stage import check_methods, train_first, train_policy
from rlaif.preferences.people import load_labels
from rlaif.preferences.stage import (
    check_labels,
    import_verdicts,
    is_mixing_due,
    mix_labels_late,
    pair_preferences,
)
from rlaif.report import stage as report
from rlaif.reward_model.stage import RewardModelJob, follow_reward_model, train_on_preferences
from rlaif.run.shelf import make_room
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, REWARD_MODEL, SFT
from rlaif.sampling.stage import make_prompts, sample_policy
from rlaif.training import crew
from rlaif.training.team import Team

TrainStage = Literal["all", "sft", "reward-model", "policy"]


def run_rounds(run: OpenRun) -> Rounds:
    """Round after round, each sampling with the policy of the one before, until all are done or a gate closes."""
    refuse_fewer_rounds(run.round)
    num_rounds = run.round.config.rounds
    labels = load_labels(run.round.config.human) if run.round.config.needs_preferences else None
    rows: list[RoundRow] = []
    stopped: ClosedGate | None = None
    for number in range(num_rounds):
        run = run._replace(round=run.round.at(number), shelf=run.shelf.at(number))
        try:
            run_round(run, labels=labels)
        except GateClosed as closed:
            stopped = ClosedGate(name=closed.where, sentence=closed.what)
            say(f"round {number}: {closed.sentence}")
            break
        rows.append(collect_round(run.round, run.book))
        if rows[-1].closed_gates:
            break
    rounds = Rounds(run=run.round.run.name, asked_for=num_rounds, rows=tuple(rows), stopped_inside=stopped)
    if num_rounds > 1:
        write_rounds(rounds, run.round.run.path)
        for gate in rows[-1].closed_gates if rows else ():
            say(f"round {rows[-1].round}: {gate.sentence} ({gate.name})")
        say(describe_outcome(rounds))
    return rounds


def run_round(run: OpenRun, *, labels: Labels | None) -> None:
    """Prompts to a trained policy and a report. labels: people's, for the preferences."""
    round, book, shelf, bench = run
    check_rollout_engine(round.config.ppo.rollout)
    check_methods(round, bench)
    if _begins_before_sampling(run):
        train_first(round, book, shelf)
        pass_stage_gates(round, book, after=SFT)
    if round.config.needs_preferences:
        make_preferences(run, labels=labels, command="run")
    else:
        bench.check(round.constitution)
        make_prompts(round, book, shelf)
        say("reward model: none is trained, and no preferences are made, as nothing learns from them")
    if round.config.trains_reward_model:
        train_on_preferences(round, book, shelf)
        pass_stage_gates(round, book, after=REWARD_MODEL)
    train_policy(round, book, shelf, bench)
    report.evaluate(round, book, shelf, bench)


def generate_preferences(run: OpenRun) -> None:
    """Prompts -> samples -> judgements -> preferences."""
    make_preferences(run, labels=load_labels(run.round.config.human), command="generate-prefs")


def make_preferences(run: OpenRun, *, labels: Labels | None, command: str) -> None:
    """Prompts -> samples -> judgements -> preferences, with people's labels mixed in.

    labels: from a file. command: the one to type again where people are asked and the run waits for them.
    """
    round, book, shelf, bench = run
    bench.check(round.constitution)
    check_labels(round, book, labels)
    make_room(round.config, shelf.clear, bench.clear)
    prompts = make_prompts(round, book, shelf)
    samples = sample_policy(round, book, shelf, prompts=prompts)
    pairs = draw_round_pairs(round, bench, samples).pairs
    check_labels(round, book, labels, samples=samples, pairs=pairs)
    comparisons = judge_samples(round, book, bench, prompts=prompts, samples=samples)
    pass_stage_gates(round, book, after=JUDGEMENTS)
    if round.config.human.num_items and not book.is_done(PREFERENCES, round=round.number):
        labels = ask_people(round, book, command=command)
    pair_preferences(
        round, book, bench, prompts=prompts, samples=samples, pairs=pairs, comparisons=comparisons, labels=labels
    )


def import_recorded_verdicts(run: OpenRun, *, samples: Path, judgements: Path, columns: Path) -> None:
    """Responses and verdicts that already exist -> preferences."""
    _, book, _, bench = run
    round, recorded, labels = import_verdicts(run.round, book, samples=samples, judgements=judgements, columns=columns)
    if round.config.human.num_items and not book.is_done(PREFERENCES, round=round.number):
        labels = ask_people(round, book, command="generate-prefs")
    pair_preferences(
        round, book, bench, prompts=recorded.prompts, samples=recorded.samples, pairs=recorded.pairs,
        comparisons=recorded.comparisons, labels=labels,
    )  # fmt: skip


def train(run: OpenRun, *, stage: TrainStage, method: MethodName | None = None) -> None:
    """Preferences -> reward model -> policy. stage: which model to train. method: train by this one alone."""
    round, book, shelf, bench = run
    config = round.config
    check_rollout_engine(config.ppo.rollout)
    if stage in ("all", "policy"):
        check_methods(round, bench)
    is_first = method in config.chain.before
    if stage == "sft" or is_first or (stage == "all" and method is None and _begins_before_sampling(run)):
        train_first(round, book, shelf, only=method)
        pass_stage_gates(round, book, after=SFT)
    if is_first:
        return
    if stage == "reward-model" or (stage == "all" and config.needs_preferences):
        is_asked = config.human.num_items > 0 and is_mixing_due(round, book)
        mix_labels_late(round, book, bench, asked=ask_people(round, book, command="train") if is_asked else None)
    if stage == "reward-model" or (stage == "all" and config.trains_reward_model and method in (None, *BY_REWARDS)):
        train_on_preferences(round, book, shelf)
    if stage in ("all", "policy"):
        if config.trains_reward_model and method in (None, *BY_REWARDS):
            pass_stage_gates(round, book, after=REWARD_MODEL)
        train_policy(round, book, shelf, bench, only=method)


def follow(team: Team) -> None:
    """All that a process does which is not the first one of a training."""
    crew.follow(team, {RewardModelJob: follow_reward_model, PolicyJob: follow_policy})


def evaluate(run: OpenRun) -> None:
    """The trained policy against the starting one, and the report."""
    report.evaluate(*run)


def _begins_before_sampling(run: OpenRun) -> bool:
    """Whether methods train on demonstrations before anything is sampled: once, in the run's first round."""
    return run.round.number == 0 and bool(run.round.config.chain.before)
