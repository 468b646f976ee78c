"""THE MAP: the rounds of the loop, and one round top to bottom, one call per stage. Read this first.

    prompts -> samples -> judgements -> preferences -> reward model -> policy -> evaluation

A stage that is done is not done again; one that was interrupted goes on where it stood. What
happens inside a stage stands in its package; what a run is and holds stands in work.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rlaif.console import say
from rlaif.errors import ConfigError, Interrupted
from rlaif.evaluation.best_of_n import NO_PICKS, Picks, pick_samples
from rlaif.evaluation.policy import find_different, pair_samples
from rlaif.files.atomic import write_atomically
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.panel import ask_all, find_panel
from rlaif.judging.recorded import import_recorded
from rlaif.loop.rounds import RoundRow, Rounds, collect_round, describe_outcome, refuse_fewer_rounds, write_rounds
from rlaif.models.interface import TextGenerator
from rlaif.models.vllm.copy import check_rollouts
from rlaif.models.vllm.process import stop_vllm
from rlaif.models.weights.context import NO_LIMIT
from rlaif.policy.card import render_policy_card
from rlaif.policy.methods.sft import train_sft as train_on_demonstrations
from rlaif.policy.ppo import train as ppo
from rlaif.policy.ppo.asked_checks import hold_out, make_checks, stop_on_sigterm
from rlaif.policy.ppo.checkpoint import drop_checkpoints
from rlaif.policy.ppo.given_models import find_initial_policy, find_value_start, save_policy
from rlaif.policy.rewards.sources import Rewards, check_rewards, tally_rewards, trains_reward_model
from rlaif.preferences.export import export_preferences
from rlaif.preferences.pairing import pair_comparisons
from rlaif.preferences.people import check_labels, find_asked_pairs, is_mixed_as_configured, mix_labels
from rlaif.records import Comparison, Model, PolicyCard, Prompt, Sample, Tally
from rlaif.report.collect import collect_report
from rlaif.report.page import write_report
from rlaif.reward_model.save import describe_bound
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import train_reward_model as train_on_preferences
from rlaif.run.input_checks import (
    expect_demonstrations,
    expect_evaluation_judge,
    expect_measures,
    expect_policy,
    expect_preferences,
    expect_prompts,
    expect_rewards,
)
from rlaif.run.work import Work, drop_long_prompts, read_given_prompts
from rlaif.sampling.prompts import drop_over_length, read_demonstrations
from rlaif.sampling.sampler import sample_responses, sorted_pair
from rlaif.training.crew import PolicyJob, RewardModelJob, call_in
from rlaif.training.log import TrainingLog, read_kl

TrainStage = Literal["all", "sft", "reward-model", "policy"]


def run_rounds(work: Work) -> Rounds:
    """Round after round, each sampling with the policy of the one before, until all are done or a gate closes."""
    refuse_fewer_rounds(work)
    rows: list[RoundRow] = []
    for number in range(work.config.rounds):
        work = work.at_round(number)
        run_round(work)
        rows.append(collect_round(work))
        if rows[-1].closed_gates:
            break
    rounds = Rounds(run=work.run.name, asked_for=work.config.rounds, rows=tuple(rows))
    if work.config.rounds > 1:
        write_rounds(rounds, work.run.path)
        for gate in rows[-1].closed_gates:
            say(f"round {rows[-1].round}: {gate.sentence} ({gate.name})")
        say(describe_outcome(rounds))
    return rounds


def run_round(work: Work) -> None:
    """Prompts to a trained policy and a report."""
    check_rollouts(work.config.ppo.rollout)
    if work.round == 0 and work.config.sft.demonstrations is not None:
        train_sft(work)
    check_rewards(work)
    if trains_reward_model(work):
        generate_preferences(work)
        train_reward_model(work)
    else:
        work.check_judge()
        read_prompts(work)
        say("reward model: none is trained, and no preferences for it, as ppo.rewards does not name it")
    train_policy(work)
    evaluate(work)


def generate_preferences(work: Work) -> None:
    """Prompts -> samples -> judgements -> preferences."""
    work.check_judge()
    check_labels(work)
    work.make_room()
    prompts = read_prompts(work)
    samples = sample_policy(work, prompts)
    check_labels(work, samples, pairs=work.draw_pairs(samples).pairs)
    comparisons = judge_samples(work, prompts, samples)
    pair_preferences(work, prompts, samples, comparisons)


def train(work: Work, *, stage: TrainStage) -> None:
    """Preferences -> reward model -> policy."""
    check_rollouts(work.config.ppo.rollout)
    if stage == "sft" or (stage == "all" and work.round == 0 and work.config.sft.demonstrations is not None):
        train_sft(work)
    if stage in ("all", "policy"):
        check_rewards(work)
    if stage == "reward-model" or (stage == "all" and trains_reward_model(work)):
        mix_labels_late(work)
        train_reward_model(work)
    if stage in ("all", "policy"):
        train_policy(work)


def read_prompts(work: Work) -> list[Prompt]:
    """The prompts of this round: different ones, each short enough to be answered."""
    if work.is_done("1_prompts"):
        return work.used("1_prompts", Prompt)
    read = read_given_prompts(work.config, round=work.round)  # before the policy is loaded
    read = drop_long_prompts(read, work.generator, config=work.config)
    if work.round == 0:
        expect_policy(work, "1_prompts", work.generator.fingerprint)
    expect_prompts(work, "1_prompts", read.prompts)
    work.finish("1_prompts", tally=read.tally, unit="prompts", records=read.prompts)
    return read.prompts


def sample_policy(work: Work, prompts: Sequence[Prompt]) -> list[Sample]:
    """Each prompt's responses, drawn from the policy."""
    if work.is_done("2_samples"):
        return work.used("2_samples", Sample)
    if work.round == 0:
        expect_policy(work, "2_samples", work.generator.fingerprint)
    samples = _sample(work, prompts, work.generator, "2_samples", seed=work.seed)
    work.finish("2_samples", tally=Tally(num_in=len(samples)), unit="responses", records=samples)
    return samples


def judge_samples(work: Work, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Comparison]:
    """Every judge's comparisons of drawn pairs under each principle, both orders combined."""
    if work.is_done("3_judgements"):
        return work.used("3_judgements", Comparison)
    drawn = work.draw_pairs(samples)
    say(f"pairs: {drawn.tally}")
    judging = ask_all(work, drawn.pairs, prompts={prompt.id: prompt for prompt in prompts})
    work.finish_judging("3_judgements", judging)
    return judging.comparisons


def pair_preferences(
    work: Work,
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    comparisons: Sequence[Comparison],
    *,
    pairs: Sequence[tuple[Sample, Sample]] | None = None,
) -> None:
    """One soft label per pair over all principles and judges, people's labels mixed in, exported as a data set.

    `pairs`: those that were judged.
    """
    if work.is_done("4_preferences"):
        return
    if pairs is None:
        pairs = work.draw_pairs(samples).pairs
    panel = find_panel(work, comparisons)
    work.keep([panel] if len(panel.members) > 1 else [])
    mix = mix_labels(work, samples, comparisons, pairs=pairs, panel=panel)
    pairing = pair_comparisons(
        comparisons,
        constitution=work.constitution,
        config=work.config.preferences,
        round=work.round,
        pairs=pairs,
        relabelling=mix.relabelling,
        human=mix.human,
        panel=panel,
        draw_seed=work.draw_seed,
        seed=work.seed,
    )
    exported = export_preferences(
        pairing.preferences,
        prompts={prompt.id: prompt for prompt in (*prompts, *mix.prompts)},
        samples={sample.id: sample for sample in (*samples, *mix.samples)},
        judge_name=work.judge_name,
        constitution=work.constitution,
        out_dir=work.dataset_dir,
        test_fraction=work.config.prompts.test_fraction,
        tally=pairing.tally,
        notes=[*work.config.preferences.describe_making(), *mix.notes],
    )
    records = [*pairing.preferences, *mix.records]
    unit = "choices" if work.config.preferences.kind == "choice" else "pairs"
    work.finish("4_preferences", tally=pairing.tally, unit=unit, records=records)
    say(f"preferences: {exported.num_train} to train on, {exported.num_test} held out, in {exported.path}")


def mix_labels_late(work: Work) -> None:
    """Labels that came after the comparisons: the preferences are made again from what the judge said."""
    if work.is_done("5_reward_model") or not work.is_done("3_judgements"):
        return
    if work.is_done("4_preferences"):
        if is_mixed_as_configured(work):
            return
        work.make_again("4_preferences")
    samples, comparisons = work.used("2_samples", Sample), work.used("3_judgements", Comparison)
    if "recorded" in work.run.config["inputs"] and comparisons:
        judge = work.ledger.get(Model, comparisons[0].judge_id)
        work.judge_name = judge.observed.name if judge is not None else ""
    pairs = find_asked_pairs(work, samples)
    pair_preferences(work, work.used("1_prompts", Prompt), samples, comparisons, pairs=pairs)


def import_recorded_verdicts(work: Work, *, samples: Path, judgements: Path, columns: Path) -> None:
    """Responses and verdicts that already exist -> the same records, folders and data set."""
    recorded = import_recorded(samples, judgements, columns, constitution=work.given_constitution)
    if recorded.unread_values:
        seen = ", ".join(f"{value} ({count})" for value, count in list(recorded.unread_values.items())[:5])
        say(f"verdicts that the column map does not name: {seen}")
    work.constitution, work.judge_name = recorded.constitution, recorded.judge.observed.name
    work.keep([recorded.judge, *recorded.policies, recorded.constitution])
    work.ledger.put_texts(principle.text for principle in recorded.constitution.principles)
    check_labels(work, recorded.samples, pairs=recorded.pairs)
    if not work.is_done("1_prompts"):
        tally = Tally(num_in=len(recorded.prompts))
        work.finish("1_prompts", tally=tally, unit="prompts", records=recorded.prompts)
    if not work.is_done("2_samples"):
        work.finish("2_samples", tally=recorded.sample_tally, unit="rows", records=recorded.samples)
    if not work.is_done("3_judgements"):
        judging = Judging(
            recorded.questions, recorded.judgements, recorded.failed, recorded.comparisons,
            recorded.judgement_tally,
        )  # fmt: skip
        work.finish_judging("3_judgements", judging)
    pair_preferences(work, recorded.prompts, recorded.samples, recorded.comparisons, pairs=recorded.pairs)


def train_sft(work: Work) -> None:
    """Demonstrations -> the policy that everything else starts from."""
    config = work.config.sft
    if config.demonstrations is None:
        raise ConfigError("there are no demonstrations", where="sft.demonstrations", fix="name a file of them")
    if work.is_done("0_sft"):
        return
    if work.team.size > 1:
        raise ConfigError(
            "demonstrations are learnt in one process",
            where="sft.demonstrations",
            fix="run `rlaif train --stage sft` without the launcher first",
        )
    read = read_demonstrations(config.demonstrations, split=config.split)
    say(f"demonstrations: {read.tally}")
    base = work.start_policy
    expect_policy(work, "0_sft", base.fingerprint)
    records = [*(prompt for prompt, _ in read.demonstrations), *(written for _, written in read.demonstrations)]
    expect_demonstrations(work, "0_sft", records)
    steps = math.ceil(read.tally.kept * config.num_epochs / config.batch_size)
    with TrainingLog(work.metrics, "sft", total=steps, first_step=1) as log:
        log.begin(1)
        trained = train_on_demonstrations(
            base=base, demonstrations=read.demonstrations, config=config, out_dir=work.sft_dir,
            seed=work.config.seed, on_metrics=log.write_step,
        )  # fmt: skip
    del work.start_policy
    work.finish("0_sft", tally=trained.tally, unit="demonstrations", records=records)


def train_reward_model(work: Work) -> None:
    """The preferences of all rounds so far -> reward model, fitted anew on the starting policy's trunk."""
    if work.is_done("5_reward_model"):
        return
    config, rows = work.config.reward_model, work.preference_rows()
    steps = math.ceil(len(rows.train) / config.batch_size) * config.num_epochs
    expect_policy(work, "5_reward_model", work.start_policy.fingerprint)
    expect_preferences(work, "5_reward_model")
    with TrainingLog(work.metrics, "reward_model", total=steps, first_step=1) as log:
        call_in(work, RewardModelJob(rows.train))
        trained = train_on_preferences(
            base=work.start_policy, train_rows=rows.train, test_rows=rows.test, config=config,
            out_dir=work.reward_model_dir, seed=work.seed, resume=True,
            dataset_digest=work.dataset_digest, ledger_head=work.ledger.head().hex,
            on_metrics=log.write_step, on_resume=log.begin, team=work.team,
        )  # fmt: skip
    accuracy = trained.card.accuracy
    if accuracy is not None:
        ties = f"; {trained.held_out.num_ties} ties left out" if trained.held_out.num_ties else ""
        say(
            f"reward model: orders {accuracy.mean:.1%} of {trained.held_out.num_pairs} held-out pairs as the label "
            f"says, 95 % interval {accuracy.low:.1%} to {accuracy.high:.1%} over {accuracy.n} prompts"
            f"{ties}{describe_bound(trained.held_out)}"
        )
    work.keep([work.start_policy.fingerprint, trained.loaded.fingerprint])
    work.finish("5_reward_model", tally=trained.train_tally, unit="pairs", records=[trained.card])


def train_policy(work: Work) -> None:
    """Rewards, by default the reward model's -> policy, by PPO on the training prompts."""
    if work.is_done("6_policy"):
        return
    if trains_reward_model(work):
        work.require("5_reward_model")
    rewards = Rewards(work)
    config, start = work.config.ppo, work.start_policy
    expect_policy(work, "6_policy", start.fingerprint)
    expect_rewards(work, "6_policy", rewards.given)
    initial = find_initial_policy(work)
    reference = initial if initial.fingerprint.id == start.fingerprint.id else start
    fitting = drop_over_length(
        work.training_prompts(),
        count_tokens=lambda prompt: work.generator.count_tokens(prompt.as_segments()),
        max_tokens=min(work.generator.context_tokens, rewards.context_tokens or NO_LIMIT) - config.response_length,
    )
    held_out = hold_out(work, fitting.prompts, fitting.tally)
    folder = work.folder("6_policy")
    log = TrainingLog(
        work.metrics, "policy", total=config.num_steps, samples_path=folder / "samples.jsonl",
        evaluations_path=folder / "evaluations.jsonl",
    )  # fmt: skip
    with stop_on_sigterm() as asked_to_stop, log:
        call_in(work, PolicyJob(held_out.trained, held_out.checked))
        trained = ppo.train_policy(
            policy=initial.model, reference=reference.model, encoder=start.encoder, prompts=held_out.trained,
            reward=rewards.weighted, config=config, out_dir=folder, seed=work.seed,
            resume=True, on_metrics=lambda numbers: log.write_step(int(numbers["step"]), numbers),
            on_samples=log.write_samples, on_evaluation=log.write_evaluation, on_alarm=log.write_alarm,
            stop_requested=asked_to_stop.is_set, checks=make_checks(work, held_out.checked),
            value_start=find_value_start(work, rewards.loaded), team=work.team,
        )  # fmt: skip
    if trained.stop_reason == "stop_requested":
        raise Interrupted(trained.note, where=str(folder), fix="go on with the same command and --resume")
    if trained.note:
        say(f"policy: {trained.note}")
    if trained.steps == 0:
        say("policy: no step of training is kept, it is the policy that training began with: lower ppo.learning_rate")
    scored = tally_rewards(work.metrics.read("policy"))
    if scored.num_dropped:
        say(f"rewards: {scored} responses")
    save_policy(trained, work, initial=initial)
    card = PolicyCard(
        model_id=work.trained_policy.fingerprint.id, reference_model_id=start.fingerprint.id,
        reward_model_id=rewards.models[0].id if rewards.models else None, trained_from_id=initial.fingerprint.id,
        config=config.model_dump(mode="json"), metrics=trained.metrics, num_steps=trained.steps, alarms=trained.alarms,
        stopped=trained.note if trained.stop_reason == "alarm" else "",
    )  # fmt: skip
    readme = render_policy_card(
        card,
        rewards=[reward.name for reward in rewards.weighted],
        note=trained.note,
        constitution=work.constitution.name,
        ledger_head=work.ledger.head().hex,
        kl=read_kl(folder / "evaluations.jsonl", step=trained.steps),
    )
    write_atomically(work.policy_dir / "README.md", readme)
    work.keep([start.fingerprint, work.trained_policy.fingerprint, *rewards.models])
    work.finish("6_policy", tally=held_out.tally, unit="prompts", records=[card])
    drop_checkpoints(work.folder("6_policy"))


def evaluate(work: Work) -> None:
    """The trained policy against the starting one on held-out prompts, and the report of the whole round."""
    if not work.is_done("7_evaluation"):
        work.require("6_policy")
        work.check_judge()
        work.make_room()
        prompts = work.evaluation_prompts()
        seed = work.config.seed  # the same in every round: the starting policy's responses are drawn once
        expect_policy(work, "7_evaluation", work.start_generator.fingerprint)
        expect_preferences(work, "7_evaluation")
        start = _sample(work, prompts, work.start_generator, "7_evaluation", seed=seed, name="start_")
        trained = _sample(work, prompts, work.trained_generator, "7_evaluation", seed=seed, name="trained_")
        pairs = pair_samples(start, trained)
        picks = _pick_best(work, prompts, start)
        asked = [sorted_pair(*pair) for pair in find_different([*pairs, *picks.pairs])]
        work.make_room()
        expect_evaluation_judge(work, "7_evaluation")
        judging = judge_pairs(
            asked, prompts={prompt.id: prompt for prompt in prompts}, scorer=work.evaluation_judge,
            asking=Asking(
                constitution=work.constitution, template=work.evaluation_template, config=work.evaluation_judge_config,
                ledger=work.ledger, budget=work.judge_budget, draw_seed=work.draw_seed,
            ),
            plan_path=work.folder("7_evaluation") / "questions_plan.json",
        )  # fmt: skip
        stop_vllm()
        report = collect_report(
            work,
            prompts=prompts,
            pairs=pairs,
            picks=picks,
            judging=judging,
            held_out=[pair for row in work.preference_rows().test for pair in row.as_pairs()]
            if work.has_reward_model
            else [],
        )
        expect_measures(work, "7_evaluation")
        write_report(report, work.folder("7_evaluation"))
        work.use("7_evaluation", [*prompts, *start, *trained, *picks.candidates])
        work.finish_judging("7_evaluation", judging, records=[report.evaluation])
    say(f"report: {work.folder('7_evaluation') / 'report.html'}")


def _pick_best(work: Work, prompts: Sequence[Prompt], start: Sequence[Sample]) -> Picks:
    """Of further responses of the starting policy the ones that the reward model chooses; none where that is off."""
    config = work.config.evaluation
    if config.best_of < 2 or not work.has_reward_model:
        return NO_PICKS
    drawn = _sample(
        work, prompts, work.start_generator, "7_evaluation", seed=work.config.seed, name="best_of_",
        num_samples=config.num_samples + config.best_of,
    )  # fmt: skip
    candidates = [sample for sample in drawn if sample.index >= config.num_samples]
    by_id = {prompt.id: prompt for prompt in prompts}
    scorer = RewardModelScorer(work.reward_model)
    outcomes = scorer.score_each([(by_id[sample.prompt_id], sample.text) for sample in candidates])
    rewards = {sample.id: o for sample, o in zip(candidates, outcomes, strict=True) if isinstance(o, float)}
    return pick_samples(start, candidates=candidates, rewards=rewards, n=config.best_of)


def _sample(
    work: Work,
    prompts: Sequence[Prompt],
    generator: TextGenerator,
    stage: str,
    *,
    seed: int,
    name: str = "",
    num_samples: int | None = None,
) -> list[Sample]:
    config = work.config
    if num_samples is None:
        num_samples = config.evaluation.num_samples if stage == "7_evaluation" else config.sampling.num_samples
    samples = sample_responses(
        prompts, generator=generator, config=config.sampling, num_samples=num_samples, seed=seed,
        round=work.round, ledger=work.ledger, plan_path=work.folder(stage) / f"{name}samples_plan.json",
        label=f"{name}samples",
    )  # fmt: skip
    stop_vllm()
    return samples
