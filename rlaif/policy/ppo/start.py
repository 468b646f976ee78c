"""How a training starts or resumes: the learner, its frozen reference, and the scores' scale.

Reads checkpoints, writes none. Takes no training step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.errors import RunFolderError
from rlaif.policy.ppo.ahead import Rollouts
from rlaif.policy.ppo.batching import prompts_of_step
from rlaif.policy.ppo.checkpoint import (
    check_same_training,
    find_checkpoints,
    load_checkpoint,
    read_ahead,
    read_progress,
)
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.engines import open_engine
from rlaif.policy.ppo.models import PolicyWithValue, check_trainable, context_tokens_of, device_of
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.rewards import RewardSource, ScoreScale, WeightedReward, measure_scales
from rlaif.policy.ppo.rollout import (
    EncodedPrompt,
    Encoder,
    encode_prompts,
    sample_trajectories,
    score_trajectories,
)
from rlaif.policy.ppo.sharing import Shared, share_learner
from rlaif.processes import Team
from rlaif.records import Prompt, digest_text


@dataclass(frozen=True)
class Training:
    """What stays the same over all steps. Only the learner's weights and the optimizer's moments change."""

    shared: Shared
    reference: PreTrainedModel
    optimizer: torch.optim.Optimizer
    encoder: Encoder
    prompts: list[EncodedPrompt]
    rewards: tuple[WeightedReward, ...]
    config: PpoConfig
    seed: int
    out_dir: Path
    rollouts: Rollouts
    checks: Checks
    held_out_prompts: list[EncodedPrompt]
    """Those of the checks."""
    team: Team

    @property
    def learner(self) -> PolicyWithValue:
        """Under FSDP2 this process has a part of its weights; `shared.whole` has all of them."""
        return self.shared.learner


def set_up(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    reward: RewardSource | Sequence[WeightedReward],
    config: PpoConfig,
    seed: int,
    out_dir: Path,
    *,
    checks: Checks,
    team: Team,
) -> Training:
    reference = policy if reference is None else reference
    check_trainable([policy, reference])
    encode = partial(
        encode_prompts,
        encoder=encoder,
        response_length=config.response_length,
        context_tokens=context_tokens_of(policy),
    )
    encoded = encode(prompts)
    held_out = encode(checks.prompts) if checks.prompts else []
    # Dropout stays off in training too: PPO's ratio compares two passes over the same tokens.
    learner = PolicyWithValue(copy.deepcopy(policy)).requires_grad_(True)
    for model in (learner, reference):
        model.train(False)
    shared = share_learner(learner, team)
    optimizer = torch.optim.Adam(learner.parameters(), lr=config.learning_rate, eps=config.adam_epsilon)
    rewards = (
        tuple(reward)
        if isinstance(reward, Sequence)
        else (WeightedReward("reward", reward, standardise=config.standardise_scores),)
    )
    engine = open_engine(config, encoder=encoder, prompts=encoded, device=device_of(learner), team=team)
    rollouts = Rollouts(engine, encoded, config=config, seed=seed, pad_id=encoder.pad_token_id, team=team)
    return Training(
        shared, reference, optimizer, encoder, encoded, rewards, config, seed, out_dir, rollouts, checks, held_out, team
    )


def begin(training: Training, *, resume: bool) -> Progress:
    """Where training stands: at the newest checkpoint, or at the start with the scores' scale measured."""
    config, seed = training.config, training.seed
    asked = (*training.prompts, *training.held_out_prompts)
    start = Progress(
        kl_coef=config.kl_coef,
        rewards=tuple((reward.name, reward.weight, reward.standardise) for reward in training.rewards),
        seed=seed,
        prompts_digest=digest_text("\n".join(prompt.prompt.id for prompt in asked)),
        config=config,
    )
    newest = training.team.ask_first(lambda: _find_newest(training.out_dir, start, resume=resume))
    if newest is not None:
        load_checkpoint(newest, learner=training.learner, optimizer=training.optimizer)
        training.rollouts.take_up(read_ahead(newest))
        return read_progress(newest)
    if not any(reward.standardise for reward in training.rewards):
        return start
    return start.model_copy(update={"score_scales": _measure_reference_scores(training)})


def _find_newest(out_dir: Path, start: Progress, *, resume: bool) -> Path | None:
    """The checkpoint to go on from; None where there is none."""
    checkpoints = find_checkpoints(out_dir)
    if not checkpoints:
        return None
    if not resume:
        raise RunFolderError(
            "this folder already holds a training",
            where=str(out_dir),
            fix="resume it or use a new folder",
        )
    check_same_training(read_progress(checkpoints[-1]), start, where=checkpoints[-1])
    return checkpoints[-1]


def _measure_reference_scores(training: Training) -> dict[str, ScoreScale]:
    config = training.config
    chosen = prompts_of_step(
        len(training.prompts), seed=training.seed, step=0, num_prompts_per_step=config.num_reference_samples
    )
    trajectories = sample_trajectories(
        training.reference,
        training.encoder,
        [training.prompts[index] for index in chosen],
        num_samples=1,
        response_length=config.response_length,
        temperature=config.temperature,
        key=(training.seed, -1),
        team=training.team,
    )
    scored = score_trajectories(
        training.rewards,
        trajectories,
        scales={},
        max_failed=config.max_failed_rewards,
        where="the reference policy's responses",
    )
    return measure_scales(training.rewards, scored)
