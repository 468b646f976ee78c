"""The gap between what sampled a step's responses and the policy that learns from them.

Log-probabilities come in; numbers go out, and an error where weights did not arrive. Corrects nothing: loss.py makes
the importance weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.policy.ppo.batching import micro_batches, pad_batch
from rlaif.policy.ppo.models import PolicyWithValue, device_of
from rlaif.policy.ppo.prepare import TrainingBatch
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.policy.ppo.trajectories import Trajectory


@torch.no_grad()
def measure_gap(
    learner: PolicyWithValue, trajectories: Sequence[Trajectory], *, config: PpoConfig, pad_id: int
) -> float:
    """Mean |engine's log-probability - the policy's own| over the tokens of a few responses, in nats."""
    sequences = [trajectory.tokens for trajectory in trajectories]
    total, num_tokens = 0.0, 0
    device = device_of(learner)
    budget = TokenBudget(config.micro_batch_tokens, num_samples=config.num_samples_per_prompt, device=device)
    for rows in micro_batches(sequences, max_tokens=budget.tokens):
        batch = pad_batch([sequences[row] for row in rows], pad_id=pad_id, device=device)
        own = learner(batch, temperature=config.temperature, with_entropy=False).logprobs[batch.response_mask]
        given = [number for row in rows for number in trajectories[row].engine_logprobs or ()]
        total += float((own - torch.tensor(given, device=own.device)).abs().sum())
        num_tokens += len(given)
    return total / num_tokens


def gap_of_batch(batch: TrainingBatch) -> float:
    """The gap over a step's batch, whose log-probabilities were computed for the updates anyway."""
    return float((batch.logprobs - batch.engine_logprobs)[batch.trained_mask].abs().mean())


def check_gap(gap: float, *, config: PpoConfig, version: int) -> None:
    """Refuse to continue where the engine's log-probabilities are not those of the weights it was given."""
    limit = config.rollout.max_logprob_gap
    if not gap <= limit:
        raise TrainingError(
            f"the weights after {version} updates did not reach the rollout engine: its log-probabilities are "
            f"{gap:.3g} nats per token from those of the policy, above ppo.rollout.max_logprob_gap {limit:g}",
            where=f"ppo.rollout.engine {config.rollout.engine}",
            fix="see docs/rollouts.md for how weights get lost; where number formats differ that much, raise the limit",
        )


def describe_rollout(
    batch: TrainingBatch, trajectories: Sequence[Trajectory], *, gap: float, step: int, config: PpoConfig
) -> dict[str, float]:
    """A step's metrics; gap: between engine and policy with the same weights."""
    mask = batch.trained_mask
    weights = batch.weights[mask]
    most = config.rollout.max_importance_weight
    return {
        "rollout/logprob_gap": gap,
        "rollout/mismatch_kl": float(_kl_per_token(batch.engine_logprobs[mask], batch.logprobs[mask])),
        "rollout/version_lag": sum(step - trajectories[row].version for row in batch.trained) / len(batch.trained),
        "rollout/importance_weight": float(weights.mean()),
        "rollout/importance_weights_cut": 0.0 if most is None else float((weights >= most).float().mean()),
    }


def _kl_per_token(engine_logprobs: Tensor, logprobs: Tensor) -> Tensor:
    """KL(what sampled || the policy) in nats per token: k3 of Schulman 2020, unbiased and never negative."""
    log_ratio = logprobs - engine_logprobs
    return (torch.expm1(log_ratio) - log_ratio).mean()
