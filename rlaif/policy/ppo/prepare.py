"""One step's scored trajectories -> a training batch: old log-probabilities, rewards, advantages, returns.

What the pass that drew a response said of its tokens is taken over; the rest is computed here, without gradients.
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
from rlaif.policy.ppo.advantages import compared_rows, compute_gae, compute_rloo, scale_about_mean, standardise
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
    """Rows that are trained on: all, but for truncated ones that are to be left out."""
    response_mask: Tensor
    """True on response tokens, the stop token among them."""
    logprobs: Tensor
    """Of the policy before this step's updates, under the temperature."""
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    kl: Tensor
    """Per-token estimates that the rewards were penalised with."""
    scores: Tensor
    """(batch,), standardised and penalised."""
    advantages: Tensor
    returns: Tensor
    engine_logprobs: Tensor
    """Of what sampled, as it says itself; `logprobs` where it does not."""
    weights: Tensor
    """What a token's policy loss is multiplied with, for not having been sampled from that policy; 1 where it was."""
    frozen: list[Tensor] | None = None
    """What the layers that are not trained make of each row, see `PaddedBatch.frozen`."""

    @property
    def trained_mask(self) -> Tensor:
        """(batch, response_len) True on the response tokens that are trained on."""
        return _only(self.response_mask, self.trained)

    def padded(self, rows: list[int], *, pad_id: int) -> PaddedBatch:
        """Some rows as the models take them."""
        frozen = None if self.frozen is None else [self.frozen[row] for row in rows]
        return pad_batch(
            [self.sequences[row] for row in rows], pad_id=pad_id, device=self.logprobs.device, frozen=frozen
        )


class ModelNumbers(NamedTuple):
    """What the models say of a step's tokens; all (batch, response_len), zero at pads."""

    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    is_known: bool
    """Whether the first, third and fourth were said by the pass that drew the responses."""
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
    hydra: bool = False,
    budget: TokenBudget | None = None,
    team: Team = ALONE,
) -> TrainingBatch:
    """All that the updates of a step need; `scores` are standardised and penalised already.

    Each of the team, who all give the same trajectories, computes some of them and gets the whole batch.
    hydra: the reference says below the trained layers what the learner says. budget: None for the options' own.
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
    logprobs, ref_logprobs, values, entropy, is_known, frozen = _ask_models(
        learner, reference, trajectories, mask, config=config, pad_id=pad_id, hydra=hydra, budget=budget, team=team
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
    whitened = trained
    if config.algorithm == "rloo":
        prompts = [trajectory.prompt.id for trajectory in trajectories]
        advantages, returns = compute_rloo(rewards, mask, prompts=prompts, trained=trained)
        whitened = [row for rows in compared_rows(prompts, trained=trained) for row in rows]
    else:
        after = torch.zeros(len(sequences), device=device)
        if config.truncated == "bootstrap":
            after = _values_after(learner, trajectories, config=config, pad_id=pad_id, budget=budget)
        advantages, returns = compute_gae(
            rewards, values, mask, gamma=config.gamma, lam=config.lam, value_lam=config.value_lam, values_after=after
        )
    if config.whitens_advantages:
        advantages = standardise(advantages, _only(mask, whitened))
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


def _only(mask: Tensor, rows: Sequence[int]) -> Tensor:
    """A (batch, response_len) mask without the other rows."""
    kept = torch.zeros(len(mask), 1, dtype=torch.bool, device=mask.device)
    kept[list(rows)] = True
    return mask & kept


def _engine_logprobs(trajectories: Sequence[Trajectory], logprobs: Tensor, mask: Tensor) -> Tensor:
    """(batch, response_len), zero at pads."""
    said = [trajectory.engine_logprobs for trajectory in trajectories]
    if any(of_tokens is None for of_tokens in said):
        return logprobs
    flat = [number for of_tokens in said if of_tokens is not None for number in of_tokens]
    return torch.zeros_like(logprobs).masked_scatter(mask, torch.tensor(flat, device=logprobs.device))


@torch.no_grad()
def _ask_models(
    learner: PolicyWithValue,
    reference: PreTrainedModel,
    trajectories: Sequence[Trajectory],
    mask: Tensor,
    *,
    config: PpoConfig,
    pad_id: int,
    hydra: bool,
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
    of_reference = computing if hydra else computing._replace(depth=0)

    def ask(max_tokens: int) -> ModelNumbers:
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

    found = budget.fit(ask, sequences)
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
    """(batch,) value of what would follow a response that ran out of tokens; 0 after one that ended."""
    device = device_of(learner)
    cut = [row for row, trajectory in enumerate(trajectories) if not trajectory.finished]
    # The value head reads the state that predicts a token: here one that is whatever comes next, and is not read.
    longer = [
        TokenSequence(t.tokens.prompt_ids, [*t.tokens.response_ids, pad_id]) for t in (trajectories[row] for row in cut)
    ]

    def ask(max_tokens: int) -> Tensor:
        after = torch.zeros(len(trajectories), device=device)
        for rows in micro_batches(longer, max_tokens=max_tokens):
            batch = pad_batch([longer[row] for row in rows], pad_id=pad_id, device=device)._replace(ends_unread=True)
            found = learner(batch, temperature=config.temperature).values
            last = batch.response_mask.sum(dim=1) - 1
            after[[cut[row] for row in rows]] = found[torch.arange(len(rows), device=device), last]
        return after

    return budget.fit(ask, longer) if longer else torch.zeros(len(trajectories), device=device)
