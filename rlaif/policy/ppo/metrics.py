"""A step's batch and update -> its metrics, under the names that TRL's PPO gave them; some responses; the clock.

Writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from rlaif.policy.ppo.advantages import explained_variance, masked_mean
from rlaif.policy.ppo.guards import Vitals
from rlaif.policy.ppo.prepare import TrainingBatch
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.policy.ppo.update import UpdateStats
from rlaif.policy.rewards.episodes import Scored
from rlaif.training.listener import ShownResponse

PHASES = ("rollout", "rewards", "preparation", "update", "evaluation", "checkpoint")
"""Parts of a step's time, `time/NAME_s` in metrics.jsonl. Evaluation and checkpoint are those after the step before."""


class PhaseClock:
    """Seconds spent in each phase since they were last taken."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - started

    def take(self) -> dict[str, float]:
        """The seconds of each phase, which then begin at zero again."""
        taken, self._seconds = self._seconds, dict.fromkeys(PHASES, 0.0)
        return taken


def kl_per_response(batch: TrainingBatch) -> Tensor:
    """(batch,) log-ratio of each response: its mean is an unbiased estimate of the KL to the reference."""
    return (batch.logprobs - batch.ref_logprobs).sum(dim=1)


def describe_step(
    batch: TrainingBatch,
    stats: UpdateStats,
    *,
    step: int,
    episodes: int,
    scored: Scored,
    vitals: Vitals,
    kl_coef: float,
    learning_rate: float,
) -> dict[str, float]:
    """All metrics of a step; every one a finite number.

    Metrics describe the responses that are trained on, but `val/eos_rate` and `val/num_eos_tokens` describe all.
    `objective/scores/NAME` is a reward source's mean score; `objective/scores` is the same where there is one source,
    and the weighted sum of several. `objective/spread/NAME` is the mean standard deviation of a source's reward models,
    where it has several. `objective/rlhf_reward` is what was maximised: standardised scores, less the
    missing-EOS penalty and the KL penalty.
    """
    mask, trained = batch.trained_mask, batch.trained
    num_episodes = len(scored.scores)
    penalty = kl_coef * float(batch.kl[trained].sum(dim=1).mean())
    return {
        "step": float(step),
        "episode": float(episodes),
        "objective/kl": vitals.kl,
        "objective/entropy": float(batch.entropy[trained].sum(dim=1).mean()),
        "objective/non_score_reward": -penalty,
        "objective/rlhf_reward": float(batch.scores[trained].mean()) - penalty,
        "objective/scores": _mean_of(scored.scores, trained),
        **{f"objective/scores/{name}": _mean_of(scores, trained) for name, scores in scored.by_source.items()},
        **{f"objective/spread/{name}": _mean_of(spread, trained) for name, spread in scored.spreads.items()},
        "policy/approxkl_avg": stats.approx_kl,
        "policy/clipfrac_avg": stats.policy_clipped,
        "policy/entropy_avg": float(masked_mean(batch.entropy, mask)),
        "policy/grad_norm": stats.grad_norm,
        "loss/policy_avg": stats.policy_loss,
        "loss/value_avg": stats.value_loss,
        "val/clipfrac_avg": stats.value_clipped,
        "val/ratio": stats.ratio,
        "val/first_ratio_deviation": stats.ratio_deviation,
        "val/explained_variance": explained_variance(batch.values, batch.returns, mask),
        "val/num_eos_tokens": float(round(vitals.eos_rate * num_episodes)),
        "val/eos_rate": vitals.eos_rate,
        "val/response_length": vitals.length,
        "val/repetition": vitals.repetition,
        "val/num_failed_rewards": float(scored.failures.total()),
        **{f"val/failed_rewards/{cause}": float(count) for cause, count in sorted(scored.failures.items())},
        "kl_coef": kl_coef,
        "lr": learning_rate,
    }


def _mean_of(scores: Sequence[float], rows: Sequence[int]) -> float:
    return sum(scores[row] for row in rows) / len(rows)


def show_responses(
    trajectories: Sequence[Trajectory], scores: Sequence[float], kl: Tensor, *, num_shown: int = 4
) -> list[ShownResponse]:
    """The first response to each of the first few prompts."""
    rows: dict[str, ShownResponse] = {}
    for trajectory, score, nats in zip(trajectories, scores, kl.tolist(), strict=True):
        if trajectory.prompt.id not in rows and len(rows) < num_shown:
            rows[trajectory.prompt.id] = ShownResponse(
                prompt=trajectory.prompt,
                response=trajectory.response,
                score=score,
                kl=nats,
                finished=trajectory.finished,
            )
    return list(rows.values())
