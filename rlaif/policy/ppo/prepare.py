"""One step's scored trajectories -> a training batch: old log-probabilities, rewards, advantages, returns.

Numbers that the sampling pass computed are taken from the trajectories; the rest is computed here, without gradients.
Does not sample, does not ask for rewards and updates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.policy.ppo.advantages import (
    Advantages,
    compared_rows,
    compute_gae,
    compute_grpo,
    compute_rloo,
    scale_about_mean,
    standardise,
)
from rlaif.policy.ppo.batching import PaddedBatch, TokenSequence, micro_batches, pad_batch
from rlaif.policy.ppo.loss import compute_importance_weights
from rlaif.policy.ppo.models import PolicyWithValue, ValueModel, device_of
from rlaif.policy.ppo.passes import at_mask, compute_frozen, compute_logprobs
from rlaif.policy.ppo.shaping import compute_rewards, estimate_kl, is_trained_on
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.training.team import ALONE, Team


class TrainingBatch(NamedTuple):
    """A step's responses with all that its updates need. Tensors are (batch, response_len), zero at pads."""

    sequences: list[TokenSequence]
    trained: list[int]
    """Rows that are trained on: all of them, or with `truncated: mask` those that ended."""
    response_mask: Tensor
    """True on response tokens, the stop token among them."""
    logprobs: Tensor
    """Log-probabilities by the policy before this step's updates, at the sampling temperature."""
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    kl: Tensor
    """Per-token estimates of the KL; times kl_coef they are the penalty in the rewards."""
    scores: Tensor
    """(batch,), standardised and penalised."""
    advantages: Tensor
    returns: Tensor
    engine_logprobs: Tensor
    """Log-probabilities by the engine that sampled; the same as `logprobs` where it gives none."""
    weights: Tensor
    """Factor on a token's policy loss: its importance weight where other weights sampled it, else 1."""
    frozen: list[Tensor] | None = None
    """Output of the untrained layers for each row, see `PaddedBatch.frozen`."""

    @property
    def trained_mask(self) -> Tensor:
        """(batch, response_len) True on the response tokens that are trained on."""
        return _only(self.response_mask, self.trained)

    def padded(self, rows: list[int], *, pad_id: int) -> PaddedBatch:
        """Some rows as a batch for the models."""
        frozen = None if self.frozen is None else [self.frozen[row] for row in rows]
        return pad_batch(
            [self.sequences[row] for row in rows], pad_id=pad_id, device=self.logprobs.device, frozen=frozen
        )


class ModelNumbers(NamedTuple):
    """What the models compute for a step's tokens. Tensors are (batch, response_len), zero at pads."""

    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    is_known: bool
    """Whether log-probabilities, values and entropy came from the pass that drew the responses."""
    frozen: list[Tensor] | None


def prepare_batch(
    learner: PolicyWithValue,
    reference: PreTrainedModel,
    trajectories: Sequence[Trajectory],
    *,
    scores: Sequence[float],
    kl_coef: float,
    config: PpoConfig,
    pad_id: int,
    shares_trunk: bool = False,
    budget: TokenBudget | None = None,
    team: Team = ALONE,
) -> TrainingBatch:
    """All that the updates of a step need; `scores` are standardised and penalised already.

    All processes of the team give the same trajectories; each computes a part, and all get the whole batch.
    shares_trunk: reference and learner are the same below the trained layers. budget: None for the one that the
    options make.
    """
    trained = [row for row, t in enumerate(trajectories) if is_trained_on(finished=t.finished, config=config)]
    if not trained:
        raise TrainingError(
            "all responses of a step ran out of tokens, and `truncated: mask` leaves nothing to train on",
            where=f"ppo.response_length {config.response_length}",
            fix="raise ppo.response_length, or let truncated responses count otherwise",
        )
    device = device_of(learner)
    sequences = [trajectory.tokens for trajectory in trajectories]
    budget = budget or TokenBudget(config.micro_batch_tokens, num_samples=config.num_samples_per_prompt, device=device)
    mask = pad_batch(sequences, pad_id=pad_id, device=device).response_mask
    logprobs, ref_logprobs, values, entropy, is_known, frozen = _compute_numbers(
        learner,
        reference,
        trajectories,
        mask,
        config=config,
        pad_id=pad_id,
        shares_trunk=shares_trunk,
        budget=budget,
        team=team,
    )
    engine_logprobs = _engine_logprobs(trajectories, logprobs, mask)
    weights = mask.float()
    most = config.rollout.max_importance_weight
    if not is_known and most is not None:
        weights = weights * compute_importance_weights(logprobs, engine_logprobs, most=most)
    kl = estimate_kl(logprobs, ref_logprobs, estimator=config.kl_estimator)
    score = torch.tensor(scores, device=device)
    rewards = compute_rewards(score, kl, mask, kl_coef=kl_coef)
    if config.whiten_rewards:
        rewards = scale_about_mean(rewards, _only(mask, trained))
    if not config.has_values:
        advantages, returns = _compared(rewards, mask, trajectories, trained=trained, config=config)
    else:
        after = torch.zeros(len(sequences), device=device)
        if config.truncated == "bootstrap":
            after = _values_after(learner, trajectories, config=config, pad_id=pad_id, budget=budget)
        advantages, returns = _gae(rewards, values, mask, trained=trained, values_after=after, config=config)
    return TrainingBatch(
        sequences=sequences,
        trained=trained,
        response_mask=mask,
        logprobs=logprobs,
        ref_logprobs=ref_logprobs,
        values=values,
        entropy=entropy,
        kl=kl,
        scores=score,
        advantages=advantages,
        returns=returns,
        engine_logprobs=engine_logprobs,
        weights=weights,
        frozen=frozen,
    )


def _compared(
    rewards: Tensor, mask: Tensor, trajectories: Sequence[Trajectory], *, trained: Sequence[int], config: PpoConfig
) -> Advantages:
    """The advantages of RLOO or GRPO; where they are whitened, over the rows that were compared with others."""
    prompts = [trajectory.prompt.id for trajectory in trajectories]
    compute = compute_rloo if config.algorithm == "rloo" else compute_grpo
    advantages, returns = compute(rewards, mask, prompts=prompts, trained=trained)
    if config.whitens_advantages:
        compared = [row for rows in compared_rows(prompts, trained=trained) for row in rows]
        advantages = standardise(advantages, _only(mask, compared))
    return Advantages(advantages, returns)


def _gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    trained: Sequence[int],
    values_after: Tensor,
    config: PpoConfig,
) -> Advantages:
    """GAE's advantages, whitened over the rows that are trained on."""
    advantages, returns = compute_gae(
        rewards, values, mask, gamma=config.gamma, lam=config.lam, value_lam=config.value_lam, values_after=values_after
    )
    if config.whitens_advantages:
        advantages = standardise(advantages, _only(mask, trained))
    return Advantages(advantages, returns)


def _only(mask: Tensor, rows: Sequence[int]) -> Tensor:
    """A (batch, response_len) mask, False outside of these rows."""
    kept = torch.zeros(len(mask), 1, dtype=torch.bool, device=mask.device)
    kept[list(rows)] = True
    return mask & kept


def _engine_logprobs(trajectories: Sequence[Trajectory], logprobs: Tensor, mask: Tensor) -> Tensor:
    """(batch, response_len) log-probabilities by the engine, zero at pads; `logprobs` where it gave none."""
    given = [trajectory.engine_logprobs for trajectory in trajectories]
    if any(of_tokens is None for of_tokens in given):
        return logprobs
    flat = [number for of_tokens in given if of_tokens is not None for number in of_tokens]
    return torch.zeros_like(logprobs).masked_scatter(mask, torch.tensor(flat, device=logprobs.device))


@torch.no_grad()
def _compute_numbers(
    learner: PolicyWithValue,
    reference: PreTrainedModel,
    trajectories: Sequence[Trajectory],
    mask: Tensor,
    *,
    config: PpoConfig,
    pad_id: int,
    shares_trunk: bool,
    budget: TokenBudget,
    team: Team,
) -> ModelNumbers:
    """Old log-probabilities, values and entropies, and the reference's log-probabilities.

    Layers that are not trained are run here once; all other passes of the step begin above them.
    """
    sequences = [trajectory.tokens for trajectory in trajectories]
    known = [trajectory.numbers for trajectory in trajectories if trajectory.numbers is not None]
    is_known = len(known) == len(trajectories)
    computing = learner.computing._replace(checkpointing=False)
    of_reference = computing if shares_trunk else computing._replace(depth=0)

    def compute(max_tokens: int) -> ModelNumbers:
        logprobs, ref_logprobs, values, entropy = (torch.zeros(mask.shape, device=mask.device) for _ in range(4))
        frozen: dict[int, Tensor] = {}
        if is_known:
            for tensor, rows_of in zip((logprobs, values, entropy), zip(*known, strict=True), strict=True):
                tensor[mask] = torch.tensor([number for row in rows_of for number in row], device=mask.device)
        for rows in team.share(micro_batches(sequences, max_tokens=max_tokens)):
            batch = pad_batch([sequences[row] for row in rows], pad_id=pad_id, device=mask.device)
            width = batch.response_mask.shape[1]
            if computing.depth:
                batch = batch._replace(frozen=compute_frozen(learner.model, batch, computing=computing))
                frozen |= zip(rows, batch.frozen or (), strict=True)
            if not is_known:
                policy = learner(batch, temperature=config.temperature)
                logprobs[rows, :width] = policy.logprobs
                values[rows, :width] = policy.values
                entropy[rows, :width] = policy.entropy
            elif isinstance(learner.value_head, ValueModel):
                values[rows, :width] = at_mask(learner.value_head(batch, computing=computing), batch.response_mask)
            ref_logprobs[rows, :width] = compute_logprobs(
                reference, batch, temperature=config.temperature, computing=of_reference
            )
        kept = [frozen[row] for row in range(len(sequences))] if frozen else None
        return ModelNumbers(
            logprobs=logprobs,
            ref_logprobs=ref_logprobs,
            values=values,
            entropy=entropy,
            is_known=is_known,
            frozen=kept,
        )

    found = budget.fit(compute, sequences)
    team.add_up(found.ref_logprobs)
    if not is_known:
        team.add_up(found.logprobs, found.entropy)
    if not is_known or isinstance(learner.value_head, ValueModel):
        team.add_up(found.values)
    return found


@torch.no_grad()
def _values_after(
    learner: PolicyWithValue,
    trajectories: Sequence[Trajectory],
    *,
    config: PpoConfig,
    pad_id: int,
    budget: TokenBudget,
) -> Tensor:
    """(batch,) value of the state after a response that ran out of tokens; 0 after one that ended."""
    device = device_of(learner)
    cut = [row for row, trajectory in enumerate(trajectories) if not trajectory.finished]
    # The value head reads the state that predicts a token: here a pad token after the end, which no model reads.
    longer = [
        TokenSequence(t.tokens.prompt_ids, [*t.tokens.response_ids, pad_id]) for t in (trajectories[row] for row in cut)
    ]

    def compute(max_tokens: int) -> Tensor:
        after = torch.zeros(len(trajectories), device=device)
        for rows in micro_batches(longer, max_tokens=max_tokens):
            batch = pad_batch([longer[row] for row in rows], pad_id=pad_id, device=device)._replace(ends_unread=True)
            found = learner(batch, temperature=config.temperature, with_entropy=False).values
            last = batch.response_mask.sum(dim=1) - 1
            after[[cut[row] for row in rows]] = found[torch.arange(len(rows), device=device), last]
        return after

    return budget.fit(compute, longer) if longer else torch.zeros(len(trajectories), device=device)
