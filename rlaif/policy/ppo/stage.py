"""Training by rewards in the stage `policy`: prompts and sources of rewards -> a policy, by PPO, RLOO or GRPO.

Takes values out of the run and builds the method's task; `policy/stage.py` saves and closes. Under a launcher the first
process does so, and the others build the same task from what it sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import ConfigError
from rlaif.evaluation.measures import compute_means, load_measure
from rlaif.judging.bench import Bench
from rlaif.judging.panel import RunJudge, load_reward_template
from rlaif.judging.stage import ask_as
from rlaif.models.interface import TokenScorer
from rlaif.models.weights.context import NO_LIMIT
from rlaif.models.weights.loading import LoadedModel, load_reward_model, resolve_device
from rlaif.policy.methods import METHODS
from rlaif.policy.ppo.asked_checks import HeldOut, JudgeCheck, hold_out
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.given_models import find_initial_policy, find_value_start
from rlaif.policy.ppo.log import PolicyLog
from rlaif.policy.ppo.sharing import find_sharding
from rlaif.policy.rewards.episodes import Critic, Episode, RewardSource
from rlaif.policy.rewards.judge import AskedJudge, JudgeReward
from rlaif.policy.rewards.ranked import RankedReward
from rlaif.policy.rewards.sources import Rewards, reward_by_model
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Prompt, Record, Tally
from rlaif.run.book import Book
from rlaif.run.chain import Link, find_before, find_by_rewards
from rlaif.run.folder import RunFolder
from rlaif.run.input_checks import expect_held_out_model, expect_judge, expect_measures, expect_rewards
from rlaif.run.round import Round, seed_of_round
from rlaif.run.shelf import Shelf
from rlaif.run.stages import POLICY
from rlaif.run.world import draw_held_out, find_measures, is_frontdesk_world
from rlaif.sampling.prompts import drop_over_length
from rlaif.sampling.stage import find_training_prompts
from rlaif.training.crew import call_in
from rlaif.training.sigterm import stop_on_sigterm
from rlaif.training.team import Team


class PolicyJob(NamedTuple):
    """What every process of a team needs to train the policy of a round."""

    config: RunConfig
    run: RunFolder
    round: int
    prompts: Sequence[Prompt]
    checked: Sequence[Prompt]
    """Prompts of the evaluations during training."""


class TrainedByRewards(NamedTuple):
    trained: TrainedPolicy
    task: Task
    rewards: Rewards
    tally: Tally
    """Prompts."""


class Models(NamedTuple):
    """The policies of a method's task."""

    start: LoadedModel
    initial: LoadedModel


def train_link_by_rewards(round: Round, book: Book, shelf: Shelf, bench: Bench, *, link: Link) -> TrainedByRewards:
    """Rewards, by default the reward model's -> policy, on the training prompts."""
    folder = link.find_dir(round.run, round=round.number)
    folder.mkdir(parents=True, exist_ok=True)
    method = METHODS[link.method]
    with ExitStack() as lent:
        rewards = Rewards(
            round.config.ppo,
            load_own=shelf.reward_model,
            device=round.config.policy.device,
            make_judge=lambda source: make_judge_reward(round, book, shelf, bench, source=source, lent=lent),
            team=round.team,
        )
        expect_rewards(round, POLICY, rewards.given)
        held_out = _divide_prompts(round, book, shelf, rewards)
        job = PolicyJob(round.config, round.run.absolute(), round.number, held_out.trained, held_out.checked)
        task = _make_task(job, shelf, rewards, folder=folder, team=round.team)
        with (
            stop_on_sigterm() as stop,
            PolicyLog(round.metrics, total=method.count_steps(task), folder=folder) as log,
        ):
            call_in(round.team, job)
            checks = make_checks(round, book, bench, prompts=held_out.checked, lent=lent)
            listener = log.listener(stop_requested=stop.is_set)
            trained = method.train(replace(task, checks=checks, listener=listener))
    return TrainedByRewards(trained, task, rewards, held_out.tally)


def follow_policy(job: PolicyJob, *, team: Team) -> None:
    """Train the policy in a process that is not the first one. Only the first one reports, asks judges and writes."""
    shelf = Shelf(job.config, job.run, round=job.round)
    rewards = Rewards(job.config.ppo, load_own=shelf.reward_model, device=job.config.policy.device, team=team)
    link = find_by_rewards(job.config)
    task = _make_task(job, shelf, rewards, folder=link.find_dir(job.run, round=job.round), team=team)
    METHODS[link.method].train(replace(task, checks=Checks(job.checked)))


def find_models(config: RunConfig, shelf: Shelf, link: Link) -> Models:
    """The policy that a method of the stage begins with, and its reference.

    The first method begins with the starting policy or the last round's, and its reference is the starting one. Each
    later one begins with the policy of the method before, which is its reference too.
    """
    before = find_before(config, link)
    if before is not None:
        policy = shelf.trained_by(before)
        return Models(policy, policy)
    start = shelf.policy("start")
    initial = find_initial_policy(config, start=lambda: start, current=lambda: shelf.policy("current"))
    # Where training begins with the starting policy, the reference is that same loaded model.
    return Models(initial if initial.fingerprint.id == start.fingerprint.id else start, initial)


def _make_task(job: PolicyJob, shelf: Shelf, rewards: Rewards, *, folder: Path, team: Team) -> Task:
    """The training that every process of a team does."""
    models = find_models(job.config, shelf, find_by_rewards(job.config))
    return Task(
        start=models.start,
        initial=models.initial,
        config=job.config,
        folder=folder,
        seed=seed_of_round(job.config.seed, job.round),
        team=team,
        prompts=job.prompts,
        rewards=rewards.weighted,
        value_start=find_value_start(job.config.ppo, rewards=rewards.loaded, policy=models.start),
    )


def _make_opener(
    round: Round, bench: Bench, judge: RunJudge, *, template: JudgeTemplate, lent: ExitStack, rewards: bool = False
) -> Callable[[], TokenScorer]:
    """A function that gives the judge, opened and compared with the run's earlier one when it is first called.

    lent: keeps the judge open while the training runs. rewards: the judge gives PPO's rewards, by a separate template.
    """

    @cache
    def open_judge() -> TokenScorer:
        scorer = lent.enter_context(bench.lend(judge))
        expect_judge(round, POLICY, model=scorer.fingerprint, config=judge.config, template=template, rewards=rewards)
        return scorer

    return open_judge


def _noting(round: Round, book: Book) -> Callable[[Sequence[Record]], None]:
    """A function that notes that the training used records."""
    return partial(book.use, POLICY, round=round.number, constitution_id=round.constitution.id)


def make_judge_reward(
    round: Round, book: Book, shelf: Shelf, bench: Bench, *, source: RewardConfig, lent: ExitStack
) -> RewardSource:
    """The run's first judge as a source of rewards. lent: keeps it open while the training runs."""
    asked = _make_asked(round, book, shelf, bench, source=source, lent=lent)
    return JudgeReward(asked) if source.ranks is None else RankedReward(asked, ranks=source.ranks)


def make_critic(
    round: Round, book: Book, shelf: Shelf, bench: Bench, *, source: RewardConfig, lent: ExitStack
) -> Critic:
    """The same judge, who says why a response has its score."""
    return JudgeReward(_make_asked(round, book, shelf, bench, source=source, lent=lent)).judge


def _make_asked(
    round: Round, book: Book, shelf: Shelf, bench: Bench, *, source: RewardConfig, lent: ExitStack
) -> AskedJudge:
    judge = bench.judges[0]
    template = load_reward_template(source, judge.config)
    return AskedJudge(
        replace(ask_as(round, bench, judge), template=template, drops_refused=True),
        open_judge=_make_opener(round, bench, judge, template=template, lent=lent, rewards=True),
        folder=round.folder(POLICY),
        start=shelf.policy("start").fingerprint,
        use=_noting(round, book),
    )


def _divide_prompts(round: Round, book: Book, shelf: Shelf, rewards: Rewards) -> HeldOut:
    """The training prompts that leave room for a response, and those of the evaluations during training."""
    config = round.config
    generator = shelf.generator("current")
    fitting = drop_over_length(
        find_training_prompts(round, book),
        count_tokens=lambda prompt: generator.count_tokens(prompt.as_segments()),
        max_tokens=min(generator.context_tokens, rewards.context_tokens or NO_LIMIT) - config.ppo.response_length,
    )
    return hold_out_prompts(config, fitting.prompts, fitting.tally)


def hold_out_prompts(config: RunConfig, prompts: Sequence[Prompt], tally: Tally) -> HeldOut:
    """The prompts that PPO trains on, and those of its evaluations."""
    # The final evaluation has the first of the front desk's held-out prompts; the evaluations here have those after.
    first = config.evaluation.num_prompts
    draw_own = partial(draw_held_out, config, first=first) if is_frontdesk_world(config) else None
    return hold_out(prompts, tally, guards=config.ppo.guards, seed=config.seed, draw_own=draw_own)


def make_checks(round: Round, book: Book, bench: Bench, *, prompts: Sequence[Prompt], lent: ExitStack) -> Checks:
    """What the evaluations during training measure on these prompts; nothing where there are none."""
    if not prompts:
        return Checks()
    guards, evaluator = round.config.ppo.guards, bench.evaluator
    round.ledger.append(list(prompts))
    held_out = judge = None
    if guards.held_out_model is not None:
        say(f"loading the held-out reward model: {guards.held_out_model}")
        loaded = load_reward_model(guards.held_out_model, dtype="float32", device=round.config.policy.device)
        held_out = reward_by_model(loaded)
        round.ledger.append([loaded.fingerprint])
        expect_held_out_model(round, POLICY, loaded.fingerprint, path=guards.held_out_model)
    if guards.judge_every is not None:
        bench.check(round.constitution)
        judge = JudgeCheck(
            replace(ask_as(round, bench, evaluator), drops_refused=True),
            open_judge=_make_opener(round, bench, evaluator, template=evaluator.template, lent=lent),
            prompts=prompts,
            config=round.config.ppo,
            seed=round.seed,
            round=round.number,
            folder=round.folder(POLICY),
            use=_noting(round, book),
        )
    measures = {spec: load_measure(spec) for spec in find_measures(round.config)}
    expect_measures(round, POLICY)

    def measure(episodes: Sequence[Episode]) -> dict[str, float]:
        return compute_means([(episode.prompt, episode.response) for episode in episodes], measures=measures)

    return Checks(prompts, held_out, judge, measure)


def check_sharing(config: RunConfig, *, num_processes: int) -> None:
    """Refuse, before anything begins, what several processes cannot do together."""
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
