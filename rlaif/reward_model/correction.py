"""Rows of a judge and of people -> the judge's labels, less that in which people differ from the judge.

A read-out of the judge's rows says what the judge likes of the features. Beside it people's rows say where they differ:
log-odds = scale * the judge's read-out + features times d, with few numbers of d other than zero (the lasso, Tibshirani
1996). How few is chosen by people's log loss on prompts left out. A judge has few leanings; where it has many, little
is found, and plain weights do as well. Runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlaif.records import digest_text
from rlaif.reward_model.data import Item, Pair
from rlaif.reward_model.pair_fit import NUM_FOLDS, fit_direction
from rlaif.stats.logits import log_odds, sigmoid

SHARES = (1.0, 0.6, 0.4, 0.25, 0.15, 0.1, 0.06, 0.03)
"""Penalties that are tried, as shares of the smallest one under which people differ from the judge in nothing."""
MAX_STEPS, TOLERANCE = 2000, 1e-9
HARD_LABEL, LEAST = 0.05, 1e-9
"""A verdict without log-probabilities is 0 or 1; before it is moved it is read as HARD_LABEL or 1 - HARD_LABEL. Soft
labels are nowhere nearer to 0 and 1 than LEAST."""


class Correction(NamedTuple):
    shift: Tensor
    """(num_features,): people's read-out less the judge's."""
    log_loss: float
    """Cross-validated mean log loss of people's choices by people's read-out, in nats."""
    num_leanings: int
    """Features in which people differ from the judge beyond its scale."""


class _Labelled(NamedTuple):
    """People's rows as columns."""

    inputs: Tensor
    """(num_rows, 1 + num_features): the judge's read-out, of deviation 1, then the features; chosen less rejected."""
    labels: Tensor
    weights: Tensor

    def rows(self, where: Tensor) -> _Labelled:
        return _Labelled(self.inputs[where], self.labels[where], self.weights[where])


def find_correction(features: Tensor, pairs: Sequence[Item], *, center_rewards_coefficient: float) -> Correction | None:
    """features: (num_responses, num_features), float64, each of deviation 1; the pairs point at their rows.

    None where either has no rows of pairs, or the judge's read-out orders nothing.
    """
    judged = [item for item in pairs if item.source != "human"]
    human = [item for item in pairs if item.source == "human" and isinstance(item, Pair)]
    if not human or not judged:
        return None
    judge = fit_direction(features, judged, center_rewards_coefficient=center_rewards_coefficient).direction
    differences = features[[pair.chosen for pair in human]] - features[[pair.rejected for pair in human]]
    size = float((differences @ judge).square().mean().sqrt())
    if not size:
        return None
    labelled = _Labelled(
        torch.cat([(differences @ judge / size)[:, None], differences], dim=1),
        torch.tensor([pair.label for pair in human], dtype=torch.float64),
        torch.tensor([pair.weight for pair in human], dtype=torch.float64),
    )
    folds = torch.tensor(_assign_folds([pair.prompt_id for pair in human]))
    most = _smallest_idle_penalty(labelled)
    penalties = [share * most for share in SHARES]
    losses = _cross_validate(labelled, folds=folds, penalties=penalties)
    best = min(range(len(penalties)), key=lambda place: losses[place])  # of two equal ones that with fewer leanings
    found = _fit_path(labelled, penalties[: best + 1])[-1]
    shift = (found[0] / size - 1) * judge + found[1:]
    return Correction(shift, losses[best], int((found[1:] != 0).sum()))


def correct_labels(features: Tensor, pairs: Sequence[Item], *, shift: Tensor) -> list[Item]:
    """The rows with the log-odds of the judge's pairs moved by the difference of the rewards `features @ shift`."""
    moves = features @ shift

    def correct(pair: Pair) -> Pair:
        move = float(moves[pair.chosen] - moves[pair.rejected])
        least = HARD_LABEL if pair.label in (0.0, 1.0) else LEAST
        return pair._replace(label=sigmoid(log_odds(pair.label, least=least) + move))

    return [correct(item) if isinstance(item, Pair) and item.source != "human" else item for item in pairs]


def _assign_folds(prompt_ids: Sequence[str]) -> list[int]:
    order = sorted(set(prompt_ids), key=lambda prompt_id: digest_text(f"fold\n{prompt_id}"))
    fold_of = {prompt_id: place % NUM_FOLDS for place, prompt_id in enumerate(order)}
    return [fold_of[prompt_id] for prompt_id in prompt_ids]


def _cross_validate(labelled: _Labelled, *, folds: Tensor, penalties: Sequence[float]) -> list[float]:
    """For each penalty the mean loss of rows whose prompt the fit did not see."""
    totals, weight = [0.0] * len(penalties), 0.0
    for fold in sorted(set(folds.tolist())):
        left_out = labelled.rows(folds == fold)
        fitted_to = labelled.rows(folds != fold)
        if not len(fitted_to.labels):
            continue
        weight += float(left_out.weights.sum())
        for place, found in enumerate(_fit_path(fitted_to, penalties)):
            totals[place] += float(left_out.weights @ _losses(found, left_out))
    return [total / weight if weight else float("inf") for total in totals]


def _fit_path(labelled: _Labelled, penalties: Sequence[float]) -> list[Tensor]:
    """The fits of falling penalties, each begun where the stronger one ended."""
    found = torch.zeros(labelled.inputs.shape[1], dtype=torch.float64)
    fits = []
    for penalty in penalties:
        found = _fit(labelled, penalty=penalty, start=found)
        fits.append(found)
    return fits


def _smallest_idle_penalty(labelled: _Labelled) -> float:
    """The smallest penalty under which only the judge's scale is fitted: there it equals the largest other slope."""
    only_scale = _fit(labelled, penalty=float("inf"), start=torch.zeros(labelled.inputs.shape[1], dtype=torch.float64))
    return float(_slopes(only_scale, labelled)[1:].abs().max())


def _fit(labelled: _Labelled, *, penalty: float, start: Tensor) -> Tensor:
    """Weighted mean log loss plus `penalty` times the sum of sizes, the first number free: accelerated proximal steps
    (FISTA, Beck and Teboulle 2009), begun again where they overshoot."""
    weights = labelled.weights / labelled.weights.sum()
    scaled = labelled.inputs * weights.sqrt()[:, None]
    step = 4.0 / float(torch.linalg.matrix_norm(scaled, ord=2)) ** 2
    limits = torch.full_like(start, penalty * step)
    limits[0] = 0.0
    found, ahead, speed = start, start, 1.0
    for _ in range(MAX_STEPS):
        moved = ahead - step * _slopes(ahead, labelled)
        new = torch.sign(moved) * (moved.abs() - limits).clamp_min(0.0)
        if float((ahead - new) @ (new - found)) > 0:
            speed = 1.0
        faster = (1 + (1 + 4 * speed**2) ** 0.5) / 2
        ahead = new + (speed - 1) / faster * (new - found)
        change, found, speed = float((new - found).abs().max()), new, faster
        if change < TOLERANCE:
            break
    return found


def _slopes(found: Tensor, labelled: _Labelled) -> Tensor:
    """The gradient of the weighted mean log loss."""
    off = torch.sigmoid(labelled.inputs @ found) - labelled.labels
    return labelled.inputs.T @ (labelled.weights * off) / labelled.weights.sum()


def _losses(found: Tensor, labelled: _Labelled) -> Tensor:
    logits = labelled.inputs @ found
    return torch.nn.functional.softplus(logits) - labelled.labels * logits
