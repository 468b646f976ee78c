"""PPO: prompts and a reward -> a trained policy. Read `train_policy` from top to bottom.

Maximises E[score] - kl_coef * KL(policy || reference) as Ziegler et al. 2019 (arXiv:1909.08593) and
Huang et al. 2024 (arXiv:2403.17031) do. Stopped or killed at any step and resumed, it makes the same
weights. Loads no model and saves no final one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.errors import RlaifError
from rlaif.models.weights.adapters import has_adapter
from rlaif.policy.ppo.checkpoint import find_checkpoints, write_checkpoint
from rlaif.policy.ppo.checks import NO_CHECKS, Checks
from rlaif.policy.ppo.evaluate import evaluate, is_due
from rlaif.policy.ppo.guards import Vitals, compute_repetition, find_evaluation_alarm, find_step_alarm
from rlaif.policy.ppo.keep import add_vitals, answer_alarm, describe_best, find_best_step, is_quiet, load_best
from rlaif.policy.ppo.metrics import describe_step, kl_per_response, show_responses
from rlaif.policy.ppo.mismatch import check_gap, describe_rollout, gap_of_batch
from rlaif.policy.ppo.models import ValueStart
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.rollout import Rollout, score_drawn
from rlaif.policy.ppo.shaping import next_kl_coef, shape_scores
from rlaif.policy.ppo.start import Training, begin, set_up
from rlaif.policy.ppo.trained import count_trained
from rlaif.policy.ppo.trajectories import Encoder
from rlaif.policy.ppo.update import update
from rlaif.policy.rewards.episodes import RewardSource, WeightedReward
from rlaif.policy.task import StopReason, TrainedPolicy
from rlaif.records import Alarm, Prompt, Tally
from rlaif.training.listener import NOBODY, Listener, StepMetrics
from rlaif.training.team import ALONE, Team


class Collected(NamedTuple):
    """All that a step learns from."""

    rollout: Rollout
    batch: TrainingBatch
    gap: float
    vitals: Vitals


def train_policy(
    *,
    policy: PreTrainedModel,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    reward: RewardSource | Sequence[WeightedReward],
    config: PpoConfig,
    out_dir: Path,
    seed: int,
    resume: bool,
    listener: Listener = NOBODY,
    reference: PreTrainedModel | None = None,
    checks: Checks = NO_CHECKS,
    value_start: ValueStart | None = None,
    team: Team = ALONE,
) -> TrainedPolicy:
    """Train a copy of `policy`, a causal LM in float32, and return the copy.

    The KL is taken to `reference`, by default to `policy` as it came in; neither is changed. Weights that are not
    trained share their memory with `policy`. `value_start`: what a separate value model begins as.
    `reward`: one source, or several with their weights. Checkpoints go to `out_dir`/checkpoints; one is also written
    before an error of a reward source ends the training. `checks`: what is evaluated while training runs.
    All processes of a team call this, each with rewards that give all of them the same. Only the first one is asked to
    stop, calls the checks and writes checkpoints.
    """
    training = set_up(
        policy=policy,
        reference=reference,
        encoder=encoder,
        prompts=prompts,
        reward=reward,
        config=config,
        seed=seed,
        out_dir=out_dir,
        checks=checks,
        team=team,
        value_start=value_start,
    )
    with closing(training.rollouts):
        return _train(training, listener, resume=resume)


def _train(training: Training, listener: Listener, *, resume: bool) -> TrainedPolicy:
    """All steps, from the newest checkpoint or from the start."""
    config, team = training.config, training.team
    progress = begin(training, resume=resume)
    first_step = progress.step
    listener.on_begin(first_step)
    is_new = not team.ask_first(lambda: find_checkpoints(training.out_dir))
    progress = _settle(training, progress, listener, is_new=is_new)
    while progress.step < config.num_steps and not progress.ended:
        step = progress.step
        if _is_to_stop(team, listener):
            return _stop(training, progress, first_step=first_step)
        collected = _collect(training, progress, first_step=first_step)
        history = add_vitals(progress.looks, collected.vitals)
        alarm = find_step_alarm(history[0], history[1:], step=step, config=config.guards)
        if alarm is not None and not is_quiet(progress, alarm):
            progress = _answer(training, progress, alarm, listener)
            if progress.ended or progress.step < step:
                continue
        if _is_to_stop(team, listener):
            return _stop(training, progress, first_step=first_step)
        progress = _learn(training, progress, collected, history=history, listener=listener)
        progress = _settle(training, progress, listener, is_new=True)
    return _finish(training, progress, first_step=first_step)


def _collect(training: Training, progress: Progress, *, first_step: int) -> Collected:
    """Draw a step's responses, have them scored, and compute what the updates need."""
    config, step, phase = training.config, progress.step, training.clock.phase
    with training.shared.whole() as learner:
        try:
            with phase("rollout"):
                drawn = training.rollouts.of_step(step, learner)
            with phase("rewards"):
                scales = progress.score_scales
                rollout = score_drawn(drawn, training.rewards, scales=scales, config=config, step=step)
        except RlaifError:
            if step > first_step:
                _write(training, progress)  # a source that failed may be back later
            raise
        with phase("preparation"):
            batch = prepare_batch(
                learner,
                training.reference.model,
                rollout.trajectories,
                scores=_shape_scores(rollout, config),
                kl_coef=progress.kl_coef,
                config=config,
                pad_id=training.encoder.pad_token_id,
                shares_trunk=training.reference.shares_trunk,
                budget=training.budget,
                team=training.team,
            )
            gap = gap_of_batch(batch) if rollout.gap is None else rollout.gap
            check_gap(gap, config=config, version=step)
            return Collected(rollout, batch, gap, measure_vitals(rollout, batch))


def measure_vitals(rollout: Rollout, batch: TrainingBatch) -> Vitals:
    """The numbers that the guards see: of the responses that are trained on, but the share that ended of all."""
    trajectories, trained = rollout.trajectories, batch.trained
    return Vitals(
        kl=float(kl_per_response(batch)[trained].mean()),
        length=float(batch.trained_mask.sum()) / len(trained),
        eos_rate=sum(trajectory.finished for trajectory in trajectories) / len(trajectories),
        repetition=compute_repetition([trajectories[row].tokens.response_ids for row in trained]),
    )


def _shape_scores(rollout: Rollout, config: PpoConfig) -> list[float]:
    finished = [trajectory.finished for trajectory in rollout.trajectories]
    return shape_scores(rollout.scored.weighted, finished=finished, config=config)


def _learn(
    training: Training, progress: Progress, collected: Collected, *, history: tuple[Vitals, ...], listener: Listener
) -> Progress:
    """Update the policy, and report the step."""
    config, step, batch, rollout = training.config, progress.step, collected.batch, collected.rollout
    learning_rate = config.learning_rate * progress.rate_factor * (1 - step / config.num_steps)
    with training.clock.phase("update"):
        stats = update(
            training.shared.called,
            training.optimizer,
            batch,
            learning_rate=learning_rate,
            config=config,
            pad_id=training.encoder.pad_token_id,
            seed=training.seed,
            step=step,
            team=training.team,
            budget=training.budget,
        )
    episodes = progress.episodes + len(rollout.trajectories)
    metrics = describe_step(
        batch,
        stats,
        step=step,
        episodes=episodes,
        scored=rollout.scored,
        vitals=collected.vitals,
        kl_coef=progress.kl_coef,
        learning_rate=learning_rate,
    ) | describe_rollout(batch, rollout.trajectories, gap=collected.gap, step=step, config=config)
    listener.on_metrics(StepMetrics(step, metrics, training.clock.take()))
    if step % config.sample_every == 0 or step + 1 == config.num_steps:
        shown = show_responses(rollout.trajectories, rollout.scored.scores, kl_per_response(batch))
        listener.on_samples(step, shown)
    kl_coef = _steer_kl_coef(progress.kl_coef, collected.vitals.kl, len(batch.trained), config)
    change = {"step": step + 1, "episodes": episodes, "kl_coef": kl_coef, "metrics": metrics, "looks": history}
    return progress.model_copy(update=change)


def _steer_kl_coef(kl_coef: float, kl: float, num_episodes: int, config: PpoConfig) -> float:
    if not config.adaptive_kl:
        return kl_coef
    return next_kl_coef(kl_coef, kl, target=config.kl_target, horizon=config.kl_horizon, num_episodes=num_episodes)


def _settle(training: Training, progress: Progress, listener: Listener, *, is_new: bool) -> Progress:
    """Evaluate the policy after a step, or before the first one, and write a checkpoint, each where it is due.

    is_new: there is no checkpoint of this step yet.
    """
    step, config = progress.step, training.config
    if is_due(training, step=step) and step not in [evaluation.step for evaluation in progress.evaluations]:
        progress, is_new = _evaluate(training, progress, listener), True
        alarm = find_evaluation_alarm(progress.evaluations, config=config.guards)
        if alarm is not None and not is_quiet(progress, alarm):
            progress = _answer(training, progress, alarm, listener)
            if progress.ended or progress.step < step:
                return progress
    if is_new and (step % config.checkpoint_every == 0 or step in (config.num_steps, progress.best_step)):
        _write(training, progress)
    return progress


def _evaluate(training: Training, progress: Progress, listener: Listener) -> Progress:
    try:
        with training.clock.phase("evaluation"):
            found = evaluate(training, step=progress.step, scales=progress.score_scales, start=progress.start_answers)
    except RlaifError:
        _write(training, progress)  # a source that failed may be back later
        raise
    change = {
        "evaluations": (*progress.evaluations, found.evaluation),
        "start_answers": progress.start_answers or found.answers,
    }
    progress = progress.model_copy(update=change)
    listener.on_evaluation(found.as_heard())
    return progress.model_copy(update={"best_step": find_best_step(progress)})


def _answer(training: Training, progress: Progress, alarm: Alarm, listener: Listener) -> Progress:
    with training.clock.phase("checkpoint"):
        progress = answer_alarm(training, progress, alarm)
    listener.on_alarm(progress.alarms[-1], None if progress.ended else progress.step)
    return progress


def _is_to_stop(team: Team, listener: Listener) -> bool:
    return team.ask_first(listener.stop_requested)


def _write(training: Training, progress: Progress) -> None:
    with training.clock.phase("checkpoint"):
        write_checkpoint(
            training.out_dir,
            learner=training.learner,
            optimizer=training.optimizer,
            progress=progress,
            prefetched=training.rollouts.stored(step=progress.step),
            team=training.team,
        )


def _stop(training: Training, progress: Progress, *, first_step: int) -> TrainedPolicy:
    _write(training, progress)
    note = f"stopped on request after {progress.step} of {training.config.num_steps} steps, all of which are kept"
    return _as_trained(training, progress, first_step=first_step, stop_reason="stop_requested", note=note)


def _finish(training: Training, progress: Progress, *, first_step: int) -> TrainedPolicy:
    """The policy where an alarm left it, or the best or the last one of a whole training."""
    if progress.ended:
        return _as_trained(training, progress, first_step=first_step, stop_reason="alarm", note=progress.ended)
    kept = load_best(training, progress)
    note = describe_best(progress, kept) if kept.step < progress.step else ""
    kept = kept.model_copy(update={"alarms": progress.alarms})
    return _as_trained(training, kept, first_step=first_step, stop_reason="done", note=note)


def _as_trained(
    training: Training, progress: Progress, *, first_step: int, stop_reason: StopReason, note: str
) -> TrainedPolicy:
    learner = training.shared.make_whole()
    return TrainedPolicy(
        model=learner.plain_policy(),
        steps=progress.step,
        metrics=progress.metrics,
        tally=Tally(num_in=len(training.prompts)),
        first_step=first_step,
        stop_reason=stop_reason,
        note=note,
        alarms=progress.alarms,
        adapted=learner.model if has_adapter(learner.model) else None,
        value_head=learner.value_head,
        weights=count_trained(learner.model),
    )
