"""A listwise ranking of each prompt's responses as a source of rewards: the run's judge compares them with one another.

The responses to a prompt that are scored together are a group. By a template that ranks, the judge reads all of them at
once, in shuffled orders; by one that compares pairs, it reads every two in both orders. What it says is combined as
preferences are, the responses are put in order by their mean log-odds over the others, and their places become rewards
of mean zero. Trains nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist

from rlaif.config.ppo_rewards import Ranks
from rlaif.constitution.selection import principles_of
from rlaif.judging.judge import Judging
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.rewards.judge import AskedJudge, explain_failure
from rlaif.records import Comparison, FailedJudgement, Sample
from rlaif.stats.logits import canonical_pair, log_odds, mean_label
from rlaif.stats.ranks import FLOAT32_TOLERANCE, mean_ranks

Pair = tuple[str, str]
"""Ids of two samples, in canonical order."""
LEAST_P = 1e-6
"""A verdict without log-probabilities is 0, 1/2 or 1, whose log-odds are kept finite."""


class RankedReward:
    """Implements `RewardSource`. A response alone with its prompt, or whose whole group has one text, gets 0."""

    def __init__(self, asked: AskedJudge, *, ranks: Ranks) -> None:
        """asked: with a template that compares responses."""
        self._asked, self._ranks = asked, ranks

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        """Rewards by place. Where one comparison of a group failed, the failure of each of the group's episodes."""
        samples = [self._asked.as_sample(episode) for episode in episodes]
        by_prompt: dict[str, dict[str, Sample]] = defaultdict(dict)
        for sample in samples:
            by_prompt[sample.prompt_id][sample.id] = sample
        pairs = [pair for group in by_prompt.values() for pair in combinations(group.values(), 2)]
        prompts = {episode.prompt.id: episode.prompt for episode in episodes}
        labels, failures = self._compare(pairs, self._asked.ask(pairs, prompts=prompts)) if pairs else ({}, {})
        rewards: dict[int, float | RewardFailure] = {}
        for prompt_id, group in by_prompt.items():
            places = [place for place, sample in enumerate(samples) if sample.prompt_id == prompt_id]
            missing = [pair for pair in combinations(sorted(group), 2) if pair not in labels]
            if missing:
                failure = next((failures[one] for one in group if one in failures), None)
                rewards |= dict.fromkeys(places, explain_failure(failure))
                continue
            strengths = compute_strengths(list(group), labels)
            found = rank_rewards([strengths[samples[place].id] for place in places], ranks=self._ranks)
            rewards |= dict(zip(places, found, strict=True))
        return [rewards[place] for place in range(len(episodes))]

    def _compare(
        self, pairs: Sequence[tuple[Sample, Sample]], judging: Judging
    ) -> tuple[dict[Pair, float], dict[str, FailedJudgement]]:
        """Log-odds of the first of each pair whose comparisons are all there; of samples that have one, a failure."""
        asking = self._asked.asking
        compared: dict[tuple[Pair, str], Comparison] = {
            (one.sample_ids, one.principle.id): one for one in judging.comparisons
        }
        labels: dict[Pair, float] = {}
        for first, second in pairs:
            pair = canonical_pair(first.id, second.id)
            principles = principles_of(asking.constitution, pair, draw_seed=asking.draw_seed)
            found = [compared.get((pair, principle.id)) for principle in principles]
            said = [(one.p_first, one.logit) for one in found if one is not None]
            if len(said) == len(principles):
                p_first, logit = mean_label(said, weights=[principle.weight for principle in principles])
                labels[pair] = log_odds(p_first, least=LEAST_P) if logit is None else logit
        question_of = {question.id: question for question in judging.questions}
        failures = {key: one for one in judging.failed for key in question_of[one.question_id].sample_ids}
        return labels, failures


def compute_strengths(ids: Sequence[str], labels: Mapping[Pair, float]) -> dict[str, float]:
    """Each one's mean log-odds over the others, as the least-squares utilities of all pairs have them.

    labels: by canonical pair, the log-odds of its first. Where the log-odds are differences of utilities, as those of a
    ranking are, this gives the utilities back, less their mean, times n / (n - 1).
    """
    if len(ids) < 2:
        return dict.fromkeys(ids, 0.0)
    return {
        one: math.fsum(labels[one, other] if one < other else -labels[other, one] for other in ids if other != one)
        / (len(ids) - 1)
        for one in ids
    }


def rank_rewards(strengths: Sequence[float], *, ranks: Ranks) -> list[float]:
    """The rewards of a group by place, of mean zero; responses of one strength share the mean of their places' rewards.

    centred: -1 for the last and 1 for the first, evenly spaced. normal: the expected values of as many draws from the
    standard normal distribution, put in order, by Blom's approximation (1958).
    """
    number = len(strengths)
    if number < 2:
        return [0.0] * number
    values = [_reward_at(place, number=number, ranks=ranks) for place in range(1, number + 1)]
    mean = mean_ranks(strengths, tolerance=FLOAT32_TOLERANCE)
    rewards = []
    for rank in mean:
        shared = sum(other == rank for other in mean)
        first = round(rank - (shared + 1) / 2)
        rewards.append(math.fsum(values[first : first + shared]) / shared)
    return rewards


def _reward_at(place: int, *, number: int, ranks: Ranks) -> float:
    """place: from 1, the lowest, to number. The rewards of opposite places add up to zero exactly."""
    if 2 * place > number + 1:
        return -_reward_at(number + 1 - place, number=number, ranks=ranks)
    if 2 * place == number + 1:
        return 0.0
    if ranks == "centred":
        return 2 * (place - 1) / (number - 1) - 1
    return NormalDist().inv_cdf((place - 0.375) / (number + 0.25))
