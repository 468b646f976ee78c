"""The stages `sft` and `policy`: demonstrations, preferences or rewards -> a policy, by methods of `policy/methods`.

Takes values out of the run, builds each method's task, saves its policy, and closes the stage. What training by rewards
needs besides is in `ppo/stage.py`. Of several methods, one that is finished is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.calibration.edit_outcomes import describe_training
from rlaif.config.methods import BY_REWARDS, NEEDS, MethodName, name_metrics
from rlaif.console import say
from rlaif.errors import ConfigError, Interrupted, RunFolderError
from rlaif.files.atomic import write_atomically
from rlaif.judging.bench import Bench
from rlaif.ledger.sign_offs import state_head
from rlaif.models.weights.loading import LoadedModel, load_reward_model
from rlaif.models.weights.saving import save_model
from rlaif.policy.card import describe_rewards, render_policy_card
from rlaif.policy.methods import METHODS
from rlaif.policy.methods.held_out import describe_held_out, measure_held_out, write_held_out
from rlaif.policy.methods.stage import check_revising, gather_revising
from rlaif.policy.ppo.checkpoint import drop_checkpoints
from rlaif.policy.ppo.given_models import save_policy
from rlaif.policy.ppo.log import EVALUATIONS_FILE, read_kl
from rlaif.policy.ppo.stage import Models, find_models, train_link_by_rewards
from rlaif.policy.rewards.sources import check_rewards
from rlaif.policy.rewards.tally import tally_rewards
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.preferences.pool import digest_pool, read_pool
from rlaif.records import Demonstration, Model, PolicyCard, Prompt, Record, RewardModelCard, Tally, find_held_out
from rlaif.reward_model.stage import digest_rows_so_far, read_rows_so_far
from rlaif.run.book import Book
from rlaif.run.chain import Link, find_before, find_links
from rlaif.run.finished import finish_stage, stage_done
from rlaif.run.input_checks import expect_demonstrations, expect_policy, expect_preferences, expect_verifier
from rlaif.run.round import Round
from rlaif.run.shelf import Shelf
from rlaif.run.stages import POLICY, REWARD_MODEL, SFT, Stage
from rlaif.sampling.stage import read_clean_demonstrations
from rlaif.training.log import TrainingLog


class _Data(NamedTuple):
    """What a method learns from that was there before it."""

    given: Mapping[str, Any]
    """Fields of its task."""
    learnt_from: str
    """In words, for the card."""
    records: Sequence[Record] = ()
    """Those that the stage used."""
    held_out: Sequence[tuple[Prompt, Demonstration]] = ()
    """Demonstrations that nothing is trained on."""
    before: Tally = Tally(num_in=0)
    """Demonstrations that cleaning dropped, or rows that could not be read."""


class _Trained(NamedTuple):
    """A method's result, not saved yet."""

    trained: TrainedPolicy
    models: Models
    tally: Tally
    learnt_from: str
    options: Mapping[str, Any]
    records: Sequence[Record] = ()
    reward_models: Sequence[Model] = ()


def check_methods(round: Round, bench: Bench) -> None:
    """Refuse, before anything is spent, methods that cannot train here, and rewards that cannot be given."""
    config = round.config
    for link in (*find_links(config, SFT), *find_links(config, POLICY)):
        if not _is_finished(round, link):
            METHODS[link.method].check(config, round.team.size)
    if any(name in BY_REWARDS for name in config.chain.after):
        check_rewards(config.ppo, judge=bench.judges[0].config, constitution=round.constitution)
    if "seft" in config.chain.after:
        check_revising(config.seft, judge=bench.judges[0].config, constitution=round.constitution)


def train_first(round: Round, book: Book, shelf: Shelf, *, only: MethodName | None = None) -> None:
    """Demonstrations -> the policy that everything else starts from. only: train by this method alone."""
    if book.is_done(SFT, round=round.number):
        return
    links = find_links(round.config, SFT)
    if not links:
        METHODS["sft"].check(round.config, round.team.size)
        raise ConfigError(
            "nothing in `methods` trains before sampling", where="methods", fix="run `rlaif train` without --stage"
        )
    for link in links:
        METHODS[link.method].check(round.config, round.team.size)
    base = shelf.policy("start")
    expect_policy(round, SFT, base.fingerprint)
    data = _read_demonstrations(round, SFT)
    for link in _find_open(round, links, only=only):
        before = find_before(round.config, link)
        policy = base if before is None else shelf.trained_by(before)
        trained = _train_on_data(round, link, data=data, models=Models(policy, policy))
        save_model(trained.model, base.tokenizer, shelf.model_dir(link))
        _own_reward_model(round, trained, base=policy, link=link)
        drop_checkpoints(shelf.model_dir(link).parent)
        if link.folder:
            finish_stage(shelf.model_dir(link).parent, tally=trained.tally, unit=SFT.unit)
        if link == links[-1]:
            _measure_held_out(round, SFT, data, base=base, trained=trained)
            shelf.drop("start")
            tally = _count_all(data, trained.tally)
            book.finish(SFT, round=round.number, tally=tally, records=data.records)


def train_policy(round: Round, book: Book, shelf: Shelf, bench: Bench, *, only: MethodName | None = None) -> None:
    """Preferences, rewards or demonstrations -> the trained policy, method after method. only: this one alone."""
    if book.is_done(POLICY, round=round.number):
        return
    if round.config.trains_reward_model and only in (None, *BY_REWARDS):
        book.require(REWARD_MODEL, round=round.number)
    expect_policy(round, POLICY, shelf.policy("start").fingerprint)
    links = find_links(round.config, POLICY)
    for link in _find_open(round, links, only=only):
        folder = link.find_dir(round.run, round=round.number)
        done = _train(round, book, shelf, bench, link=link)
        card = _save(round, shelf, done, link=link)
        if link == links[-1]:
            book.finish(
                POLICY,
                round=round.number,
                tally=done.tally,
                records=[card, *done.records],
                constitution_id=round.constitution.id,
                unit=find_unit(link),
            )
            drop_checkpoints(folder)
        else:
            round.ledger.append([card])
            drop_checkpoints(folder)
            finish_stage(folder, tally=done.tally, unit=find_unit(link))


def _find_open(round: Round, links: Sequence[Link], *, only: MethodName | None) -> Iterator[Link]:
    """The methods of a stage that are to be trained now. Raises `RunFolderError` where the one before is missing."""
    for link in links:
        before = find_before(round.config, link)
        is_finished = bool(link.folder) and link != links[-1] and _is_finished(round, link)
        if is_finished or (only is not None and link.method != only):
            continue
        if before is not None and not _is_finished(round, before):
            raise RunFolderError(
                f"{link.method} begins with the policy of {before.method}, which is not trained yet",
                where=str(round.run.path),
                fix=f"run `rlaif train --method {before.method}` first",
            )
        yield link


def _is_finished(round: Round, link: Link) -> bool:
    return stage_done(link.find_dir(round.run, round=round.number))


def find_unit(link: Link) -> str:
    """What the tally of a method counts."""
    need = NEEDS[link.method]
    return POLICY.unit if need == "rewards" else need


def _train(round: Round, book: Book, shelf: Shelf, bench: Bench, *, link: Link) -> _Trained:
    """Train by one method of the stage `policy`. Raises `Interrupted` where it was stopped."""
    folder = link.find_dir(round.run, round=round.number)
    if link.method in BY_REWARDS:
        found = train_link_by_rewards(round, book, shelf, bench, link=link)
        if found.trained.stop_reason == "stop_requested":
            fix = "run the same command again with --resume"
            raise Interrupted(found.trained.note, where=str(folder), fix=fix)
        _say_result(round, found.trained)
        scorers = found.rewards.models
        return _Trained(
            found.trained,
            Models(found.task.start, found.task.initial),
            found.tally,
            learnt_from=describe_rewards(
                [reward.name for reward in found.rewards.weighted], scorers[0].id if scorers else None
            ),
            options=round.config.ppo.model_dump(mode="json"),
            reward_models=scorers,
        )
    models = find_models(round.config, shelf, link)
    with ExitStack() as lent:
        if NEEDS[link.method] == "demonstrations":
            data = _read_demonstrations(round, POLICY)
        elif link.method == "seft":
            data = _gather_revising(round, book, shelf, bench, link=link, lent=lent)
        else:
            data = _read_preferences(round, book, link)
        trained = _train_on_data(round, link, data=data, models=models)
    _measure_held_out(round, POLICY, data, base=models.initial, trained=trained)
    return _Trained(
        trained,
        models,
        _count_all(data, trained.tally),
        learnt_from=data.learnt_from,
        options=getattr(round.config, link.method).model_dump(mode="json"),
        records=data.records,
        reward_models=_own_reward_model(round, trained, base=models.initial, link=link),
    )


def _own_reward_model(round: Round, trained: TrainedPolicy, *, base: LoadedModel, link: Link) -> list[Model]:
    """The reward model that the method trained with the policy, its card kept in the ledger; none where there is none.

    Such a model is not measured on held-out pairs, and learnt from demonstrations, not from preference files.
    """
    if trained.reward_model is None:
        return []
    found = load_reward_model(str(trained.reward_model), dtype="float32").fingerprint
    card = RewardModelCard(
        model_id=found.id,
        base_model_id=base.fingerprint.id,
        dataset_digest="",
        config=getattr(round.config, link.method).model_dump(mode="json"),
        metrics={name: value for name, value in trained.metrics.items() if name.startswith("reward/")},
        accuracy=None,
    )
    round.ledger.append([found, card])
    return [found]


def _train_on_data(round: Round, link: Link, *, data: _Data, models: Models) -> TrainedPolicy:
    """Train by a method that learns from what is there already."""
    method = METHODS[link.method]
    if link.method == "reft":
        expect_verifier(round, link.stage)
    task = Task(
        start=models.start,
        initial=models.initial,
        config=round.config,
        folder=link.find_dir(round.run, round=round.number),
        seed=round.seed,
        **data.given,
    )
    total = method.count_steps(task)
    with TrainingLog(round.metrics, name_metrics(link.method), total=total, first_step=method.first_step) as log:
        trained = method.train(replace(task, listener=log.listener))
    if trained.note:
        say(f"{link.method}: {trained.note}")
    if trained.weights and trained.weights.frozen:
        say(f"{link.method}: {trained.weights.trained:,} weights trained, {trained.weights.frozen:,} frozen")
    return trained


def _read_demonstrations(round: Round, stage: Stage) -> _Data:
    read = read_clean_demonstrations(round, stage=stage)
    fraction = round.config.sft.test_fraction
    ids = find_held_out((prompt.id for prompt, _ in read.demonstrations), test_fraction=fraction)
    records = [*(prompt for prompt, _ in read.demonstrations), *(written for _, written in read.demonstrations)]
    expect_demonstrations(round, stage, records)
    return _Data(
        {"demonstrations": [one for one in read.demonstrations if one[0].id not in ids]},
        "demonstrations",
        records,
        held_out=[one for one in read.demonstrations if one[0].id in ids],
        before=read.tally,
    )


def _read_preferences(round: Round, book: Book, link: Link) -> _Data:
    """The preferences that the method names, or those that the reward model trains on."""
    config = getattr(round.config, link.method)
    if config.preferences is None:
        rows, option = read_rows_so_far(round, book), "reward_model"
        expect_preferences(round, POLICY, digest=lambda: digest_rows_so_far(round))
    else:
        option = link.method
        expect_preferences(round, POLICY, digest=lambda: digest_pool([], given=config.preferences), option=option)
        rows = read_pool(
            [],
            test_fraction=round.config.prompts.test_fraction,
            given=config.preferences,
            part=config.split,
            max_odd_rows=config.max_odd_rows,
            option=option,
        )
    given = getattr(round.config, option).preferences
    kind = "pairs" if link.method == "seft" else NEEDS[link.method]
    learnt_from = f"{kind} of {given or 'this run'}"
    odd = {"odd": rows.num_odd} if rows.num_odd else {}
    return _Data({"preferences": rows.train}, learnt_from, before=Tally(num_in=rows.num_odd, dropped=odd))


def _gather_revising(round: Round, book: Book, shelf: Shelf, bench: Bench, *, link: Link, lent: ExitStack) -> _Data:
    """The prompts, the judge, and the preferences that a trained reviser learns from. lent: keeps the judge open."""
    seft = round.config.seft
    learnt = _read_preferences(round, book, link) if seft.reviser == "trained" else _Data({}, "")
    given = gather_revising(round, book, shelf, bench, lent=lent)
    reviser = (
        f"a reviser trained on {learnt.learnt_from}" if learnt.learnt_from else "the policy itself, told the reasons"
    )
    before = learnt.before + given.tally
    return _Data(
        {**learnt.given, "prompts": given.prompts, "critic": given.critic},
        f"its own responses, revised by {reviser} and kept where the judge scores them no lower",
        given.prompts,
        before=before,
    )


def _measure_held_out(round: Round, stage: Stage, data: _Data, *, base: LoadedModel, trained: TrainedPolicy) -> None:
    """The loss on held-out demonstrations before and after, left in the stage's folder."""
    if data.held_out:
        loss = measure_held_out(data.held_out, base=base, trained=trained.model, config=round.config.sft)
        write_held_out(loss, round.find_folder(stage))
        say(f"sft: {describe_held_out(loss)}")


def _count_all(data: _Data, trained: Tally) -> Tally:
    """What was dropped before, what is held out, and what the training dropped."""
    held_out = {"held_out": len(data.held_out)} if data.held_out else {}
    dropped = {**data.before.dropped, **held_out, **trained.dropped}
    return Tally(num_in=data.before.num_dropped + len(data.held_out) + trained.num_in, dropped=dropped)


def _say_result(round: Round, trained: TrainedPolicy) -> None:
    if trained.note:
        say(f"policy: {trained.note}")
    if trained.steps == 0:
        say("policy: no step of training is kept, it is the policy that training began with: lower ppo.learning_rate")
    scored = tally_rewards(round.metrics.read(name_metrics("ppo")))
    if scored.num_dropped:
        say(f"rewards: {scored} responses")


def _save(round: Round, shelf: Shelf, done: _Trained, *, link: Link) -> PolicyCard:
    """Write a method's policy and its card, which is the README of its folder too."""
    model_dir, trained = shelf.model_dir(link), done.trained
    keeps_adapter = link.method in BY_REWARDS and round.config.ppo.model.save_adapter
    save_policy(trained, initial=done.models.initial, folder=model_dir, keeps_adapter=keeps_adapter)
    is_last = model_dir == shelf.policy_dir
    saved = (shelf.policy("trained") if is_last else shelf.trained_by(link)).fingerprint
    card = PolicyCard(
        model_id=saved.id,
        reference_model_id=done.models.start.fingerprint.id,
        reward_model_id=done.reward_models[0].id if done.reward_models else None,
        trained_from_id=done.models.initial.fingerprint.id,
        config=dict(done.options),
        metrics=trained.metrics,
        num_steps=trained.steps,
        alarms=trained.alarms,
        stopped=trained.note if trained.stop_reason == "alarm" else "",
        method=link.method,
        chain=_methods_up_to(round, link) if round.config.methods else (),
        num_trained=trained.weights.trained if trained.weights and trained.weights.frozen else None,
        num_frozen=trained.weights.frozen if trained.weights and trained.weights.frozen else None,
        edit=describe_training(round.ledger, round.constitution),
    )
    _write_readme(round, card, model_dir, done=done, link=link)
    round.ledger.append([done.models.start.fingerprint, saved, *done.reward_models])
    return card


def _methods_up_to(round: Round, link: Link) -> tuple[str, ...]:
    names = round.config.chain.names
    return names[: 1 + names.index(link.method)]


def _write_readme(round: Round, card: PolicyCard, model_dir: Path, *, done: _Trained, link: Link) -> None:
    evaluations = model_dir.parent / EVALUATIONS_FILE
    readme = render_policy_card(
        card,
        chain=_methods_up_to(round, link),
        learnt_from=done.learnt_from,
        note=done.trained.note,
        weights=done.trained.weights,
        constitution=round.constitution.name,
        ledger_head=state_head(round.ledger),
        kl=read_kl(evaluations, step=card.num_steps or 0) if link.method in BY_REWARDS else None,
    )
    write_atomically(model_dir / "README.md", readme)
