"""`ppo.rewards` -> the sources of rewards that PPO is given: models, the judge, functions and servers.

What can be checked of them is checked before anything is spent, and the first failure of each kind is told. Asks
nothing itself and weighs nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rlaif.config.functions import load_function
from rlaif.config.ppo_rewards import RUN, RewardConfig, find_sources, uses_run_model
from rlaif.console import say
from rlaif.judging.panel import load_score_template
from rlaif.judging.setup import check_judge
from rlaif.models.endpoint.http import find_reward_address
from rlaif.models.weights.context import shortest_context
from rlaif.models.weights.loading import LoadedModel, load_reward_model
from rlaif.policy.rewards.endpoint import EndpointReward
from rlaif.policy.rewards.episodes import Episode, RewardFailure, RewardSource, WeightedReward
from rlaif.policy.rewards.function import FunctionReward
from rlaif.policy.rewards.judge import JudgeReward
from rlaif.records import Model, Tally
from rlaif.report.input import RewardCourse
from rlaif.reward_model.score import RewardModelScorer
from rlaif.training.metrics import MetricsRow
from rlaif.training.team import Team

if TYPE_CHECKING:
    from rlaif.run.shelf import RunModels
    from rlaif.run.work import Work

FAILED = "val/failed_rewards/"


def trains_reward_model(work: Work) -> bool:
    """Whether the run's loop needs a reward model of its own."""
    return uses_run_model(work.config.ppo.rewards)


def check_rewards(work: Work) -> None:
    """Before anything is spent: functions can be imported, keys are set, the judge can give scores."""
    for source in find_sources(work.config.ppo.rewards):
        if source.function is not None:
            _load_function(source)
        elif source.url is not None:
            find_reward_address(source.url, api_key_env=source.api_key_env, environ=os.environ)
        elif source.judge:
            judge = work.judges[0].config
            check_judge(judge, constitution=work.constitution, template=load_score_template(source, judge))


class Rewards:
    """The sources of a run's rewards, ready to be asked."""

    def __init__(self, work: Work) -> None:
        self.models: list[Model] = []
        """Fingerprints of those that are reward models; the run's own first, where it is one of them."""
        self.loaded: dict[str, LoadedModel] = {}
        """Those that are reward models, by name."""
        self.given: list[tuple[str, str, Model]] = []
        """Name, path and fingerprint of those that are not the run's own."""
        config = work.config.ppo
        self.weighted = tuple(
            WeightedReward(source.label, _telling(source.label, self._build(source, work)), source.weight, standardise)
            for source, standardise in zip(find_sources(config.rewards), config.standardises, strict=True)
        )

    @property
    def context_tokens(self) -> int | None:
        """What a prompt and a response may have, in the tokens of models that rlaif trained and that read these too.

        They read the token that ends a response even where the response was cut off before it.
        """
        shortest = shortest_context(loaded.model for loaded in self.loaded.values() if _is_ours(loaded))
        return None if shortest is None else shortest - 1

    def _build(self, source: RewardConfig, work: Work) -> RewardSource:
        if source.kind == "model":
            loaded = _load_source(source, work)
            self.models.insert(0 if source.model == RUN else len(self.models), loaded.fingerprint)
            self.loaded[source.label] = loaded
            if source.model is not None and source.model != RUN:
                self.given.append((source.label, source.model, loaded.fingerprint))
            return work.team.in_shares(reward_by_model(loaded))
        # What is asked elsewhere, or keeps answers, is asked by one process.
        return work.team.by_first(self._build_asked(source, work))

    def _build_asked(self, source: RewardConfig, work: Work) -> RewardSource:
        match source.kind:
            case "judge":
                return JudgeReward(work, template=load_score_template(source, work.judges[0].config))
            case "function":
                return FunctionReward(_load_function(source), batched=source.batched)
            case "url":
                return EndpointReward(source, environ=os.environ)
            case "model":
                raise ValueError("a model is no source that is asked")


class FollowedRewards:
    """The same sources for a process that is not the first one: reward models score their share in each."""

    def __init__(self, models: RunModels) -> None:
        config = models.config.ppo
        sources = find_sources(config.rewards)
        self.loaded = {source.label: _load_source(source, models) for source in sources if source.kind == "model"}
        self.weighted = tuple(
            WeightedReward(source.label, self._follow(source, models.team), source.weight, standardise)
            for source, standardise in zip(sources, config.standardises, strict=True)
        )

    def _follow(self, source: RewardConfig, team: Team) -> RewardSource:
        if source.kind == "model":
            return team.in_shares(reward_by_model(self.loaded[source.label]))
        return team.by_first(lambda episodes: [])


def _load_source(source: RewardConfig, models: RunModels) -> LoadedModel:
    if source.model == RUN:
        return models.reward_model
    return load_reward_model(
        source.model or "", revision=source.revision, dtype=source.dtype, device=models.config.policy.device
    )


def _load_function(source: RewardConfig) -> Callable[..., Any]:
    return load_function(source.function or "", what="reward", where="ppo.rewards")


def reward_by_model(loaded: LoadedModel) -> RewardSource:
    """A reward model as a source, whatever its tokenizer."""
    return partial(_ask_model, RewardModelScorer(loaded, reads_whole=not _is_ours(loaded)))


def _is_ours(loaded: LoadedModel) -> bool:
    """Whether rlaif trained it: it then reads its score at the token that ends the response."""
    return getattr(loaded.model.config, "reward_mean", None) is not None


def _ask_model(scorer: RewardModelScorer, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    outcomes = scorer.score_each([(episode.prompt, episode.response) for episode in episodes])
    return [RewardFailure(outcome) if isinstance(outcome, str) else outcome for outcome in outcomes]


def _telling(name: str, source: RewardSource) -> RewardSource:
    """The same source; the first failure of each cause is said."""
    told: set[str] = set()

    def ask(episodes: Sequence[Episode]) -> Sequence[float | RewardFailure]:
        answers = source(episodes)
        for answer in answers:
            if isinstance(answer, RewardFailure) and answer.cause not in told:
                told.add(answer.cause)
                say(f"reward {name}: {answer.cause.replace('_', ' ')}{f': {answer.detail}' if answer.detail else ''}")
        return answers

    return ask


def tally_rewards(rows: Iterable[MetricsRow]) -> Tally:
    """Episodes of all steps, and those that were dropped by source and cause."""
    kept, dropped = 0, Counter[str]()
    for row in rows:
        found = _failures(row.numbers)
        dropped.update(found)
        kept = max(kept, int(row.numbers.get("episode") or 0))
    return Tally(num_in=kept + dropped.total(), dropped=dict(dropped))


def _failures(numbers: Mapping[str, float | None]) -> dict[str, int]:
    return {key.removeprefix(FAILED): int(value or 0) for key, value in numbers.items() if key.startswith(FAILED)}


def collect_courses(rewards: tuple[RewardConfig, ...], rows: Sequence[MetricsRow]) -> tuple[RewardCourse, ...]:
    """What PPO was rewarded by, from the first step that `rows` have to the last."""
    dropped = tally_rewards(rows).dropped
    courses = []
    for source in find_sources(rewards):
        scores = [row.numbers.get(f"objective/scores/{source.label}") for row in rows]
        known = [score for score in scores if score is not None]
        mark = f"{source.label}/"
        failed = {cause.removeprefix(mark): count for cause, count in dropped.items() if cause.startswith(mark)}
        if known:
            courses.append(
                RewardCourse(name=source.label, weight=source.weight, first=known[0], last=known[-1], failed=failed)
            )
    return tuple(courses)
