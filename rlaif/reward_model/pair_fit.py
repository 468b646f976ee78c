"""Features of responses and pairs or choices of them -> the direction along which they are preferred.

The losses are those of training by steps, with a ridge penalty that is chosen by cross-validation over prompts. The
problem is convex, so that nothing depends on a start or a seed. Does not run models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlaif.records import digest_text
from rlaif.reward_model.data import Choice, Item, Pair, Rated
from rlaif.reward_model.length_bias import Lengths, without_length
from rlaif.reward_model.loss import compute_choice_loss_sum, compute_loss_sum, compute_rated_loss_sum

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Weights of half the squared norm that are tried; features have deviation 1, and the loss is a mean over the rows."""
NUM_FOLDS = 5


class Fitted(NamedTuple):
    direction: Tensor
    """(num_features,), float64: rewards are features times this."""
    penalty: float
    loss: float
    """Mean loss of the rows it was fitted to, without the penalty."""
    held_out_loss: float | None
    """Mean loss in the cross-validation with the chosen penalty; None with one prompt."""
    leaning: float | None = None
    """Log-odds per unit of length that are in the labels and in no reward, where they were fitted."""

    @property
    def numbers(self) -> dict[str, float]:
        """Figures for the log."""
        found = {"loss": self.loss, "penalty": self.penalty, "cross_validated_loss": self.held_out_loss}
        return {name: value for name, value in found.items() if value is not None}


class _Rows(NamedTuple):
    """Pairs and choices as tensors that point at rows of the features."""

    sides: Tensor
    """(2, num_pairs): chosen and rejected."""
    labels: Tensor
    pair_weights: Tensor
    at: Tensor
    """(num_choices, most responses)."""
    shares: Tensor
    mask: Tensor
    choice_weights: Tensor
    pair_lengths: Tensor | None
    """(num_pairs,): length of chosen less that of rejected, zero where a row does not lean; None: no leaning is
    fitted."""
    choice_lengths: Tensor | None
    """(num_choices, most responses)."""
    rated_at: Tensor
    """(num_rated,)."""
    targets: Tensor
    is_thumb: Tensor
    rated_weights: Tensor

    @property
    def weight(self) -> Tensor:
        return self.pair_weights.sum() + self.choice_weights.sum() + self.rated_weights.sum()

    def loss(self, rewards: Tensor, *, center_rewards_coefficient: float, leaning: Tensor | None = None) -> Tensor:
        """The weighted mean of the rows' losses. leaning: log-odds per unit of length, a scalar."""
        of_pairs = compute_loss_sum(
            rewards[self.sides[0]],
            rewards[self.sides[1]],
            labels=self.labels,
            weights=self.pair_weights,
            center_rewards_coefficient=center_rewards_coefficient,
            leaning=None if leaning is None or self.pair_lengths is None else leaning * self.pair_lengths,
        )
        total = self.weight
        if len(self.rated_at):
            of_pairs = of_pairs + compute_rated_loss_sum(
                rewards[self.rated_at], targets=self.targets, is_thumb=self.is_thumb, weights=self.rated_weights
            )
        if not len(self.at):
            return of_pairs / total
        of_choices = compute_choice_loss_sum(
            rewards[self.at],
            shares=self.shares,
            mask=self.mask,
            weights=self.choice_weights,
            center_rewards_coefficient=center_rewards_coefficient,
            leaning=None if leaning is None or self.choice_lengths is None else leaning * self.choice_lengths,
        )
        return (of_pairs + of_choices) / total


def fit_direction(
    features: Tensor, pairs: Sequence[Item], *, center_rewards_coefficient: float, lengths: Lengths | None = None
) -> Fitted:
    """features: (num_responses, num_features), float64; the pairs point at their rows.

    lengths: the responses' lengths, where the labels' leaning to them is to be left out of the rewards.
    """
    scale = deviations(features)
    scaled = without_length(features / scale, pairs, lengths=lengths)
    rows = _to_rows(pairs, lengths)
    penalty, held_out_loss = _choose_penalty(scaled, pairs, center=center_rewards_coefficient, lengths=lengths)
    found = _minimise(scaled, rows, penalty=penalty, center=center_rewards_coefficient)
    loss = float(_loss_of(found, scaled, rows=rows, center=0.0))
    direction, leaning = _split(found, scaled)
    return Fitted(direction / scale, penalty, loss, held_out_loss, leaning=None if leaning is None else float(leaning))


def deviations(features: Tensor) -> Tensor:
    """Each feature's standard deviation, at least 1e-9: (num_features,)."""
    return features.std(dim=0, correction=0).clamp_min(1e-9)


def _choose_penalty(
    features: Tensor, pairs: Sequence[Item], *, center: float, lengths: Lengths | None
) -> tuple[float, float | None]:
    """The penalty with the least loss on prompts that were left out, and that loss; the middle one with one prompt."""
    if len({pair.prompt_id for pair in pairs}) < 2:
        return 1.0, None
    losses = cross_validate(features, pairs, center_rewards_coefficient=center, lengths=lengths)
    best = min(PENALTIES, key=lambda penalty: losses[penalty])
    return best, losses[best]


def cross_validate(
    features: Tensor,
    pairs: Sequence[Item],
    *,
    center_rewards_coefficient: float,
    only_human: bool = False,
    lengths: Lengths | None = None,
    fitted_as: Callable[[Sequence[Item]], Sequence[Item]] | None = None,
) -> dict[float, float]:
    """Penalty -> mean loss of rows whose prompt the fit did not see. only_human: people's rows alone are measured.

    features: (num_responses, num_features), float64, each of deviation 1 where penalties are to mean what they say.
    fitted_as: what is fitted to in place of the rows that are not left out.
    """
    fold_of = assign_folds(pairs, only_human=only_human)
    losses, total = dict.fromkeys(PENALTIES, 0.0), 0.0
    for fold in sorted(set(fold_of.values())):
        kept: Sequence[Item] = [pair for pair in pairs if fold_of[pair.prompt_id] != fold]
        fitted_to = _to_rows(kept if fitted_as is None else fitted_as(kept), lengths)
        inside = [pair for pair in pairs if fold_of[pair.prompt_id] == fold]
        left_out = _to_rows([pair for pair in inside if not only_human or pair.source == "human"], lengths)
        weight = float(left_out.weight)
        if not weight:
            continue
        total += weight
        found = None
        for penalty in reversed(PENALTIES):  # each begins where the stronger one ended, which saves steps
            found = _minimise(features, fitted_to, penalty=penalty, center=center_rewards_coefficient, start=found)
            losses[penalty] += weight * float(_loss_of(found, features, rows=left_out, center=0.0))
    return {penalty: loss / total for penalty, loss in losses.items()}


def assign_folds(pairs: Sequence[Item], *, only_human: bool = False) -> dict[str, int]:
    """Prompt -> its fold. Every fold holds a fair share of the measured prompts; only_human: of those of people."""
    measured = {pair.prompt_id for pair in pairs if not only_human or pair.source == "human"}
    prompts = sorted(
        {pair.prompt_id for pair in pairs},
        key=lambda prompt_id: (prompt_id not in measured, digest_text(f"fold\n{prompt_id}")),
    )
    return {prompt_id: place % NUM_FOLDS for place, prompt_id in enumerate(prompts)}


def fit_left_out(
    features: Tensor,
    pairs: Sequence[Item],
    *,
    penalty: float,
    center_rewards_coefficient: float,
    lengths: Lengths | None = None,
) -> Tensor:
    """The direction (num_features,) of one fit with a penalty that is known, to rows of which some were left out."""
    found = _minimise(features, _to_rows(pairs, lengths), penalty=penalty, center=center_rewards_coefficient)
    return _split(found, features)[0]


def _minimise(features: Tensor, rows: _Rows, *, penalty: float, center: float, start: Tensor | None = None) -> Tensor:
    """The direction, followed by the leaning where one is fitted."""
    size = features.shape[1] + (rows.pair_lengths is not None)
    zeros = torch.zeros(size, dtype=features.dtype)
    found = (zeros if start is None else start.clone()).requires_grad_()
    solver = torch.optim.LBFGS(
        [found], max_iter=200, tolerance_grad=1e-7, tolerance_change=1e-11, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        solver.zero_grad()
        loss = _loss_of(found, features, rows=rows, center=center)
        loss = loss + penalty / 2 * (_split(found, features)[0] ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    solver.step(objective)  # type: ignore[no-untyped-call]
    return found.detach()


def _loss_of(found: Tensor, features: Tensor, *, rows: _Rows, center: float) -> Tensor:
    direction, leaning = _split(found, features)
    return rows.loss(features @ direction, center_rewards_coefficient=center, leaning=leaning)


def _split(found: Tensor, features: Tensor) -> tuple[Tensor, Tensor | None]:
    """The direction, and the leaning where there is one."""
    size = features.shape[1]
    return found[:size], found[size] if len(found) > size else None


def _to_rows(items: Sequence[Item], lengths: Lengths | None = None) -> _Rows:
    pairs = [item for item in items if isinstance(item, Pair)]
    choices = [item for item in items if isinstance(item, Choice)]
    rated = [item for item in items if isinstance(item, Rated)]
    most = max((len(choice.places) for choice in choices), default=0)

    def padded(values: Sequence[float]) -> list[float]:
        return [*values, *[0] * (most - len(values))]

    return _Rows(
        sides=torch.tensor([[p.chosen for p in pairs], [p.rejected for p in pairs]], dtype=torch.long),
        labels=torch.tensor([p.label for p in pairs], dtype=torch.float64),
        pair_weights=torch.tensor([p.weight for p in pairs], dtype=torch.float64),
        at=torch.tensor([padded(c.places) for c in choices], dtype=torch.long),
        shares=torch.tensor([padded(c.shares) for c in choices], dtype=torch.float64),
        mask=torch.tensor([padded([1] * len(c.places)) for c in choices], dtype=torch.bool),
        choice_weights=torch.tensor([c.weight for c in choices], dtype=torch.float64),
        pair_lengths=None if lengths is None else lengths.of_pairs(pairs),
        choice_lengths=None if lengths is None else lengths.of_choices(choices, most=most),
        rated_at=torch.tensor([r.place for r in rated], dtype=torch.long),
        targets=torch.tensor([r.target for r in rated], dtype=torch.float64),
        is_thumb=torch.tensor([r.kind == "thumb" for r in rated], dtype=torch.bool),
        rated_weights=torch.tensor([r.weight for r in rated], dtype=torch.float64),
    )
