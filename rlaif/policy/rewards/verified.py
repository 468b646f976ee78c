"""A verifier as a reward source, with partial credit: so much for a right answer, less for a wrong one or for none.

Reinforced fine-tuning's reward, Luong et al. 2024 (arXiv:2401.08967), section 3: 1, 0.1 and 0. What the verifier raises
is a named failure of the episode.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.config.verifier import ReftConfig
from rlaif.evaluation.verifier import Checked, Verifier
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.rewards.function import describe_raised


class VerifierReward:
    """A `RewardSource` that verifies each response."""

    def __init__(self, verifier: Verifier, config: ReftConfig) -> None:
        self._verifier, self._config = verifier, config

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return [self._reward(episode) for episode in episodes]

    def _reward(self, episode: Episode) -> float | RewardFailure:
        try:
            return credit(self._verifier.check(episode.prompt, episode.response), self._config)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in the user's code is the episode's failure
            return describe_raised(error)


def credit(checked: Checked, config: ReftConfig) -> float:
    """What a response is worth."""
    if checked.is_right:
        return config.right
    return config.no_answer if checked.answer is None else config.wrong
