"""The stages `sft` and `policy`: demonstrations or rewards -> a policy, by a method of `policy/methods`.

Takes values out of the run, builds the method's task, and closes the stage. Under a launcher the first process does
so, and the others build the same task from what it sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.edit_outcomes import describe_training
from rlaif.config.ppo_rewards import RewardConfig, uses_run_model
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import ConfigError, Interrupted
from rlaif.evaluation.measures import compute_means, load_measure
from rlaif.files.atomic import write_atomically
from rlaif.judging.bench import Bench
from rlaif.judging.panel import RunJudge, load_score_template
from rlaif.judging.stage import ask_as
from rlaif.models.interface import TokenScorer
from rlaif.models.weights.context import NO_LIMIT
from rlaif.models.weights.loading import load_reward_model, resolve_device
from rlaif.models.weights.saving import save_model
from rlaif.policy.card import render_policy_card
from rlaif.policy.methods import METHODS
from rlaif.policy.methods.held_out import describe_held_out, measure_held_out, write_held_out
from rlaif.policy.ppo.asked_checks import HeldOut, JudgeCheck, hold_out
from rlaif.policy.ppo.checkpoint import drop_checkpoints
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.given_models import find_initial_policy, find_value_start, save_policy
from rlaif.policy.ppo.log import EVALUATIONS_FILE, PolicyLog, read_kl
from rlaif.policy.ppo.sharing import find_sharding
from rlaif.policy.rewards.episodes import Episode, RewardSource
from rlaif.policy.rewards.judge import JudgeReward
from rlaif.policy.rewards.sources import Rewards, check_rewards, reward_by_model, tally_rewards
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import PolicyCard, Prompt, Record, Tally, find_held_out
from rlaif.run.book import Book
from rlaif.run.folder import RunFolder
from rlaif.run.input_checks import (
    expect_demonstrations,
    expect_held_out_model,
    expect_judge,
    expect_measures,
    expect_policy,
    expect_rewards,
)
from rlaif.run.round import Round, seed_of_round
from rlaif.run.shelf import Shelf
from rlaif.run.stages import POLICY, REWARD_MODEL, SFT
from rlaif.run.world import draw_held_out, find_measures, is_frontdesk_world
from rlaif.sampling.prompts import drop_over_length
from rlaif.sampling.stage import find_training_prompts, read_clean_demonstrations
from rlaif.training.crew import call_in
from rlaif.training.log import TrainingLog
from rlaif.training.sigterm import stop_on_sigterm
from rlaif.training.team import Team

PPO = METHODS["ppo"]


class PolicyJob(NamedTuple):
    """What every process of a team needs to train the policy of a round."""

    config: RunConfig
    run: RunFolder
    round: int
    prompts: Sequence[Prompt]
    checked: Sequence[Prompt]
    """Prompts of the evaluations during training."""


def trains_reward_model(config: RunConfig) -> bool:
    """Whether the run's loop needs a reward model that it trains itself."""
    return uses_run_model(config.ppo.rewards)


def train_sft(round: Round, book: Book, shelf: Shelf) -> None:
    """Demonstrations -> the policy that everything else starts from."""
    if book.is_done(SFT, round=round.number):
        return
    method = METHODS["sft"]
    method.check(round.config, round.team.size)
    config = round.config.sft
    read = read_clean_demonstrations(round)
    held_out_ids = find_held_out((prompt.id for prompt, _ in read.demonstrations), test_fraction=config.test_fraction)
    held_out = [one for one in read.demonstrations if one[0].id in held_out_ids]
    base = shelf.policy("start")
    expect_policy(round, SFT, base.fingerprint)
    records = [*(prompt for prompt, _ in read.demonstrations), *(written for _, written in read.demonstrations)]
    expect_demonstrations(round, SFT, records)
    task = Task(
        start=base,
        initial=base,
        config=round.config,
        folder=round.find_folder(SFT),
        seed=round.config.seed,
        demonstrations=[one for one in read.demonstrations if one[0].id not in held_out_ids],
    )
    total = method.count_steps(task)
    with TrainingLog(round.metrics, method.metrics, total=total, first_step=method.first_step) as log:
        trained = method.train(replace(task, listener=log.listener))
    save_model(trained.model, base.tokenizer, shelf.sft_dir)
    if held_out:
        loss = measure_held_out(held_out, base=base, trained=trained.model, config=config)
        write_held_out(loss, task.folder)
        say(f"sft: {describe_held_out(loss)}")
    shelf.drop("start")
    tally = _count_sft(read.tally, num_held_out=len(held_out), trained=trained.tally)
    book.finish(SFT, round=round.number, tally=tally, records=records)


def _count_sft(cleaned: Tally, *, num_held_out: int, trained: Tally) -> Tally:
    """The stage's tally: what cleaning dropped, what is held out, and what the training dropped."""
    held_out = {"held_out": num_held_out} if num_held_out else {}
    return Tally(num_in=cleaned.num_in, dropped={**cleaned.dropped, **held_out, **trained.dropped})


def check_sources(round: Round, bench: Bench) -> None:
    """Refuse, before anything is spent, rewards that cannot be given."""
    check_rewards(round.config.ppo, judge=bench.judges[0].config, constitution=round.constitution)


def train_by_rewards(round: Round, book: Book, shelf: Shelf, bench: Bench) -> None:
    """Rewards, by default the reward model's -> policy, by PPO on the training prompts."""
    if book.is_done(POLICY, round=round.number):
        return
    if trains_reward_model(round.config):
        book.require(REWARD_MODEL, round=round.number)
    folder = round.folder(POLICY)
    with ExitStack() as lent:
        rewards = Rewards(
            round.config.ppo,
            load_own=shelf.reward_model,
            device=round.config.policy.device,
            make_judge=lambda source: make_judge_reward(round, book, shelf, bench, source=source, lent=lent),
            team=round.team,
        )
        expect_policy(round, POLICY, shelf.policy("start").fingerprint)
        expect_rewards(round, POLICY, rewards.given)
        held_out = _divide_prompts(round, book, shelf, rewards)
        job = PolicyJob(round.config, round.run.absolute(), round.number, held_out.trained, held_out.checked)
        task = _make_task(job, shelf, rewards, folder=folder, team=round.team)
        with (
            stop_on_sigterm() as stop,
            PolicyLog(round.metrics, total=PPO.count_steps(task), folder=folder) as log,
        ):
            call_in(round.team, job)
            checks = make_checks(round, book, bench, prompts=held_out.checked, lent=lent)
            listener = log.listener(stop_requested=stop.is_set)
            trained = PPO.train(replace(task, checks=checks, listener=listener))
    if trained.stop_reason == "stop_requested":
        raise Interrupted(trained.note, where=str(folder), fix="run the same command again with --resume")
    _say_result(round, trained)
    keeps_adapter = round.config.ppo.model.save_adapter
    save_policy(trained, initial=task.initial, folder=shelf.policy_dir, keeps_adapter=keeps_adapter)
    card = _write_card(round, shelf, trained, task=task, rewards=rewards)
    round.ledger.append([task.start.fingerprint, shelf.policy("trained").fingerprint, *rewards.models])
    book.finish(
        POLICY,
        round=round.number,
        tally=held_out.tally,
        records=[card],
        constitution_id=round.constitution.id,
    )
    drop_checkpoints(folder)


def follow_policy(job: PolicyJob, *, team: Team) -> None:
    """Train the policy in a process that is not the first one. Only the first one reports, asks judges and writes."""
    shelf = Shelf(job.config, job.run, round=job.round)
    rewards = Rewards(job.config.ppo, load_own=shelf.reward_model, device=job.config.policy.device, team=team)
    task = _make_task(job, shelf, rewards, folder=shelf.policy_dir.parent, team=team)
    PPO.train(replace(task, checks=Checks(job.checked)))


def _make_task(job: PolicyJob, shelf: Shelf, rewards: Rewards, *, folder: Path, team: Team) -> Task:
    """The training that every process of a team does."""
    start = shelf.policy("start")
    initial = find_initial_policy(job.config, start=lambda: start, current=lambda: shelf.policy("current"))
    return Task(
        # Where training begins with the starting policy, the reference is that same loaded model.
        start=initial if initial.fingerprint.id == start.fingerprint.id else start,
        initial=initial,
        config=job.config,
        folder=folder,
        seed=seed_of_round(job.config.seed, job.round),
        team=team,
        prompts=job.prompts,
        rewards=rewards.weighted,
        value_start=find_value_start(job.config.ppo, rewards=rewards.loaded, policy=start),
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
    judge = bench.judges[0]
    template = load_score_template(source, judge.config)
    return JudgeReward(
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


def _say_result(round: Round, trained: TrainedPolicy) -> None:
    if trained.note:
        say(f"policy: {trained.note}")
    if trained.steps == 0:
        say("policy: no step of training is kept, it is the policy that training began with: lower ppo.learning_rate")
    scored = tally_rewards(round.metrics.read(PPO.metrics))
    if scored.num_dropped:
        say(f"rewards: {scored} responses")


def _write_card(round: Round, shelf: Shelf, trained: TrainedPolicy, *, task: Task, rewards: Rewards) -> PolicyCard:
    """The policy's card, also as the README of its folder."""
    card = PolicyCard(
        model_id=shelf.policy("trained").fingerprint.id,
        reference_model_id=task.start.fingerprint.id,
        reward_model_id=rewards.models[0].id if rewards.models else None,
        trained_from_id=task.initial.fingerprint.id,
        config=round.config.ppo.model_dump(mode="json"),
        metrics=trained.metrics,
        num_steps=trained.steps,
        alarms=trained.alarms,
        stopped=trained.note if trained.stop_reason == "alarm" else "",
        edit=describe_training(round.ledger, round.constitution),
    )
    readme = render_policy_card(
        card,
        rewards=[reward.name for reward in rewards.weighted],
        note=trained.note,
        constitution=round.constitution.name,
        ledger_head=round.ledger.head(),
        kl=read_kl(task.folder / EVALUATIONS_FILE, step=trained.steps),
    )
    write_atomically(shelf.policy_dir / "README.md", readme)
    return card


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
