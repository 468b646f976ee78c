"""Several reward models of one data set in one folder, asked together.

The folder is that of the first member, which any program loads as a plain reward model; the others are folders in it.
Where the members disagree a reward is not to be trusted (Coste et al. 2023, arXiv:2310.02743). Trains nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from rlaif.files.own_files import read_own
from rlaif.models.weights.loading import LoadedModel, load_reward_model
from rlaif.records import Prompt
from rlaif.reward_model.held_out import Ensemble
from rlaif.reward_model.score import RewardModelScorer, ScoreFailure, is_ours

ENSEMBLE = "ensemble.json"
"""Marks the folder of several reward models."""
Combine = Literal["mean", "worst", "mean_less_variance"]


def member_dir(folder: Path, number: int) -> Path:
    """Folder of a member, counted from 1, in the folder of an ensemble."""
    return folder if number == 1 else folder / f"member_{number}"


def read_ensemble(folder: Path) -> Ensemble | None:
    """What the folder says of its members; None for a single reward model."""
    path = folder / ENSEMBLE
    if not path.is_file():
        return None
    return read_own(path, Ensemble.model_validate_json, fix="restore it, or train the reward model again")


def load_members(first: LoadedModel) -> list[LoadedModel]:
    """All members of the ensemble that `first` is of, `first` among them; it alone where it is a single model."""
    ensemble = read_ensemble(first.folder)
    num = 1 if ensemble is None else ensemble.num_members
    device, dtype = str(first.model.device), str(first.model.dtype).removeprefix("torch.")
    others = [member_dir(first.folder, number) for number in range(2, num + 1)]
    return [first, *[load_reward_model(str(path), dtype=dtype, device=device) for path in others]]


class Opinion(NamedTuple):
    """What several reward models say of one response."""

    rewards: tuple[float, ...]
    """Each member's reward, less its mean on the starting policy's responses and plus the members' mean of these."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.rewards)

    @property
    def spread(self) -> float:
        """Standard deviation over the members."""
        return statistics.pstdev(self.rewards)

    def combine(self, by: Combine, *, coefficient: float) -> float:
        """One reward. worst: the least (WCO); mean_less_variance: the mean less coefficient times variance (UWO)."""
        if by == "mean":
            return self.mean
        return min(self.rewards) if by == "worst" else self.mean - coefficient * self.spread**2


class EnsembleScorer:
    """Several reward models as one, whose reward is their mean. Each is brought to the same mean."""

    def __init__(self, members: Sequence[RewardModelScorer]) -> None:
        self._members = members
        means = [member.mean or 0.0 for member in members]
        self._shifts = [statistics.fmean(means) - mean for mean in means]

    def ask(self, examples: Sequence[tuple[Prompt, str]]) -> list[Opinion | ScoreFailure]:
        """What the members say of each response; a failure of one of them is one of all."""
        answers = [member.score_each(examples) for member in self._members]
        return [self._join(outcomes) for outcomes in zip(*answers, strict=True)]

    def _join(self, outcomes: Sequence[float | ScoreFailure]) -> Opinion | ScoreFailure:
        shifted = []
        for outcome, shift in zip(outcomes, self._shifts, strict=True):
            if isinstance(outcome, str):
                return outcome
            shifted.append(outcome + shift)
        return Opinion(tuple(shifted))

    def score_each(self, examples: Sequence[tuple[Prompt, str]]) -> list[float | ScoreFailure]:
        """The mean of the members' rewards, or why there is none."""
        return [one if isinstance(one, str) else one.mean for one in self.ask(examples)]


Scorer = RewardModelScorer | EnsembleScorer


def open_scorer(loaded: LoadedModel) -> Scorer:
    """A reward model, with all members where it is one of several."""
    members = load_members(loaded)
    if len(members) == 1:
        return RewardModelScorer(loaded, reads_whole=not is_ours(loaded))
    return EnsembleScorer([RewardModelScorer(member) for member in members])
