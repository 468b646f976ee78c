"""PPO: prompts and a reward -> a trained policy. Read `train_policy` from top to bottom.

Maximises E[score] - kl_coef * KL(policy || reference) as Ziegler et al. 2019 (arXiv:1909.08593) and
Huang et al. 2024 (arXiv:2403.17031) do. Stopped or killed at any step and resumed, it makes the same
weights. Loads no model and saves no final one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.models.adapters import has_adapter
from rlaif.policy.ppo.batching import prompts_of_step
from rlaif.policy.ppo.checkpoint import (
    Progress,
    find_checkpoints,
    load_checkpoint,
    read_progress,
    remove_checkpoint,
    write_checkpoint,
)
from rlaif.policy.ppo.guards import describe_kl_alarm
from rlaif.policy.ppo.metrics import ShownResponse, describe_step, kl_per_response, show_responses
from rlaif.policy.ppo.models import ValueStart
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.rewards import RewardSource, Scored, ScoreScale, next_kl_coef
from rlaif.policy.ppo.rollout import Encoder, Trajectory, sample_trajectories, score_trajectories
from rlaif.policy.ppo.start import Training, begin, restart, set_up
from rlaif.policy.ppo.update import update
from rlaif.records import Prompt


class TrainedPolicy(NamedTuple):
    model: PreTrainedModel
    """A plain model, any adapter merged into it."""
    value_head: nn.Module
    steps: int
    """Steps that are in the weights."""
    first_step: int
    """Where this call began: 0, or where it resumed. `on_metrics` came for this step and later ones."""
    stop_reason: Literal["done", "stop_requested", "kl_ceiling"]
    note: str
    """Why it stopped early, in a sentence; empty when it did not."""
    metrics: dict[str, float]
    """Of the last step that is in the weights."""
    adapted: PreTrainedModel | None
    """With the adapter that was trained still in its layers; None where there is none."""


class Rollout(NamedTuple):
    """A step's responses that have a score, and the scores as the reward source gave them."""

    trajectories: list[Trajectory]
    scored: Scored


def train_policy(
    *,
    policy: PreTrainedModel,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    reward: RewardSource,
    config: PpoConfig,
    out_dir: Path,
    seed: int,
    resume: bool,
    on_metrics: Callable[[dict[str, float]], None],
    on_samples: Callable[[int, Sequence[ShownResponse]], None],
    stop_requested: Callable[[], bool] | None = None,
    reference: PreTrainedModel | None = None,
    value_start: ValueStart | None = None,
) -> TrainedPolicy:
    """Train a copy of `policy`, a causal LM in float32, and return the copy.

    The KL is taken to `reference`, by default `policy` itself as it came in; neither is changed. What is not trained
    shares its memory with `policy`. `value_start`: what a separate value model begins as.
    Checkpoints go to `out_dir`/checkpoints. `stop_requested` is asked between steps.
    """
    training = set_up(policy, reference, encoder, prompts, reward, config, seed, out_dir, value_start=value_start)
    progress = begin(training, resume=resume)
    first_step = progress.step
    while progress.step < config.num_steps:
        if stop_requested is not None and stop_requested():
            _write(training, progress)
            note = f"stopped on request after {progress.step} of {config.num_steps} steps"
            return _finish(training, progress, first_step=first_step, stop_reason="stop_requested", note=note)

        step = progress.step
        rollout = roll_out(training, step=step)
        batch = prepare_batch(
            training.learner,
            training.reference.model,
            rollout.trajectories,
            scores=_shape_scores(rollout, progress, config),
            kl_coef=progress.kl_coef,
            config=config,
            pad_id=encoder.pad_token_id,
            hydra=training.reference.mode == "hydra",
            budget=training.budget,
        )
        kl = kl_per_response(batch)
        mean_kl = float(kl.mean())
        if mean_kl > config.kl_ceiling:
            kept = _roll_back(training, progress)
            note = describe_kl_alarm(kl=mean_kl, ceiling=config.kl_ceiling, step=step, kept_step=kept.step)
            return _finish(training, kept, first_step=first_step, stop_reason="kl_ceiling", note=note)

        learning_rate = config.learning_rate * (1 - step / config.num_steps)
        stats = update(
            training.learner,
            training.optimizer,
            batch,
            learning_rate=learning_rate,
            config=config,
            pad_id=encoder.pad_token_id,
            seed=seed,
            step=step,
            budget=training.budget,
        )
        episodes = progress.episodes + len(rollout.trajectories)
        metrics = describe_step(
            batch,
            stats,
            step=step,
            episodes=episodes,
            scored=rollout.scored,
            finished=[trajectory.finished for trajectory in rollout.trajectories],
            kl_coef=progress.kl_coef,
            learning_rate=learning_rate,
        )
        progress = progress.model_copy(
            update={
                "step": step + 1,
                "episodes": episodes,
                "kl_coef": _steer_kl_coef(progress.kl_coef, mean_kl, len(rollout.trajectories), config),
                "metrics": metrics,
            }
        )
        on_metrics(metrics)
        if step % config.sample_every == 0 or progress.step == config.num_steps:
            on_samples(step, show_responses(rollout.trajectories, rollout.scored.scores, kl))
        if progress.step % config.checkpoint_every == 0 or progress.step == config.num_steps:
            _write(training, progress)
    return _finish(training, progress, first_step=first_step, stop_reason="done", note="")


def roll_out(training: Training, *, step: int) -> Rollout:
    """A step's prompts, the learner's responses to them, and those responses' scores."""
    config = training.config
    chosen = prompts_of_step(
        len(training.prompts), seed=training.seed, step=step, num_prompts_per_step=config.num_prompts_per_step
    )
    learner = training.learner
    with learner.computing.applied(learner.model):
        trajectories = sample_trajectories(
            learner.model,
            training.encoder,
            [training.prompts[index] for index in chosen],
            num_samples=config.num_samples_per_prompt,
            response_length=config.response_length,
            temperature=config.temperature,
            key=(training.seed, step),
            value_head=learner.reads_along,
        )
    scored = score_trajectories(
        training.reward, trajectories, max_failed=config.max_failed_rewards, where=f"PPO step {step}"
    )
    return Rollout([trajectories[index] for index in scored.kept], scored)


def _shape_scores(rollout: Rollout, progress: Progress, config: PpoConfig) -> list[float]:
    """Standardised scores, and what becomes of them where a response ran out of tokens."""
    scores = ScoreScale(progress.score_mean, progress.score_sd).apply(rollout.scored.scores)
    penalty = config.missing_eos_penalty
    for place, trajectory in enumerate(rollout.trajectories):
        if trajectory.finished:
            continue
        if config.truncated == "penalise":
            scores[place] -= penalty
        elif config.truncated == "replace":
            scores[place] = -penalty
    return scores


def _steer_kl_coef(kl_coef: float, kl: float, num_episodes: int, config: PpoConfig) -> float:
    if not config.adaptive_kl:
        return kl_coef
    return next_kl_coef(kl_coef, kl, target=config.kl_target, horizon=config.kl_horizon, num_episodes=num_episodes)


def _write(training: Training, progress: Progress) -> None:
    write_checkpoint(training.out_dir, learner=training.learner, optimizer=training.optimizer, progress=progress)


def _roll_back(training: Training, progress: Progress) -> Progress:
    """To the newest checkpoint before this step; without one to the policy that training began with."""
    checkpoints = find_checkpoints(training.out_dir)
    if checkpoints and read_progress(checkpoints[-1]).step == progress.step:
        remove_checkpoint(checkpoints.pop())
    if checkpoints:
        load_checkpoint(checkpoints[-1], learner=training.learner, optimizer=training.optimizer)
        return read_progress(checkpoints[-1])
    restart(training, progress)
    return progress.model_copy(update={"step": 0, "episodes": 0, "kl_coef": training.config.kl_coef, "metrics": {}})


def _finish(
    training: Training,
    progress: Progress,
    *,
    first_step: int,
    stop_reason: Literal["done", "stop_requested", "kl_ceiling"],
    note: str,
) -> TrainedPolicy:
    learner = training.learner
    return TrainedPolicy(
        learner.plain_policy(),
        learner.value_head,
        progress.step,
        first_step,
        stop_reason,
        note,
        progress.metrics,
        learner.model if has_adapter(learner.model) else None,
    )
