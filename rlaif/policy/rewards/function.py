"""A user's Python function as a reward source: for answers that can be verified, or anything else.

The function is called in this process, with texts. An error that it raises, or a value that is no finite number, is a
named failure of the episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlaif.errors import FunctionError
from rlaif.policy.rewards.episodes import Episode, RewardFailure, read_reward

RewardFunction = Callable[[list[dict[str, str]], str, str | None], Any]
"""(messages of the prompt as role/content dicts, the response's text, the prompt's known answer) -> a number."""


class FunctionReward:
    """A `RewardSource` that calls the function."""

    def __init__(self, function: Callable[..., Any], *, batched: bool) -> None:
        """`batched`: the function takes a list of each argument and returns a list, None where it has no number."""
        self._function, self._batched = function, batched

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return self._call_once(episodes) if self._batched else [self._call(episode) for episode in episodes]

    def _call(self, episode: Episode) -> float | RewardFailure:
        prompt = episode.prompt
        try:
            return read_reward(self._function(prompt.as_chat(), episode.response, prompt.reference))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in the user's code is the episode's failure
            return describe_raised(error)

    def _call_once(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        try:
            given = self._function(
                [episode.prompt.as_chat() for episode in episodes],
                [episode.response for episode in episodes],
                [episode.prompt.reference for episode in episodes],
            )
            values = list(given)
        except Exception as error:  # noqa: BLE001 - as above
            return [describe_raised(error)] * len(episodes)
        if len(values) != len(episodes):
            failure = RewardFailure("wrong_count", f"{len(values)} rewards for {len(episodes)} episodes")
            return [failure] * len(episodes)
        return [read_reward(value) for value in values]


def describe_raised(error: Exception) -> RewardFailure:
    """What the user's code raised, as the failure of an episode."""
    if isinstance(error, FunctionError):  # it names the function and the line; the exception behind it names the cause
        kind = type(error.__cause__ or error).__name__.lstrip("_")
        words = error.what.partition(f"raised {kind}: ")[2] or error.what
        return RewardFailure(f"raised_{kind}", f"{words} ({error.where})")
    return RewardFailure(f"raised_{type(error).__name__}", f"{error}"[:200])
