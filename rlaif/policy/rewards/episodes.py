"""Episodes -> scores -> per-token rewards: the score at the last token minus the KL penalty at each.

Scores come from functions of texts that the caller hands in, weighed and added; a failed one is a type of its own
and never a number. Does not sample and does not train.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlaif.errors import TrainingError
from rlaif.records import Prompt


class Episode(NamedTuple):
    """What a reward source sees: the conversation and the response's text without special tokens."""

    prompt: Prompt
    response: str


class RewardFailure(NamedTuple):
    """Why an episode has no score."""

    cause: str
    """Its name, such as "timeout"; failures are counted by it."""
    detail: str = ""
    """What happened, for people."""
    may_pass: bool = False
    """A server gave no answer at all, so it may give one later."""


RewardSource = Callable[[Sequence[Episode]], Sequence[float | RewardFailure]]
"""A score, or why there is none, for each episode, in order. Whatever gives scores is one: a model, an ensemble, the
judge, a function, a server."""


class WeightedReward(NamedTuple):
    """A source and its part in the reward."""

    name: str
    source: RewardSource
    weight: float = 1.0
    standardise: bool = False
    """Whether its scores are brought to mean 0 and standard deviation 1 on the reference policy's responses."""


class ScoreScale(NamedTuple):
    """Mean and standard deviation of a source's scores of the reference policy's responses."""

    mean: float = 0.0
    sd: float = 1.0

    def apply(self, scores: Sequence[float]) -> list[float]:
        return [(score - self.mean) / self.sd for score in scores]


class Scored(NamedTuple):
    kept: list[int]
    """Indices of the episodes that every source scored."""
    by_source: dict[str, list[float]]
    """Their scores as each source gave them, by its name."""
    weighed: list[float]
    """What is maximised of them: sum_i w_i s_i, each s_i standardised where that is asked for."""
    failures: Counter[str]
    """Dropped episodes by source and cause, such as "judge/refused"."""

    @property
    def scores(self) -> list[float]:
        """What people are shown: of one source its own scores, of several the weighted sum."""
        return next(iter(self.by_source.values())) if len(self.by_source) == 1 else self.weighed


def score_episodes(
    rewards: Sequence[WeightedReward],
    episodes: Sequence[Episode],
    *,
    scales: Mapping[str, ScoreScale],
    max_failed: float,
    where: str,
) -> Scored:
    """Ask every source; drop and count failed episodes, and stop when more than `max_failed` of them failed.

    An episode that one source failed on is dropped, and the sources after it are not asked about it. Where a server
    gave no answer at all nothing is dropped: that stops training, to be resumed. `scales`: of those sources whose
    scores are standardised.
    """
    left = list(range(len(episodes)))
    found: dict[str, dict[int, float]] = {}
    failures, examples = Counter[str](), dict[str, str]()
    missing: list[str] = []
    for reward in rewards:
        found[reward.name] = {}
        answers = _ask(reward, [episodes[i] for i in left], where=where)
        for index, answer in zip(left, answers, strict=True):
            if isinstance(answer, RewardFailure):
                cause = f"{reward.name}/{answer.cause}"
                failures[cause] += 1
                examples.setdefault(cause, answer.detail)
                missing += [f"{cause}: {answer.detail}"] * answer.may_pass
            else:
                found[reward.name][index] = answer
        left = list(found[reward.name])
    if failures.total() > max_failed * len(episodes) or not left:
        raise _too_many(failures, examples, num_episodes=len(episodes), where=where)
    if missing:
        raise _unanswered(missing, num_episodes=len(episodes), where=where)
    by_source = {name: [scores[index] for index in left] for name, scores in found.items()}
    return Scored(left, by_source, _weigh(rewards, by_source, scales=scales), failures)


def _ask(reward: WeightedReward, episodes: Sequence[Episode], *, where: str) -> list[float | RewardFailure]:
    answers = reward.source(episodes) if episodes else []
    if len(answers) != len(episodes):
        raise TrainingError(
            f"the reward source {reward.name} gave {len(answers)} rewards for {len(episodes)} episodes",
            where=where,
            fix="return one number or RewardFailure per episode, in order",
        )
    return [answer if isinstance(answer, RewardFailure) else read_reward(answer) for answer in answers]


def read_reward(value: object) -> float | RewardFailure:
    """What somebody else's code gave as a reward: a finite number, or why it is none. True is 1 and False is 0."""
    if value is None:
        return RewardFailure("none", "there is no number")
    try:
        number = None if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = None
    if number is None:
        return RewardFailure("not_a_number", f"{value!r:.80} is no number")
    return number if math.isfinite(number) else RewardFailure("non_finite", f"{number} is not finite")


def _weigh(
    rewards: Sequence[WeightedReward], by_source: Mapping[str, Sequence[float]], *, scales: Mapping[str, ScoreScale]
) -> list[float]:
    weighed = [
        [reward.weight * score for score in scales.get(reward.name, ScoreScale()).apply(by_source[reward.name])]
        for reward in rewards
    ]
    return [math.fsum(scores) for scores in zip(*weighed, strict=True)]


def _too_many(failures: Counter[str], examples: Mapping[str, str], *, num_episodes: int, where: str) -> TrainingError:
    causes = ", ".join(f"{cause} {count}" for cause, count in failures.most_common())
    example = next((f"; {cause}: {examples[cause]}" for cause, _ in failures.most_common() if examples[cause]), "")
    return TrainingError(
        f"{failures.total()} of {num_episodes} rewards failed ({causes}{example})",
        where=where,
        fix="mend the reward source and resume, or raise ppo.max_failed_rewards",
    )


def _unanswered(missing: Sequence[str], *, num_episodes: int, where: str) -> TrainingError:
    return TrainingError(
        f"{len(missing)} of {num_episodes} rewards got no answer from their server ({missing[0]})",
        where=where,
        fix="once it answers, continue with the same command and --resume; for a response that it cannot score it can "
        "return null",
    )


def measure_scales(
    rewards: Sequence[WeightedReward], scored: Scored, *, counting: Sequence[int] | None = None
) -> dict[str, ScoreScale]:
    """The scale of each source that is standardised, from its scores of the reference policy's responses.

    counting: places in the scores of those that count, None for all.
    """
    places = range(len(scored.kept)) if counting is None else counting
    return {
        reward.name: measure_scale([scored.by_source[reward.name][place] for place in places])
        for reward in rewards
        if reward.standardise
    }


def measure_scale(scores: Sequence[float]) -> ScoreScale:
    """What brings these scores to mean 0 and population standard deviation 1; equal ones are only shifted."""
    mean = math.fsum(scores) / len(scores)
    sd = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    return ScoreScale(mean, sd if sd > 1e-8 else 1.0)


KlEstimator = Literal["k1", "k2", "k3"]


def estimate_kl(logprobs: Tensor, ref_logprobs: Tensor, *, estimator: KlEstimator) -> Tensor:
    """Per-token estimates of KL(policy || reference) from the policy's own tokens.

    k1 = log p/q, k2 = (log p/q)^2 / 2, k3 = q/p - 1 - log q/p (Schulman 2020, "Approximating KL divergence"). k1
    and k3 have the KL as their mean, k2 nearly so. Inside the reward only k1 gives the gradient of the
    KL-regularised objective.
    """
    log_ratio = logprobs - ref_logprobs
    match estimator:
        case "k1":
            return log_ratio
        case "k2":
            return log_ratio.square() / 2
        case "k3":
            return torch.expm1(-log_ratio) + log_ratio


def compute_rewards(scores: Tensor, kl: Tensor, response_mask: Tensor, *, kl_coef: float) -> Tensor:
    """(batch, response_len) rewards: -kl_coef * kl at every token, and the score at the last real one.

    scores: (batch,); kl: (batch, response_len); response_mask: True on response tokens, flush left. The
    last real token is the stop token where there is one: choosing to stop is an action and gets the score.
    """
    rewards = -kl_coef * kl * response_mask
    last = response_mask.sum(dim=1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def next_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: float, num_episodes: int) -> float:
    """The controller of Ziegler et al. 2019 (arXiv:1909.08593), section 2.2; it never reaches zero."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * max(1 + error * num_episodes / horizon, 0.1)
