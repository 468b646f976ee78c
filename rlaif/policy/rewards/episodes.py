"""Episodes -> scores: every reward source is asked, and its scores are weighted and added.

Sources come in as functions of texts. A failed score is a type and never a number: its episode is dropped and counted.
Does not sample and does not train.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from rlaif.errors import TrainingError
from rlaif.records import Prompt


class Episode(NamedTuple):
    """What a reward source sees: the conversation and the response's text without special tokens."""

    prompt: Prompt
    response: str
    is_whole: bool = True
    """Whether the policy ended the response; False where it ran out of tokens."""


class RewardFailure(NamedTuple):
    """Why an episode has no score."""

    cause: str
    """Name of the cause, such as "timeout"; failures are counted by it."""
    detail: str = ""
    """What happened, for people."""
    may_pass: bool = False
    """A server gave no answer at all, so it may give one later."""


class Scattered(NamedTuple):
    """The score of several reward models together."""

    score: float
    spread: float
    """Standard deviation of their rewards."""


class Reason(NamedTuple):
    """Why the judge scored a response as it did, under one principle."""

    principle: str
    """The principle's text."""
    words: str
    """The judge's own words; empty where its template asks for none."""


class Opinion(NamedTuple):
    """What the judge says of one response."""

    score: float
    """From -1 to 1, the weighted mean over the principles."""
    reasons: tuple[Reason, ...] = ()
    judgement_ids: tuple[str, ...] = ()


class Critic(Protocol):
    """Whoever scores responses and says why; the run's judge is one."""

    def __call__(self, episodes: Sequence[Episode], /) -> Sequence[Opinion | RewardFailure]:
        """For each episode, in order, what is said of it or why nothing is."""
        ...


class RewardSource(Protocol):
    """Whatever gives scores: reward models, the judge, a function, a server; any function of this shape is one."""

    def __call__(self, episodes: Sequence[Episode], /) -> Sequence[float | RewardFailure | Scattered]:
        """For each episode, in order, its score or why it has none."""
        ...


class WeightedReward(NamedTuple):
    """A reward source and its share in the reward."""

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
    """Scores of the kept episodes as each source gave them, by the source's name."""
    weighted: list[float]
    """What is maximised: sum_i w_i s_i over the sources, each s_i standardised where the source's scores are."""
    failures: Counter[str]
    """Dropped episodes by source and cause, such as "judge/refused"."""

    spreads: Mapping[str, list[float]] = MappingProxyType({})
    """Of each source of several reward models, by its name: their standard deviation on each kept episode."""

    @property
    def scores(self) -> list[float]:
        """The scores that people see: with one source its own, with several the weighted sum."""
        return next(iter(self.by_source.values())) if len(self.by_source) == 1 else self.weighted


def score_episodes(
    rewards: Sequence[WeightedReward],
    episodes: Sequence[Episode],
    *,
    scales: Mapping[str, ScoreScale],
    max_failed: float,
    where: str,
) -> Scored:
    """Ask every source; drop and count failed episodes, and stop when more than `max_failed` of them failed.

    An episode that one source failed on is dropped, and later sources are not asked about it. Where a server gave no
    answer at all nothing is dropped: that stops training, to be resumed. `scales`: the scale of each source whose
    scores are standardised.
    """
    left = list(range(len(episodes)))
    found: dict[str, dict[int, float]] = {}
    spreads: dict[str, dict[int, float]] = {}
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
            elif isinstance(answer, Scattered):
                found[reward.name][index] = answer.score
                spreads.setdefault(reward.name, {})[index] = answer.spread
            else:
                found[reward.name][index] = answer
        left = list(found[reward.name])
    if failures.total() > max_failed * len(episodes) or not left:
        raise _too_many(failures, examples, num_episodes=len(episodes), where=where)
    if missing:
        raise _unanswered(missing, num_episodes=len(episodes), where=where)
    by_source = {name: [scores[index] for index in left] for name, scores in found.items()}
    return Scored(
        left, by_source, _add_weighted(rewards, by_source, scales=scales), failures,
        spreads={name: [spread[index] for index in left] for name, spread in spreads.items()},
    )  # fmt: skip


def _ask(reward: WeightedReward, episodes: Sequence[Episode], *, where: str) -> list[float | RewardFailure | Scattered]:
    answers = reward.source(episodes) if episodes else []
    if len(answers) != len(episodes):
        raise TrainingError(
            f"the reward source {reward.name} gave {len(answers)} rewards for {len(episodes)} episodes",
            where=where,
            fix="return one number or RewardFailure per episode, in order",
        )
    return [answer if isinstance(answer, RewardFailure | Scattered) else read_reward(answer) for answer in answers]


def read_reward(value: object) -> float | RewardFailure:
    """A value from a user's code as a reward, or why it is none. True is 1 and False is 0."""
    if value is None:
        return RewardFailure("none", "there is no number")
    try:
        number = None if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = None
    if number is None:
        return RewardFailure("not_a_number", f"{value!r:.80} is no number")
    return number if math.isfinite(number) else RewardFailure("non_finite", f"{number} is not finite")


def _add_weighted(
    rewards: Sequence[WeightedReward], by_source: Mapping[str, Sequence[float]], *, scales: Mapping[str, ScoreScale]
) -> list[float]:
    weighted = [
        [reward.weight * score for score in scales.get(reward.name, ScoreScale()).apply(by_source[reward.name])]
        for reward in rewards
    ]
    return [math.fsum(scores) for scores in zip(*weighted, strict=True)]


def _too_many(failures: Counter[str], examples: Mapping[str, str], *, num_episodes: int, where: str) -> TrainingError:
    causes = ", ".join(f"{cause} {count}" for cause, count in failures.most_common())
    example = next((f"; {cause}: {examples[cause]}" for cause, _ in failures.most_common() if examples[cause]), "")
    return TrainingError(
        f"{failures.total()} of {num_episodes} rewards failed ({causes}{example})",
        where=where,
        fix="fix the reward source and resume, or raise ppo.max_failed_rewards",
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

    counting: places of the scores that count, None for all.
    """
    places = range(len(scored.kept)) if counting is None else counting
    return {
        reward.name: measure_scale([scored.by_source[reward.name][place] for place in places])
        for reward in rewards
        if reward.standardise
    }


def measure_scale(scores: Sequence[float]) -> ScoreScale:
    """The scale that brings these scores to mean 0 and population standard deviation 1; equal ones are only shifted."""
    mean = math.fsum(scores) / len(scores)
    sd = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    return ScoreScale(mean, sd if sd > 1e-8 else 1.0)
