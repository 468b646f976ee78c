"""The processes beside the first one: it goes through the pipeline, and calls them in where a model is trained.

They wait, train their share of what the first one describes, and wait again. They hold no lock, open no ledger and
write nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from rlaif.config.run import RunConfig
from rlaif.console import notes, say
from rlaif.errors import ConfigError, InputError
from rlaif.ledger.store import Ledger
from rlaif.models.loading import resolve_device
from rlaif.policy.ppo import train as ppo
from rlaif.policy.ppo.rewards import Episode, RewardFailure
from rlaif.policy.ppo.sharing import find_sharding
from rlaif.processes import Team
from rlaif.records import Prompt
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import train_reward_model
from rlaif.run_models import RunModels
from rlaif.runs import RunFolder
from rlaif.work import Work, seed_of_round


class Job(NamedTuple):
    """A training that all processes do together."""

    stage: Literal["5_reward_model", "6_policy"]
    config: RunConfig
    run_path: Path
    round: int
    data: Any
    """Rows of preferences, or prompts."""


def call_in(work: Work, stage: Literal["5_reward_model", "6_policy"], data: Any) -> None:
    """All other processes begin this stage's training; the first one must begin it next."""
    job = Job(stage, work.config, work.run.path.resolve(), work.round, data)
    work.team.ask_first(lambda: job)


def dismiss(team: Team) -> None:
    """There is nothing more to train."""
    team.ask_first(lambda: None)


def follow(team: Team) -> None:
    """What a process that is not the first one does, from start to end."""
    # The first process alone decides when to end; one that loses it ends as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while (job := team.ask_first(lambda: None)) is not None:
        try:
            _train(job, team)
        except InputError as error:  # what goes wrong in training goes wrong in all, and the first one tells
            notes.quiet = False
            say(f"process {team.rank}: {error.sentence}")
            raise


def _train(job: Job, team: Team) -> None:
    # No judge is asked here, so nobody looks into the ledger.
    models = RunModels(job.config, run=RunFolder(job.run_path), ledger=cast("Ledger", None), round=job.round)
    seed = seed_of_round(job.config.seed, job.round)
    if job.stage == "5_reward_model":
        train_reward_model(
            base=models.start_policy, train_rows=job.data, test_rows=[], config=job.config.reward_model,
            out_dir=models.reward_model_dir, seed=seed, resume=True, team=team,
        )  # fmt: skip
        return
    prompts: list[Prompt] = job.data
    config, start = job.config.ppo, models.start_policy
    initial = models.current_policy if config.start_from == "last_round" else start
    ppo.train_policy(
        policy=initial.model, reference=start.model, encoder=start.encoder, prompts=prompts,
        reward=team.in_shares(partial(reward_by_model, RewardModelScorer(models.reward_model))),
        config=config, out_dir=models.policy_dir.parent, seed=seed, resume=True,
        on_metrics=lambda numbers: None, on_samples=lambda step, responses: None, team=team,
    )  # fmt: skip


def reward_by_model(scorer: RewardModelScorer, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    outcomes = scorer.score_each([(episode.prompt, episode.response) for episode in episodes])
    return [RewardFailure(outcome) if isinstance(outcome, str) else outcome for outcome in outcomes]


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
