"""A training batch -> optimizer steps.

Losses are token means over a whole mini-batch, whatever the micro-batches and however many processes share it.
Does not sample and writes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.batching import mini_batches
from rlaif.policy.ppo.guards import check_finite
from rlaif.policy.ppo.loss import compute_policy_loss, compute_value_loss
from rlaif.policy.ppo.models import PolicyForward
from rlaif.policy.ppo.prepare import TrainingBatch
from rlaif.policy.ppo.sharing import in_one_pass, plan_rows, whole_tensor
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.training.team import ALONE, Team, adding_up


class UpdateStats(NamedTuple):
    """Token means over one mini-batch, or over all mini-batches of a step."""

    policy_loss: float
    value_loss: float
    approx_kl: float
    policy_clipped: float
    value_clipped: float
    ratio: float
    ratio_deviation: float
    """Largest |ratio - 1| in the mini-batch; for a step, in its first one, where it is 0 but for rounding."""
    grad_norm: float
    """Before clipping."""


def update(
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: TrainingBatch,
    *,
    learning_rate: float,
    config: PpoConfig,
    pad_id: int,
    seed: int,
    step: int,
    team: Team = ALONE,
    budget: TokenBudget | None = None,
) -> UpdateStats:
    """`num_ppo_epochs` passes of `num_mini_batches` optimizer steps each.

    learner: a `PolicyWithValue`, or `Shared.called`. All processes of the team have the same batch.
    """
    budget = budget or TokenBudget(
        config.micro_batch_tokens, num_samples=config.num_samples_per_prompt, device=batch.logprobs.device
    )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("rate", 1.0)
    head_only = config.has_values and step < config.value_warmup_steps
    per_step: list[UpdateStats] = []
    for epoch in range(config.num_ppo_epochs):
        parts = mini_batches(
            len(batch.trained),
            num_mini_batches=config.num_mini_batches,
            key=(seed, "episodes", step, epoch),
        )
        for rows in ([batch.trained[place] for place in part] for part in parts):
            sums = _backward_within(
                budget, learner, optimizer, batch, rows, config=config, pad_id=pad_id, head_only=head_only, team=team
            )
            norm = float(whole_tensor(nn.utils.clip_grad_norm_(learner.parameters(), config.max_grad_norm)))
            check_finite(loss=sums.policy_loss + sums.value_loss, grad_norm=norm, step=step)
            optimizer.step()
            per_step.append(sums._replace(grad_norm=norm))
    means = UpdateStats(*(sum(column) / len(per_step) for column in zip(*per_step, strict=True)))
    return means._replace(ratio_deviation=per_step[0].ratio_deviation)


def _backward_within(
    budget: TokenBudget,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: TrainingBatch,
    rows: list[int],
    *,
    config: PpoConfig,
    pad_id: int,
    head_only: bool,
    team: Team,
) -> UpdateStats:
    """Compute the mini-batch's gradients; where memory runs out, again in smaller micro-batches."""

    def run(max_tokens: int) -> UpdateStats:
        optimizer.zero_grad(set_to_none=True)
        return backward_mini_batch(
            learner, batch, rows, config=config, pad_id=pad_id, head_only=head_only, max_tokens=max_tokens, team=team
        )

    return budget.fit(run, [batch.sequences[row] for row in rows])


def backward_mini_batch(
    learner: nn.Module,
    batch: TrainingBatch,
    rows: list[int],
    *,
    config: PpoConfig,
    pad_id: int,
    head_only: bool = False,
    max_tokens: int | None = None,
    team: Team = ALONE,
) -> UpdateStats:
    """Add the gradients of the mini-batch's token-mean loss, micro-batch by micro-batch.

    max_tokens: tokens in a micro-batch; None: the options' number. Each process of the team computes some of the rows;
    gradients and means are those of all.
    """
    num_tokens = int(batch.response_mask[rows].sum())
    sums = torch.zeros(len(TokenTerms._fields), dtype=torch.float64)
    deviation = 0.0
    sequences = [batch.sequences[row] for row in rows]
    max_tokens = (
        max_tokens
        or TokenBudget(
            config.micro_batch_tokens, num_samples=config.num_samples_per_prompt, device=batch.logprobs.device
        ).tokens
    )
    plan = plan_rows(learner, sequences, max_tokens=max_tokens, num_processes=team.size)[team.rank]
    # What adds up gradients takes their mean over the processes: the first factor makes a sum of it.
    shares = [([rows[place] for place in group], team.size) for group in plan.groups]
    shares += [(rows[:1], 0)] * plan.num_idle
    for place, (group, weight) in enumerate(shares):
        with adding_up(learner, is_last=place == len(shares) - 1):
            terms = _token_terms(learner, batch, group, config=config, pad_id=pad_id, head_only=head_only)
            torch.autograd.backward(_loss_sum(terms, config=config, head_only=head_only) * weight / num_tokens)
        if weight:
            sums += torch.stack([term.detach().sum() for term in terms]).double().cpu()
            deviation = max(deviation, float((terms.ratio.detach() - 1).abs().max()))
    found = team.gather([(sums, deviation)])
    means = torch.stack([sums for sums, _ in found]).sum(dim=0) / num_tokens
    return UpdateStats._make([*means.tolist(), max(deviation for _, deviation in found), 0.0])


class TokenTerms(NamedTuple):
    """Terms of the loss and its figures for the response tokens of a micro-batch, all (num_tokens,)."""

    policy_loss: Tensor
    value_loss: Tensor
    approx_kl: Tensor
    policy_clipped: Tensor
    value_clipped: Tensor
    ratio: Tensor


def _loss_sum(terms: TokenTerms, *, config: PpoConfig, head_only: bool) -> Tensor:
    loss = config.vf_coef * terms.value_loss.sum() if config.has_values else terms.policy_loss.new_zeros(())
    return loss if head_only else loss + terms.policy_loss.sum()


def _token_terms(
    learner: nn.Module,
    batch: TrainingBatch,
    rows: list[int],
    *,
    config: PpoConfig,
    pad_id: int,
    head_only: bool,
) -> TokenTerms:
    padded = batch.padded(rows, pad_id=pad_id)
    mask = padded.response_mask
    old_logprobs, advantages, old_values, returns, weights = (
        x[rows, : mask.shape[1]][mask]
        for x in (batch.logprobs, batch.advantages, batch.values, batch.returns, batch.weights)
    )
    now: PolicyForward = learner(
        padded,
        temperature=config.temperature,
        head_only=head_only,
        in_one_pass=in_one_pass(learner),
        with_entropy=False,
    )
    logprobs, values = now.logprobs[mask], now.values[mask]
    policy = compute_policy_loss(
        logprobs, old_logprobs, advantages, cliprange=config.cliprange, dual_clip=config.dual_clip
    )
    value = compute_value_loss(values, old_values, returns, cliprange_value=config.cliprange_value)
    log_ratio = logprobs - old_logprobs
    return TokenTerms(
        policy_loss=weights * policy.loss,
        value_loss=value.loss,
        approx_kl=0.5 * log_ratio.square(),
        policy_clipped=policy.clipped.float(),
        value_clipped=value.clipped.float(),
        ratio=log_ratio.exp(),
    )
