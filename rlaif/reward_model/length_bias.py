"""Labels' leaning to longer responses, fitted beside the rewards and left out of them.

The log-odds of a label are the difference of the rewards and the leaning times the difference of the lengths. Labels
alone cannot tell a leaning from a true worth of length. Where only the judge's labels are taken to lean, people's rows
tell. Where all are, the differences of rewards and of lengths are kept at a covariance of zero, as if quality did not
go with length. Trains no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import StageError
from rlaif.reward_model.data import Choice, Item, Pair, Pairs

MEMORY = 0.95
"""Share of what is known that is kept at each step: a leaning follows about the last 20 batches."""
RESTRAINT = 4.0
"""How strongly a training by steps is kept from rewards that rise with length, beside the labels' loss."""


class Lengths(NamedTuple):
    """What a leaning is fitted to."""

    values: Tensor
    """(num_sequences,), float64: tokens, in a unit by which the two responses of a pair differ (root mean square)."""
    unit: float
    """Tokens in one of these units."""
    of: Literal["all_rows", "judge_rows"]

    def counts_for(self, item: Item) -> bool:
        """Whether the item's label is taken to lean."""
        return self.of == "all_rows" or item.source != "human"

    def of_pairs(self, pairs: Sequence[Pair]) -> Tensor:
        """(num_pairs,): length of chosen less that of rejected; zero for rows that do not lean."""
        found = self.values[[pair.chosen for pair in pairs]] - self.values[[pair.rejected for pair in pairs]]
        return found * torch.tensor([float(self.counts_for(pair)) for pair in pairs], dtype=torch.float64)

    def of_choices(self, choices: Sequence[Choice], *, most: int) -> Tensor:
        """(num_choices, most): lengths less their mean in the choice; zero for rows that do not lean."""
        found = torch.zeros(len(choices), most, dtype=torch.float64)
        for row, choice in enumerate(choices):
            own = self.values[list(choice.places)]
            found[row, : len(choice.places)] = (own - own.mean()) * float(self.counts_for(choice))
        return found


def find_lengths(train: Pairs, config: RewardModelConfig) -> Lengths | None:
    """The lengths of the responses; None where no leaning is fitted, or nothing differs in length.

    A prompt is as long in each of its responses' sequences, so differences of sequences are those of responses.
    """
    if config.length_bias == "kept":
        return None
    if config.length_bias == "judge_rows" and not any(item.source == "human" for item in train.pairs):
        raise StageError(
            "reward_model.length_bias is judge_rows and no row that is trained on is a person's",
            where="reward model",
            fix="mix labels of people in, or say `length_bias: all_rows`",
        )
    lengths = torch.tensor([len(sequence) for sequence in train.sequences], dtype=torch.float64)
    squares = [
        float(((own := lengths[list(places)]) - own.mean()).square().sum() / (len(places) - 1) * 2)
        for item in train.pairs
        if len(places := _compared(item)) > 1
    ]
    unit = math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0
    return Lengths(lengths / unit, unit, of=config.length_bias) if unit else None


def _compared(item: Item) -> tuple[int, ...]:
    if isinstance(item, Pair):
        return item.chosen, item.rejected
    return item.places if isinstance(item, Choice) else ()


class Push(NamedTuple):
    """What some rows say of a leaning."""

    slope: float
    """Derivative of the rows' loss by the leaning."""
    curvature: float
    covariance: float
    """Weighted sum of the differences of rewards times those of lengths."""
    variance: float
    """Weighted sum of the squared differences of lengths."""


class LengthLeaning:
    """A leaning that follows the training: after each step one of Newton's for the batch and those before it.

    It moves faster than the rewards do. What labels owe to length is then in it before the rewards can learn it.
    """

    def __init__(self, lengths: Lengths) -> None:
        self.lengths = lengths
        self.value = 0.0
        """Log-odds per unit of length."""
        self._curvature, self._covariance, self._variance = 1.0, 0.0, 0.0

    @property
    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {
            "value": self.value, "curvature": self._curvature,
            "covariance": self._covariance, "variance": self._variance,
        }  # fmt: skip

    def restore(self, state: Mapping[str, float]) -> None:
        self.value, self._curvature = state["value"], state["curvature"]
        self._covariance, self._variance = state["covariance"], state["variance"]

    @property
    def slope(self) -> float:
        """By how much the rewards of the last batches rise with a unit of length."""
        return self._covariance / self._variance if self._variance else 0.0

    def restrain(self, differences: Tensor, rewards: Tensor, *, weights: Tensor) -> Tensor:
        """A sum to be added to that of the losses, whose gradient takes the rewards' slope towards zero.

        differences: lengths of the rows' responses, as `rewards`; weights: (num_rows,). Returns a scalar.
        """
        strength = RESTRAINT * self.slope if self.lengths.of == "all_rows" else 0.0
        return strength * (weights * _row_sums(differences * rewards)).sum()

    def of_pairs(self, pairs: Sequence[Pair], margins: Tensor, *, labels: Tensor, weights: Tensor) -> Leant:
        """margins: (num_pairs,), rewards of chosen less those of rejected, without the leaning."""
        differences = self.lengths.of_pairs(pairs).to(margins)
        p = torch.sigmoid(margins.detach() + self.value * differences)
        push = self._push(
            differences,
            margins,
            weights=weights,
            slopes=(p - labels) * differences,
            curvatures=p * (1 - p) * differences**2,
        )
        return Leant(self.value * differences, self.restrain(differences, margins, weights=weights), push)

    def of_choices(
        self, choices: Sequence[Choice], rewards: Tensor, *, shares: Tensor, mask: Tensor, weights: Tensor
    ) -> Leant:
        """rewards, shares, mask: (num_choices, most responses), rewards without the leaning."""
        offsets = self.lengths.of_choices(choices, most=rewards.shape[1]).to(rewards)
        p = torch.softmax((rewards.detach() + self.value * offsets).masked_fill(~mask, -torch.inf), dim=-1)
        means = (p * offsets).sum(dim=-1)
        push = self._push(
            offsets,
            rewards,
            weights=weights,
            slopes=means - (shares * offsets).sum(dim=-1),
            curvatures=(p * offsets**2).sum(dim=-1) - means**2,
        )
        return Leant(self.value * offsets, self.restrain(offsets, rewards, weights=weights), push)

    @staticmethod
    def _push(differences: Tensor, rewards: Tensor, *, weights: Tensor, slopes: Tensor, curvatures: Tensor) -> Push:
        return Push(
            slope=float((weights * slopes).sum()),
            curvature=float((weights * curvatures).sum()),
            covariance=float((weights * _row_sums(differences * rewards.detach())).sum()),
            variance=float((weights * _row_sums(differences**2)).sum()),
        )

    def follow(self, pushes: Sequence[Push]) -> None:
        """Take the step that a batch's rows ask for."""
        self._curvature = MEMORY * self._curvature + math.fsum(push.curvature for push in pushes)
        self._covariance = MEMORY * self._covariance + math.fsum(push.covariance for push in pushes)
        self._variance = MEMORY * self._variance + math.fsum(push.variance for push in pushes)
        self.value -= math.fsum(push.slope for push in pushes) / self._curvature


class Leant(NamedTuple):
    """What a leaning does to some rows."""

    log_odds: Tensor
    """To be added to the differences of rewards, or to a choice's rewards."""
    restraint: Tensor
    """To be added to the sum of the losses; a scalar."""
    push: Push


def _row_sums(products: Tensor) -> Tensor:
    return products if products.dim() == 1 else products.sum(dim=-1)


def without_length(features: Tensor, pairs: Sequence[Item], *, lengths: Lengths | None) -> Tensor:
    """The features without the one direction along which their differences go with those of lengths.

    Rewards that are linear in what is left have covariance zero with length over the pairs and choices.
    Where people's rows say what length is worth the features stay. features: (num_responses, num_features), float64.
    """
    if lengths is None or lengths.of == "judge_rows":
        return features
    direction = torch.zeros(features.shape[1], dtype=features.dtype)
    for item in pairs:
        if len(places := _compared(item)) > 1:
            own = lengths.values[list(places)]
            direction += item.weight * ((own - own.mean())[:, None] * features[list(places)]).sum(dim=0)
    norm = direction.norm()
    return features if not norm else features - (features @ direction)[:, None] * direction / norm**2


def describe_leaning(leaning: float | None, *, lengths: Lengths | None) -> str | None:
    """The leaning in a sentence, where one was fitted."""
    if leaning is None or lengths is None:
        return None
    whose = "the labels lean" if lengths.of == "all_rows" else "the judge's labels lean"
    return (
        f"{whose} to longer responses by {10 * leaning / lengths.unit:+.3f} log-odds per 10 tokens; the rewards leave "
        "that out"
    )
