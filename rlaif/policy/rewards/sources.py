"""`ppo.rewards` -> the sources of rewards that PPO is given: models, the judge, functions and servers.

What can be checked of the sources is checked before anything is spent, and the first failure of each kind is printed.
Asks nothing itself and weights nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rlaif.config.functions import load_function
from rlaif.config.judge import JudgeConfig
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_rewards import RUN, RewardConfig, find_sources
from rlaif.console import say
from rlaif.errors import ConfigError
from rlaif.judging.panel import check_ranks, load_reward_template
from rlaif.judging.setup import check_judge
from rlaif.models.endpoint.address import find_reward_address
from rlaif.models.weights.context import shortest_context
from rlaif.models.weights.loading import LoadedModel, load_reward_model
from rlaif.policy.rewards.endpoint import EndpointReward
from rlaif.policy.rewards.episodes import Episode, RewardFailure, RewardSource, Scattered, WeightedReward
from rlaif.policy.rewards.function import FunctionReward
from rlaif.records import Constitution, Model
from rlaif.reward_model.ensemble import EnsembleScorer, load_members
from rlaif.reward_model.score import RewardModelScorer, is_ours
from rlaif.training.team import ALONE, Team


def check_rewards(config: PpoConfig, *, judge: JudgeConfig, constitution: Constitution) -> None:
    """Before anything is spent: functions can be imported, keys are set, the judge can give scores.

    judge: the run's first one.
    """
    for source in find_sources(config.rewards):
        if source.function is not None:
            _load_function(source)
        elif source.url is not None:
            find_reward_address(source.url, api_key_env=source.api_key_env, environ=os.environ)
        elif source.judge:
            template = load_reward_template(source, judge)
            check_judge(judge, constitution=constitution, template=template)
            check_ranks(config, template=template)


class Rewards:
    """The sources of a run's rewards, ready to be asked, in every process of a team."""

    def __init__(
        self,
        config: PpoConfig,
        *,
        load_own: Callable[[], LoadedModel],
        device: str,
        make_judge: Callable[[RewardConfig], RewardSource] | None = None,
        team: Team = ALONE,
    ) -> None:
        """load_own: gives the reward model that the run trained. device: where other reward models are loaded.

        make_judge: makes the source that asks the judge; None in a process that is not the first of its team, which
        gets the answers of all that is asked elsewhere from the first one.
        """
        self._load_own, self._device, self._make_judge, self._team = load_own, device, make_judge, team
        self.models: list[Model] = []
        """Fingerprints of the reward models; the run's own first, where it is one of them."""
        self.loaded: dict[str, LoadedModel] = {}
        """The reward models by the name of their source."""
        self.given: list[tuple[str, str, Model]] = []
        """Name, path and fingerprint of the reward models that the run did not train."""
        self.weighted = tuple(
            WeightedReward(source.label, _telling(source.label, self._build(source)), source.weight, standardise)
            for source, standardise in zip(find_sources(config.rewards), config.standardises, strict=True)
        )

    @property
    def context_tokens(self) -> int | None:
        """The most tokens that a prompt and a response may have for those reward models that read the policy's tokens.

        These models, which rlaif trained, read the token that ends a response even where it was cut off before it.
        """
        shortest = shortest_context(loaded.model for loaded in self.loaded.values() if is_ours(loaded))
        return None if shortest is None else shortest - 1

    def _build(self, source: RewardConfig) -> RewardSource:
        if source.kind == "model":
            loaded = self._load(source)
            self.models.insert(0 if source.model == RUN else len(self.models), loaded.fingerprint)
            self.loaded[source.label] = loaded
            if source.model is not None and source.model != RUN:
                self.given.append((source.label, source.model, loaded.fingerprint))
            return self._team.in_shares(_reward_by_members(loaded, source))
        # What is asked elsewhere, or keeps answers, is asked by one process.
        return self._team.by_first(self._build_asked(source))

    def _build_asked(self, source: RewardConfig) -> RewardSource:
        if not self._team.is_first:
            return lambda episodes: []
        match source.kind:
            case "judge" if self._make_judge is not None:
                return self._make_judge(source)
            case "function":
                return FunctionReward(_load_function(source), batched=source.batched)
            case "url":
                return EndpointReward(source, environ=os.environ)
            case _:
                raise ValueError(f"a source of kind {source.kind} cannot be asked here")

    def _load(self, source: RewardConfig) -> LoadedModel:
        if source.model == RUN:
            return self._load_own()
        return load_reward_model(source.model or "", revision=source.revision, dtype=source.dtype, device=self._device)


def _load_function(source: RewardConfig) -> Callable[..., Any]:
    return load_function(source.function or "", what="reward", where="ppo.rewards")


def reward_by_model(loaded: LoadedModel) -> RewardSource:
    """A reward model as a source, whatever its tokenizer."""
    return partial(_ask_model, RewardModelScorer(loaded, reads_whole=not is_ours(loaded)))


def _reward_by_members(loaded: LoadedModel, source: RewardConfig) -> RewardSource:
    """A reward model as a source, together with those that were trained with it, where there are any."""
    members = load_members(loaded)
    if len(members) > 1:
        return partial(_ask_members, EnsembleScorer([RewardModelScorer(member) for member in members]), source)
    if source.members != "mean":
        raise ConfigError(
            f"the reward source {source.label} takes {source.members} of several reward models and there is one",
            where="ppo.rewards",
            fix="leave `members` out, or name a folder that reward_model.num_members made",
        )
    return reward_by_model(loaded)


def _ask_members(
    scorer: EnsembleScorer, source: RewardConfig, episodes: Sequence[Episode]
) -> list[Scattered | RewardFailure]:
    opinions = scorer.ask([(episode.prompt, episode.response) for episode in episodes])
    return [
        RewardFailure(opinion)
        if isinstance(opinion, str)
        else Scattered(opinion.combine(source.members, coefficient=source.variance_coefficient), opinion.spread)
        for opinion in opinions
    ]


def _ask_model(scorer: RewardModelScorer, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    outcomes = scorer.score_each([(episode.prompt, episode.response) for episode in episodes])
    return [RewardFailure(outcome) if isinstance(outcome, str) else outcome for outcome in outcomes]


def _telling(name: str, source: RewardSource) -> RewardSource:
    """The same source, which prints the first failure of each cause."""
    told: set[str] = set()

    def ask(episodes: Sequence[Episode]) -> Sequence[float | RewardFailure | Scattered]:
        answers = source(episodes)
        for answer in answers:
            if isinstance(answer, RewardFailure) and answer.cause not in told:
                told.add(answer.cause)
                say(f"reward {name}: {answer.cause.replace('_', ' ')}{f': {answer.detail}' if answer.detail else ''}")
        return answers

    return ask
