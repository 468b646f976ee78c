"""PPO: prompts and a reward -> a trained policy. Read `train_policy` from top to bottom.

Maximises E[score] - kl_coef * KL(policy || reference) as Ziegler et al. 2019 (arXiv:1909.08593) and
Huang et al. 2024 (arXiv:2403.17031) do. Stopped or killed at any step and resumed, it makes the same
weights. Loads no model and saves no final one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.errors import RlaifError
from rlaif.models.weights.adapters import has_adapter
from rlaif.policy.ppo.checkpoint import find_checkpoints, write_checkpoint
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.evaluate import Evaluated, evaluate, is_due
from rlaif.policy.ppo.guards import Look, compute_repetition, find_evaluation_alarm, find_step_alarm
from rlaif.policy.ppo.keep import add_look, answer_alarm, describe_best, find_best_step, is_quiet, load_best
from rlaif.policy.ppo.metrics import ShownResponse, describe_step, kl_per_response, show_responses
from rlaif.policy.ppo.mismatch import check_gap, describe_rollout, gap_of_batch
from rlaif.policy.ppo.models import PolicyWithValue, ValueStart
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.rollout import Encoder, Trajectory, score_trajectories
from rlaif.policy.ppo.shaping import shape_scores
from rlaif.policy.ppo.start import Training, begin, set_up
from rlaif.policy.ppo.update import update
from rlaif.policy.rewards.episodes import RewardSource, Scored, ScoreScale, WeightedReward, next_kl_coef
from rlaif.records import Alarm, Prompt
from rlaif.training.team import ALONE, Team

StopReason = Literal["done", "stop_requested", "alarm"]


class TrainedPolicy(NamedTuple):
    model: PreTrainedModel
    """A plain model, any adapter merged into it."""
    value_head: nn.Module
    steps: int
    """Steps that are in the weights."""
    first_step: int
    """Where this call began: 0, or where it resumed. `on_metrics` came for this step and later ones."""
    stop_reason: StopReason
    note: str
    """Why it stopped early, or why not the last policy is kept, in a sentence; empty where neither is so."""
    metrics: dict[str, float]
    """Of the last step that is in the weights."""
    alarms: tuple[Alarm, ...]
    adapted: PreTrainedModel | None
    """With the adapter that was trained still in its layers; None where there is none."""


class Listener(NamedTuple):
    """Who is told what while a training runs."""

    on_metrics: Callable[[dict[str, float]], None]
    on_samples: Callable[[int, Sequence[ShownResponse]], None]
    on_evaluation: Callable[[Evaluated], None]
    on_alarm: Callable[[Alarm, int | None], None]
    """The alarm, and the step that comes next: an earlier one where training went back, None where it was the end."""


class Rollout(NamedTuple):
    """A step's responses that have a score, and their scores."""

    trajectories: list[Trajectory]
    scored: Scored
    gap: float | None
    """Between the log-probabilities of the engine and of the policy with the same weights; None: the batch tells it."""


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
    on_metrics: Callable[[dict[str, float]], None],
    on_samples: Callable[[int, Sequence[ShownResponse]], None],
    on_evaluation: Callable[[Evaluated], None] | None = None,
    on_alarm: Callable[[Alarm, int | None], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
    reference: PreTrainedModel | None = None,
    checks: Checks | None = None,
    value_start: ValueStart | None = None,
    team: Team = ALONE,
) -> TrainedPolicy:
    """Train a copy of `policy`, a causal LM in float32, and return the copy.

    The KL is taken to `reference`, by default `policy` itself as it came in; neither is changed. What is not trained
    shares its memory with `policy`. `value_start`: what a separate value model begins as.
    `reward`: one source, or several with their weights. Checkpoints go to `out_dir`/checkpoints; one is written, too,
    before an error of a reward source ends the training. `stop_requested` is asked before a step and before its
    update: the training is then written as it stands, and resumes there. `checks`: what is evaluated on the way.
    All of a team call this, each with rewards that give all of them the same. The first one is asked to stop, asks the
    checks and writes the checkpoints.
    """
    told = Listener(on_metrics, on_samples, on_evaluation or (lambda _: None), on_alarm or (lambda _, __: None))
    training = set_up(
        policy, reference, encoder, prompts, reward, config, seed, out_dir,
        checks=checks or Checks(), team=team, value_start=value_start,
    )  # fmt: skip
    with closing(training.rollouts):
        return _train(training, told, resume=resume, stop_requested=stop_requested)


def _train(
    training: Training, told: Listener, *, resume: bool, stop_requested: Callable[[], bool] | None
) -> TrainedPolicy:
    """All steps, from the newest checkpoint or from the start."""
    config, encoder, team = training.config, training.encoder, training.team
    progress = begin(training, resume=resume)
    first_step = progress.step
    progress = _settle(training, progress, told, is_new=not team.ask_first(lambda: find_checkpoints(training.out_dir)))
    while progress.step < config.num_steps and not progress.ended:
        step = progress.step
        if _is_to_stop(team, stop_requested):
            return _stop(training, progress, first_step=first_step)
        with training.shared.whole() as learner:
            try:
                rollout = roll_out(training, learner, step=step, scales=progress.score_scales)
            except RlaifError:
                if progress.step > first_step:
                    _write(training, progress)  # a source that failed may be back later
                raise
            batch = prepare_batch(
                learner,
                training.reference.model,
                rollout.trajectories,
                scores=_shape_scores(rollout, config),
                kl_coef=progress.kl_coef,
                config=config,
                pad_id=encoder.pad_token_id,
                hydra=training.reference.mode == "hydra",
                budget=training.budget,
                team=team,
            )
        gap = gap_of_batch(batch) if rollout.gap is None else rollout.gap
        check_gap(gap, config=config, version=step)
        look = look_at(rollout, batch)
        looks = add_look(progress.looks, look)
        alarm = find_step_alarm(looks[0], looks[1:], step=step, config=config.guards)
        if alarm is not None and not is_quiet(progress, alarm):
            progress = _answer(training, progress, alarm, told)
            if progress.ended or progress.step < step:
                continue
        if _is_to_stop(team, stop_requested):
            return _stop(training, progress, first_step=first_step)

        learning_rate = config.learning_rate * progress.rate_factor * (1 - step / config.num_steps)
        stats = update(
            training.shared.called,
            training.optimizer,
            batch,
            learning_rate=learning_rate,
            config=config,
            pad_id=encoder.pad_token_id,
            seed=training.seed,
            step=step,
            team=team,
            budget=training.budget,
        )
        episodes = progress.episodes + len(rollout.trajectories)
        metrics = describe_step(
            batch,
            stats,
            step=step,
            episodes=episodes,
            scored=rollout.scored,
            look=look,
            kl_coef=progress.kl_coef,
            learning_rate=learning_rate,
        ) | describe_rollout(batch, rollout.trajectories, gap=gap, step=step, config=config)
        progress = progress.model_copy(
            update={
                "step": step + 1,
                "episodes": episodes,
                "kl_coef": _steer_kl_coef(progress.kl_coef, look.kl, len(batch.trained), config),
                "metrics": metrics,
                "looks": looks,
            }
        )
        told.on_metrics(metrics)
        if step % config.sample_every == 0 or progress.step == config.num_steps:
            told.on_samples(step, show_responses(rollout.trajectories, rollout.scored.scores, kl_per_response(batch)))
        progress = _settle(training, progress, told, is_new=True)
    return _finish(training, progress, first_step=first_step)


def look_at(rollout: Rollout, batch: TrainingBatch) -> Look:
    """What the guards look at: numbers of the responses that are trained on, and the share that ended of all."""
    trajectories, trained = rollout.trajectories, batch.trained
    return Look(
        kl=float(kl_per_response(batch)[trained].mean()),
        length=float(batch.trained_mask.sum()) / len(trained),
        eos_rate=sum(trajectory.finished for trajectory in trajectories) / len(trajectories),
        repetition=compute_repetition([trajectories[row].tokens.response_ids for row in trained]),
    )


def roll_out(training: Training, learner: PolicyWithValue, *, step: int, scales: Mapping[str, ScoreScale]) -> Rollout:
    """A step's responses, and their scores."""
    config = training.config
    trajectories, gap = training.rollouts.of_step(step, learner)
    scored = score_trajectories(
        training.rewards, trajectories, scales=scales, max_failed=config.max_failed_rewards, where=f"PPO step {step}"
    )
    return Rollout([trajectories[index] for index in scored.kept], scored, gap)


def _shape_scores(rollout: Rollout, config: PpoConfig) -> list[float]:
    finished = [trajectory.finished for trajectory in rollout.trajectories]
    return shape_scores(rollout.scored.weighed, finished=finished, config=config)


def _steer_kl_coef(kl_coef: float, kl: float, num_episodes: int, config: PpoConfig) -> float:
    if not config.adaptive_kl:
        return kl_coef
    return next_kl_coef(kl_coef, kl, target=config.kl_target, horizon=config.kl_horizon, num_episodes=num_episodes)


def _settle(training: Training, progress: Progress, told: Listener, *, is_new: bool) -> Progress:
    """Where training stands once a step, or its beginning, is evaluated if that is due, and written if that is.

    is_new: it was not written yet.
    """
    step, config = progress.step, training.config
    if is_due(training, step=step) and step not in [evaluation.step for evaluation in progress.evaluations]:
        try:
            evaluated = evaluate(training, step=step, scales=progress.score_scales, start=progress.start_answers)
        except RlaifError:
            _write(training, progress)  # a source that failed may be back later
            raise
        progress, is_new = _after_evaluation(progress, evaluated), True
        told.on_evaluation(evaluated)
        alarm = find_evaluation_alarm(progress.evaluations, config=config.guards)
        if alarm is not None and not is_quiet(progress, alarm):
            progress = _answer(training, progress, alarm, told)
            if progress.ended or progress.step < step:
                return progress
    if is_new and (step % config.checkpoint_every == 0 or step in (config.num_steps, progress.best_step)):
        _write(training, progress)
    return progress


def _after_evaluation(progress: Progress, evaluated: Evaluated) -> Progress:
    progress = progress.model_copy(
        update={
            "evaluations": (*progress.evaluations, evaluated.evaluation),
            "start_answers": progress.start_answers or evaluated.answers,
        }
    )
    return progress.model_copy(update={"best_step": find_best_step(progress)})


def _answer(training: Training, progress: Progress, alarm: Alarm, told: Listener) -> Progress:
    progress = answer_alarm(training, progress, alarm)
    told.on_alarm(progress.alarms[-1], None if progress.ended else progress.step)
    return progress


def _is_to_stop(team: Team, stop_requested: Callable[[], bool] | None) -> bool:
    return team.ask_first(lambda: stop_requested is not None and stop_requested())


def _write(training: Training, progress: Progress) -> None:
    write_checkpoint(
        training.out_dir,
        learner=training.learner,
        optimizer=training.optimizer,
        progress=progress,
        ahead=training.rollouts.stored(step=progress.step),
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
        learner.plain_policy(),
        learner.value_head,
        progress.step,
        first_step,
        stop_reason,
        note,
        progress.metrics,
        progress.alarms,
        learner.model if has_adapter(learner.model) else None,
    )
