"""A training starts or resumes: the learner, its frozen reference, and the scale of the scores.

Reads checkpoints, writes none. Takes no training step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.errors import ConfigError, RunFolderError, TrainingError
from rlaif.models.local.layers import enters_exactly, find_layers
from rlaif.models.local.upper_layers import trunk_depth
from rlaif.models.weights.context import shortest_context
from rlaif.policy.ppo.batching import prompts_of_step
from rlaif.policy.ppo.checkpoint import (
    check_same_training,
    find_checkpoints,
    load_checkpoint,
    read_prefetched,
    read_progress,
)
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.engines import open_engine
from rlaif.policy.ppo.metrics import PhaseClock
from rlaif.policy.ppo.models import (
    PolicyWithValue,
    ValueModel,
    ValueStart,
    check_trainable,
    device_of,
    make_value_model,
)
from rlaif.policy.ppo.passes import Computing
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.reference import Reference, choose_reference
from rlaif.policy.ppo.rollout import Rollouts
from rlaif.policy.ppo.shaping import counts_its_score
from rlaif.policy.ppo.sharing import Shared, share_learner
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.policy.ppo.trained import make_trained
from rlaif.policy.ppo.trajectories import (
    EncodedPrompt,
    Encoder,
    encode_prompts,
    sample_trajectories,
    score_trajectories,
)
from rlaif.policy.rewards.episodes import RewardSource, ScoreScale, WeightedReward, measure_scales
from rlaif.records import Prompt, digest_text
from rlaif.training.team import ALONE, Team


@dataclass(frozen=True)
class Training:
    """What all steps use. Only the learner's weights, the optimizer's moments, the budget and the clock change."""

    shared: Shared
    reference: Reference
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
    """The prompts of the checks."""
    team: Team
    budget: TokenBudget
    value_start: ValueStart | None
    clock: PhaseClock

    @property
    def learner(self) -> PolicyWithValue:
        """The model in training. Under FSDP2 it has this process's part of the weights; `shared.whole` has all."""
        return self.shared.learner


def set_up(
    *,
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    reward: RewardSource | Sequence[WeightedReward],
    config: PpoConfig,
    seed: int,
    out_dir: Path,
    checks: Checks,
    team: Team = ALONE,
    value_start: ValueStart | None = None,
) -> Training:
    """Make the learner, its reference, its optimizer and its engine."""
    reference = policy if reference is None else reference
    check_trainable([policy, reference])
    encode = partial(
        encode_prompts,
        encoder=encoder,
        response_length=config.response_length,
        context_tokens=shortest_context([policy, reference, *([] if value_start is None else [value_start.trunk])]),
    )
    encoded = encode(prompts)
    held_out = encode(checks.prompts) if checks.prompts else []
    # Dropout stays off in training too: PPO's ratio compares two passes over the same tokens.
    for model in (policy, reference):
        model.train(False)
    learner = make_learner(policy, config.model, seed=seed, value_start=value_start, team=team)
    chosen = choose_reference(learner.model, policy, reference, config.model)
    shared = share_learner(learner, team)
    rewards = (
        tuple(reward)
        if isinstance(reward, Sequence)
        else (WeightedReward("reward", reward, standardise=config.standardise_scores),)
    )
    engine = open_engine(config, encoder=encoder, prompts=encoded, device=device_of(learner), team=team)
    rollouts = Rollouts(engine, encoded, config=config, seed=seed, pad_id=encoder.pad_token_id, team=team)
    return Training(
        shared=shared,
        reference=chosen,
        optimizer=make_optimizer(learner, config),
        encoder=encoder,
        prompts=encoded,
        rewards=rewards,
        config=config,
        seed=seed,
        out_dir=out_dir,
        rollouts=rollouts,
        checks=checks,
        held_out_prompts=held_out,
        team=team,
        budget=TokenBudget(
            config.micro_batch_tokens,
            num_samples=config.num_samples_per_prompt,
            device=device_of(learner),
            halves=team.size == 1,
        ),
        value_start=value_start,
        clock=PhaseClock(),
    )


def make_learner(
    policy: PreTrainedModel, config: PpoModelConfig, *, seed: int, value_start: ValueStart | None, team: Team = ALONE
) -> PolicyWithValue:
    """The model that is trained, with its value head or value model; the policy itself stays unchanged."""
    model = make_trained(policy, config, seed=seed)
    value_model = make_value_model(policy, value_start) if config.value_model == "separate" else None
    for trunk in (model, *(() if value_model is None else (value_model.trunk.model,))):
        if config.gradient_checkpointing and find_layers(trunk) is None:
            raise ConfigError(
                f"{type(trunk).__name__} has no list of layers to run again",
                where="ppo.model.gradient_checkpointing",
                fix="say false",
            )
    # The kept output of a response's lower layers would have to move to the process that trains on the response.
    depth = trunk_depth(model) if config.cache_trunk and team.size == 1 else 0
    computing = Computing(
        dtype=config.compute_dtype,
        checkpointing=config.gradient_checkpointing,
        depth=depth if depth and enters_exactly(model, depth=depth) else 0,
    )
    return PolicyWithValue(model, value_model=value_model, computing=computing).train(False)


def make_optimizer(learner: PolicyWithValue, config: PpoConfig) -> torch.optim.Optimizer:
    """Adam over the trained weights; a separate value model may have another rate, `rate` times the policy's."""
    own_rate = config.model.value_learning_rate
    of_values = set(learner.value_head.parameters()) if own_rate is not None else set()
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    groups = [{"params": [parameter for parameter in trained if parameter not in of_values], "rate": 1.0}]
    if own_rate is not None:
        factor = own_rate / config.learning_rate if config.learning_rate else 0.0
        groups.append({"params": [parameter for parameter in trained if parameter in of_values], "rate": factor})
    return torch.optim.Adam(groups, lr=config.learning_rate, eps=config.adam_epsilon)


def scale_values(training: Training, scales: Mapping[str, ScoreScale]) -> None:
    """Rescale a value model that began as a reward model to the scale on which that model's scores are maximised."""
    start, value_model = training.value_start, training.learner.value_head
    if start is None or not isinstance(value_model, ValueModel):
        return
    weight = next((reward.weight for reward in training.rewards if reward.name == start.reward), 1.0)
    scale = scales.get(start.reward, ScoreScale())
    value_model.rescale(mean=scale.mean, sd=scale.sd / weight)


def begin(training: Training, *, resume: bool) -> Progress:
    """The progress that training begins with: the newest checkpoint's, or a new one with the scores' scale measured."""
    config, seed = training.config, training.seed
    all_prompts = (*training.prompts, *training.held_out_prompts)
    start = Progress(
        kl_coef=config.kl_coef,
        rewards=tuple((reward.name, reward.weight, reward.standardise) for reward in training.rewards),
        seed=seed,
        prompts_digest=digest_text("\n".join(prompt.prompt.id for prompt in all_prompts)),
        config=config,
    )
    newest = training.team.ask_first(lambda: _find_newest(training.out_dir, start, resume=resume))
    if newest is not None:
        load_checkpoint(newest, learner=training.learner, optimizer=training.optimizer)
        training.rollouts.take_up(read_prefetched(newest))
        return read_progress(newest)
    if any(reward.standardise for reward in training.rewards):
        start = start.model_copy(update={"score_scales": _measure_reference_scores(training)})
    scale_values(training, start.score_scales)
    return start


def _find_newest(out_dir: Path, start: Progress, *, resume: bool) -> Path | None:
    """The newest checkpoint, if this training may resume from it; None where there is none."""
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
        training.reference.model,
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
    finished = [trajectories[row].finished for row in scored.kept]
    counting = [place for place, ended in enumerate(finished) if counts_its_score(finished=ended, config=config)]
    if not counting:
        raise TrainingError(
            f"all {len(trajectories)} responses of the reference policy ran out of tokens, and with `truncated: "
            f"{config.truncated}` none of their scores counts, so there is no scale to bring scores to",
            where=f"ppo.response_length {config.response_length}",
            fix="raise ppo.response_length, or let truncated responses count otherwise",
        )
    return measure_scales(training.rewards, scored, counting=counting)
