"""The processes beside the first one: it goes through the pipeline, and calls them in where a model is trained.

They wait, train their share of what the first one describes, and wait again. They hold no lock, open no ledger and
write nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from rlaif.config.run import RunConfig
from rlaif.console import notes, say
from rlaif.errors import ConfigError, InputError
from rlaif.ledger.store import Ledger
from rlaif.models.weights.loading import resolve_device
from rlaif.policy.methods import METHODS
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.given_models import find_initial_policy, find_value_start
from rlaif.policy.ppo.sharing import find_sharding
from rlaif.policy.rewards.sources import FollowedRewards
from rlaif.policy.task import Task
from rlaif.records import ChoiceRow, PreferenceRow, Prompt
from rlaif.reward_model.train import train_reward_model
from rlaif.run.folder import RunFolder
from rlaif.run.shelf import RunModels
from rlaif.run.work import Work, seed_of_round
from rlaif.training.team import Team


class RewardModelJob(NamedTuple):
    """What the reward model is trained on."""

    rows: Sequence[PreferenceRow | ChoiceRow]


class PolicyJob(NamedTuple):
    """What the policy is trained and evaluated on."""

    prompts: Sequence[Prompt]
    checked: Sequence[Prompt]


class _Call(NamedTuple):
    """A training that all processes do together."""

    config: RunConfig
    run_path: Path
    round: int
    job: RewardModelJob | PolicyJob


def call_in(work: Work, job: RewardModelJob | PolicyJob) -> None:
    """All other processes begin this training; the first one must begin it next."""
    call = _Call(work.config, work.run.path.resolve(), work.round, job)
    work.team.ask_first(lambda: call)


def dismiss(team: Team) -> None:
    """There is nothing more to train."""
    team.ask_first(lambda: None)


def follow(team: Team) -> None:
    """What a process that is not the first one does, from start to end."""
    # The first process alone decides when to end; one that loses it ends as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while (call := _wait_for_call(team)) is not None:
        # No judge is asked here, so nobody looks into the ledger.
        models = RunModels(call.config, run=RunFolder(call.run_path), ledger=cast("Ledger", None), round=call.round)
        models.team = team
        try:
            if isinstance(call.job, RewardModelJob):
                _train_reward_model(call.job, models)
            else:
                _train_policy(call.job, models)
        except InputError as error:  # what goes wrong in training goes wrong in all, and the first one tells
            notes.quiet = False
            say(f"process {team.rank}: {error.sentence}")
            raise


def _wait_for_call(team: Team) -> _Call | None:
    return team.ask_first(lambda: None)


def _train_reward_model(job: RewardModelJob, models: RunModels) -> None:
    """As the pipeline's function of this name does it; the first one measures and writes."""
    train_reward_model(
        base=models.start_policy, train_rows=job.rows, test_rows=[], config=models.config.reward_model,
        out_dir=models.reward_model_dir, seed=seed_of_round(models.config.seed, models.round), resume=True,
        team=models.team,
    )  # fmt: skip


def _train_policy(job: PolicyJob, models: RunModels) -> None:
    """As the pipeline's function of this name does it; the first one is told, asked and writes."""
    start = models.start_policy
    initial, rewards = find_initial_policy(models), FollowedRewards(models)
    reference = initial if initial.fingerprint.id == start.fingerprint.id else start
    task = Task(
        start=reference,
        initial=initial,
        config=models.config,
        folder=models.policy_dir.parent,
        seed=seed_of_round(models.config.seed, models.round),
        team=models.team,
        prompts=job.prompts,
        rewards=rewards.weighted,
        checks=Checks(job.checked),
        value_start=find_value_start(models, rewards.loaded),
    )
    METHODS["ppo"].train(task)


def check_sharing(config: RunConfig, *, num_processes: int) -> None:
    """What several processes cannot do together is refused before anything begins."""
    if num_processes == 1:
        return
    find_sharding()
    if ":" in config.policy.device:
        raise ConfigError(
            f"{num_processes} processes cannot all train on {config.policy.device}",
            where="policy.device",
            fix="say auto or cuda: each process then takes a GPU of its own",
        )
    kind = resolve_device(config.policy.device).type
    if kind not in ("cuda", "cpu"):
        raise ConfigError(
            f"several processes train on GPUs or on the CPU, not on {kind}", where="policy.device", fix="say cpu"
        )
