"""One step's scored trajectories -> a training batch -> optimizer steps.

Everything is a token mean over a whole mini-batch, whatever the micro-batches. Does not sample, does
not ask for rewards and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.advantages import compute_gae, scale_about_mean, standardise
from rlaif.policy.ppo.batching import TokenSequence, micro_batches, mini_batches, pad_batch
from rlaif.policy.ppo.guards import check_finite
from rlaif.policy.ppo.loss import compute_policy_loss, compute_value_loss
from rlaif.policy.ppo.models import PolicyWithValue, compute_logprobs, device_of
from rlaif.policy.ppo.rewards import compute_rewards, estimate_kl
from rlaif.policy.ppo.rollout import TokenNumbers


class TrainingBatch(NamedTuple):
    """A step's responses with all that its updates need. Tensors are (batch, response_len), zero at pads."""

    sequences: list[TokenSequence]
    response_mask: Tensor
    """True on response tokens, the stop token among them."""
    logprobs: Tensor
    """Of the policy that sampled, under the temperature."""
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    kl: Tensor
    """Per-token estimates that the rewards were penalised with."""
    scores: Tensor
    """(batch,), standardised and penalised."""
    advantages: Tensor
    returns: Tensor


class UpdateStats(NamedTuple):
    """Token means, over one mini-batch or over all of a step's."""

    policy_loss: float
    value_loss: float
    approx_kl: float
    policy_clipped: float
    value_clipped: float
    ratio: float
    ratio_deviation: float
    """Largest |ratio - 1|; of a step, that in its first mini-batch: 0 but for rounding."""
    grad_norm: float
    """Before clipping."""


def prepare_batch(
    learner: PolicyWithValue,
    reference: PreTrainedModel,
    sequences: list[TokenSequence],
    *,
    scores: Sequence[float],
    kl_coef: float,
    config: PpoConfig,
    pad_id: int,
    numbers: Sequence[TokenNumbers | None] = (),
) -> TrainingBatch:
    """Old log-probabilities, values and the reference's, then rewards, advantages and returns.

    `numbers`: what the pass that drew the sequences said of them; without, the learner computes it anew.
    """
    known = [said for said in numbers if said is not None]
    is_known = len(known) == len(sequences)
    device = device_of(learner)
    whole = pad_batch(sequences, pad_id=pad_id, device=device)
    mask = whole.response_mask
    logprobs, ref_logprobs, values, entropy = (torch.zeros(mask.shape, device=device) for _ in range(4))
    if is_known:
        for tensor, rows_of in zip((logprobs, values, entropy), zip(*known, strict=True), strict=True):
            tensor[mask] = torch.tensor([number for row in rows_of for number in row], device=device)
    with torch.no_grad():
        for rows in micro_batches(sequences, max_tokens=config.micro_batch_tokens):
            batch = pad_batch([sequences[row] for row in rows], pad_id=pad_id, device=device)
            width = batch.response_mask.shape[1]
            if not is_known:
                policy = learner(batch, temperature=config.temperature)
                logprobs[rows, :width] = policy.logprobs
                values[rows, :width] = policy.values
                entropy[rows, :width] = policy.entropy
            ref_logprobs[rows, :width] = compute_logprobs(reference, batch, temperature=config.temperature)
    kl = estimate_kl(logprobs, ref_logprobs, estimator=config.kl_estimator)
    score = torch.tensor(scores, device=device)
    rewards = compute_rewards(score, kl, mask, kl_coef=kl_coef)
    if config.whiten_rewards:
        rewards = scale_about_mean(rewards, mask)
    advantages, returns = compute_gae(rewards, values, mask, gamma=config.gamma, lam=config.lam)
    if config.whiten_advantages:
        advantages = standardise(advantages, mask)
    return TrainingBatch(sequences, mask, logprobs, ref_logprobs, values, entropy, kl, score, advantages, returns)


def update(
    learner: PolicyWithValue,
    optimizer: torch.optim.Optimizer,
    batch: TrainingBatch,
    *,
    learning_rate: float,
    config: PpoConfig,
    pad_id: int,
    seed: int,
    step: int,
) -> UpdateStats:
    """`num_ppo_epochs` passes of `num_mini_batches` optimizer steps each."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    head_only = step < config.value_warmup_steps
    per_step: list[UpdateStats] = []
    for epoch in range(config.num_ppo_epochs):
        parts = mini_batches(
            len(batch.sequences),
            num_mini_batches=config.num_mini_batches,
            key=(seed, "episodes", step, epoch),
        )
        for rows in parts:
            optimizer.zero_grad(set_to_none=True)
            sums = backward_mini_batch(learner, batch, rows, config=config, pad_id=pad_id, head_only=head_only)
            norm = float(nn.utils.clip_grad_norm_(learner.parameters(), config.max_grad_norm))
            check_finite(loss=sums.policy_loss + sums.value_loss, grad_norm=norm, step=step)
            optimizer.step()
            per_step.append(sums._replace(grad_norm=norm))
    means = UpdateStats(*(sum(column) / len(per_step) for column in zip(*per_step, strict=True)))
    return means._replace(ratio_deviation=per_step[0].ratio_deviation)


def backward_mini_batch(
    learner: PolicyWithValue,
    batch: TrainingBatch,
    rows: list[int],
    *,
    config: PpoConfig,
    pad_id: int,
    head_only: bool = False,
) -> UpdateStats:
    """Add the gradients of the mini-batch's token-mean loss, micro-batch by micro-batch."""
    num_tokens = int(batch.response_mask[rows].sum())
    sums = torch.zeros(len(TokenTerms._fields), dtype=torch.float64)
    deviation = 0.0
    sequences = [batch.sequences[row] for row in rows]
    for group in micro_batches(sequences, max_tokens=config.micro_batch_tokens):
        terms = _token_terms(
            learner,
            batch,
            [rows[place] for place in group],
            config=config,
            pad_id=pad_id,
            head_only=head_only,
        )
        loss = config.vf_coef * terms.value_loss.sum()
        if not head_only:
            loss = loss + terms.policy_loss.sum()
        torch.autograd.backward(loss / num_tokens)
        sums += torch.stack([term.detach().sum() for term in terms]).double().cpu()
        deviation = max(deviation, float((terms.ratio.detach() - 1).abs().max()))
    return UpdateStats._make([*(sums / num_tokens).tolist(), deviation, 0.0])


class TokenTerms(NamedTuple):
    """All (num_tokens,), of the real response tokens of a micro-batch."""

    policy_loss: Tensor
    value_loss: Tensor
    approx_kl: Tensor
    policy_clipped: Tensor
    value_clipped: Tensor
    ratio: Tensor


def _token_terms(
    learner: PolicyWithValue,
    batch: TrainingBatch,
    rows: list[int],
    *,
    config: PpoConfig,
    pad_id: int,
    head_only: bool,
) -> TokenTerms:
    padded = pad_batch([batch.sequences[row] for row in rows], pad_id=pad_id, device=batch.logprobs.device)
    mask = padded.response_mask
    old_logprobs, advantages, old_values, returns = (
        x[rows, : mask.shape[1]][mask] for x in (batch.logprobs, batch.advantages, batch.values, batch.returns)
    )
    now = learner(padded, temperature=config.temperature, head_only=head_only)
    logprobs, values = now.logprobs[mask], now.values[mask]
    policy = compute_policy_loss(logprobs, old_logprobs, advantages, cliprange=config.cliprange)
    value = compute_value_loss(values, old_values, returns, cliprange_value=config.cliprange_value)
    log_ratio = logprobs - old_logprobs
    return TokenTerms(
        policy_loss=policy.loss,
        value_loss=value.loss,
        approx_kl=0.5 * log_ratio.square(),
        policy_clipped=policy.clipped.float(),
        value_clipped=value.clipped.float(),
        ratio=log_ratio.exp(),
    )
