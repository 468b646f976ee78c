"""The judge's log-odds and people's choices on the same pairs -> the map from the judge's labels to people's.

p(first is preferred) = sigmoid(slope * logit + length * difference of lengths). No map has an intercept, so swapping
the responses swaps the label. Does not read files and does not know what the labels are for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.records import CalibrationMap, MapKind, digest_text
from rlaif.stats.logits import sigmoid, sigmoids
from rlaif.stats.ranks import is_above

Array = NDArray[np.float64]

NUM_FOLDS = 5
MIN_PROMPTS = 10
"""With labels on fewer prompts no map can be chosen, and the judge's labels stay as they are."""
KINDS: tuple[MapKind, ...] = ("identity", "temperature", "temperature_length")
"""The candidates, the simplest first."""
SLOPE_PRIOR, PRIOR_SD = 0.5, 1.0
"""Normal priors of slope and length: judges are over-confident, and length is no merit. About three labels weigh as
much as the priors."""
TOLERANCE = 0.5
"""Standard errors by which a simpler map may be worse than the best one. The front desk's judge likes length: of 100
draws of 100 labels a whole standard error left it uncalibrated in 27, a half in 12 and none in 4. A judge that needs no
map was given one, of little effect, in 7, 20 and 34 of 120 draws."""
HARD_LABEL = 0.05
"""A verdict without log-probabilities is 0, 1/2 or 1, whose logit is infinite: the map reads it as .05, 1/2 or .95."""


class Observation(NamedTuple):
    """One person's choice on one pair, beside what the judge said of it."""

    prompt_id: str
    logit: float
    """The judge's log-odds for the first response."""
    length: float
    """By how much the first response is longer than the second, in the units of `length_difference`."""
    chosen: float
    """1 where the person chose the first, 0 the second, 1/2 a tie."""
    weight: float = 1.0
    """One over the probability with which the pair was drawn to be labelled; 1 where that is not known."""


class Calibration(NamedTuple):
    map: CalibrationMap
    log_loss: dict[MapKind, float]
    """Cross-validated mean log loss of each candidate, in nats."""
    out_of_fold: list[float]
    """Per observation the label by a map of the chosen kind, fitted without the observation's prompt."""


def calibrate(observations: Sequence[Observation], *, length_sd: float) -> Calibration:
    """The simplest map whose cross-validated log loss is within TOLERANCE standard errors of the best one's.

    Folds are drawn by prompt, so no prompt is both fitted and measured. The standard error is that of the difference
    to the best map, clustered by prompt. length_sd: standard deviation of length in words, kept with the map.
    """
    data = as_arrays(observations)
    prompts = [observation.prompt_id for observation in observations]
    folds = assign_folds(prompts)
    logits = {kind: _predict_out_of_fold(data, kind, folds=folds) for kind in KINDS}
    losses = {kind: _log_losses(logits[kind], data.chosen) for kind in KINDS}
    if len(set(prompts)) < MIN_PROMPTS:
        losses = {"identity": losses["identity"]}
    means = {kind: float(np.average(loss, weights=data.weights)) for kind, loss in losses.items()}
    best = min(means, key=lambda kind: (means[kind], KINDS.index(kind)))
    kind = next(
        kind
        for kind, loss in losses.items()
        if not is_above(means[kind], means[best] + TOLERANCE * _standard_error(loss - losses[best], data, prompts))
    )
    slope, length = fit(data, kind)
    return Calibration(
        map=CalibrationMap(kind=kind, slope=slope, length=length, length_sd=length_sd),
        log_loss=means,
        out_of_fold=[sigmoid(float(logit)) for logit in logits[kind]],
    )


def apply_map(map: CalibrationMap, *, logit: float, length: float) -> float:
    """The calibrated label: the probability that people prefer the first response."""
    return sigmoid(map.slope * logit + map.length * length)


def length_difference(first: str, second: str, *, map: CalibrationMap) -> float:
    """By how many standard deviations of length, in words, the first text is longer, within the map's limit."""
    difference = (len(first.split()) - len(second.split())) / map.length_sd
    return max(-map.length_limit, min(map.length_limit, difference))


def assign_folds(prompts: Sequence[str]) -> list[int]:
    """Each prompt's fold; it depends on the prompt's id alone, not on the order in which labels come."""
    shuffled = sorted(set(prompts), key=lambda prompt: digest_text(f"fold\n{prompt}"))
    fold = {prompt: number % NUM_FOLDS for number, prompt in enumerate(shuffled)}
    return [fold[prompt] for prompt in prompts]


class Data(NamedTuple):
    """Observations as columns, each (n,)."""

    logits: Array
    lengths: Array
    chosen: Array
    weights: Array

    def rows(self, where: NDArray[np.bool_]) -> Data:
        return Data(*(column[where] for column in self))


def as_arrays(observations: Sequence[Observation]) -> Data:
    """Observations as columns, with weights scaled to a mean of one."""
    if not observations:
        raise ValueError("there is nothing to calibrate by")
    columns = np.array([[o.logit, o.length, o.chosen, o.weight] for o in observations]).T
    # The mean weight is one, so that the prior weighs the same however the pairs were drawn.
    return Data(columns[0], columns[1], columns[2], columns[3] / columns[3].mean())


def _predict_out_of_fold(data: Data, kind: MapKind, *, folds: Sequence[int]) -> Array:
    """Per observation the mapped logit, by a map fitted on the other folds."""
    place = np.array(folds)
    mapped = np.empty(len(place))
    for fold in set(folds):
        slope, length = fit(data.rows(place != fold), kind)
        here = place == fold
        mapped[here] = slope * data.logits[here] + length * data.lengths[here]
    return mapped


def fit(data: Data, kind: MapKind) -> tuple[float, float]:
    """Slope and length of a map: the maximum of likelihood times prior, the slope never below zero."""
    if kind == "identity":
        return 1.0, 0.0
    names: tuple[Array, ...] = (data.logits,) if kind == "temperature" else (data.logits, data.lengths)
    prior = np.array([SLOPE_PRIOR, 0.0])[: len(names)]
    found = fit_ridge(np.stack(names, axis=1), chosen=data.chosen, weights=data.weights, prior=prior)
    if found[0] < 0:
        # subtle: a map that inverted the judge would be no calibration; at slope zero the judge's labels count nothing.
        found[0] = 0.0
        if kind == "temperature_length":
            found[1:] = fit_ridge(data.lengths[:, None], chosen=data.chosen, weights=data.weights, prior=np.zeros(1))
    return float(found[0]), float(found[1]) if kind == "temperature_length" else 0.0


def fit_ridge(features: Array, *, chosen: Array, weights: Array, prior: Array) -> Array:
    """Weighted logistic regression without an intercept, its coefficients N(prior, PRIOR_SD); the loss is convex."""
    precision = np.eye(features.shape[1]) / PRIOR_SD**2

    def loss(coefficients: Array) -> float:
        fitted = weights @ _log_losses(features @ coefficients, chosen)
        away = coefficients - prior
        return float(fitted + 0.5 * away @ precision @ away)

    coefficients = prior.copy()
    for _ in range(100):
        p = sigmoids(features @ coefficients)
        gradient = features.T @ (weights * (p - chosen)) + precision @ (coefficients - prior)
        curvature = (features * (weights * p * (1 - p))[:, None]).T @ features + precision
        step = np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)
        # A full step may lead upwards where the loss is flat; near the optimum "upwards" is only rounding.
        while loss(coefficients - step) > loss(coefficients) + 1e-9:
            step = step / 2
        coefficients = coefficients - step
        if np.abs(step).max() < 1e-12:
            break
    return coefficients


def _log_losses(logits: Array, chosen: Array) -> Array:
    """-y log sigmoid(z) - (1 - y) log sigmoid(-z), finite for every z."""
    losses: Array = np.logaddexp(0, logits) - chosen * logits
    return losses


def _standard_error(differences: Array, data: Data, prompts: Sequence[str]) -> float:
    """Standard error of the weighted mean of differences, clustered by prompt (Cochran 1977, chapter 9A)."""
    mean = np.average(differences, weights=data.weights)
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    residuals = np.bincount([places[prompt] for prompt in prompts], weights=data.weights * (differences - mean))
    n = len(residuals)
    return float(math.sqrt(n / (n - 1) * (residuals**2).sum()) / data.weights.sum()) if n > 1 else 0.0
