"""Labels as columns of numbers -> the map of a kind that fits them best, and what a map makes of them.

Every map is linear in the judge's log-odds and in the difference of lengths, and has no intercept: its loss is convex,
and Newton's method finds the one minimum. Chooses no kind and reads no records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.records import CalibrationMap, MapKind, PartMap
from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]

SLOPE_PRIOR, PRIOR_SD = 0.5, 1.0
"""Normal priors of slope and length: judges are over-confident, and length is no merit. About three labels weigh as
much as the priors."""
SPREADS = (0.1, 0.3, 1.0)
"""How far the slopes of principles, or of judges, may lie from their mean, as standard deviations to choose from."""


class Part(NamedTuple):
    """What one judge says of a pair under one principle, and how much it counts in the pair's label."""

    principle_id: str
    judge_id: str
    share: float
    """Its weight in the mean of log-odds; those of a pair sum to one."""
    logit: float
    """Log-odds for the first response."""


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
    parts: tuple[Part, ...] = ()
    """What the logit is the mean of; empty where that is not known."""


class Columns(NamedTuple):
    """The parts of observations, added up by principle or by judge."""

    names: tuple[str, ...]
    logits: Array
    """(n, names): the sum of share times logit."""
    shares: Array
    """(n, names): the sum of the shares."""

    def rows(self, where: NDArray[np.bool_]) -> Columns:
        return Columns(self.names, self.logits[where], self.shares[where])


class Data(NamedTuple):
    """Observations as columns, each (n,)."""

    logits: Array
    lengths: Array
    chosen: Array
    weights: Array
    principles: Columns
    judges: Columns
    unit: float = 1.0
    """How large log-odds usually are. Slopes have their prior in log-odds of this size."""

    def rows(self, where: NDArray[np.bool_]) -> Data:
        return Data(
            logits=self.logits[where],
            lengths=self.lengths[where],
            chosen=self.chosen[where],
            weights=self.weights[where],
            principles=self.principles.rows(where),
            judges=self.judges.rows(where),
            unit=self.unit,
        )


def as_arrays(observations: Sequence[Observation]) -> Data:
    """Observations as columns, with weights scaled to a mean of one."""
    if not observations:
        raise ValueError("there is nothing to calibrate by")
    columns = np.array([[o.logit, o.length, o.chosen, o.weight] for o in observations], dtype=np.float64).T
    parts = [observation.parts for observation in observations]
    return Data(
        columns[0],
        columns[1],
        columns[2],
        # The mean weight is one, so that the prior weighs the same however the pairs were drawn.
        columns[3] / columns[3].mean(),
        principles=_add_up(parts, [[part.principle_id for part in row] for row in parts]),
        judges=_add_up(parts, [[part.judge_id for part in row] for row in parts]),
    )


def _add_up(parts: Sequence[Sequence[Part]], named: Sequence[Sequence[str]]) -> Columns:
    """The parts of each observation under the names given for them; no names where an observation has no parts."""
    names = tuple(sorted({name for row in named for name in row})) if all(parts) else ()
    place = {name: i for i, name in enumerate(names)}
    logits, shares = np.zeros((len(parts), len(names))), np.zeros((len(parts), len(names)))
    if names:
        for n, (row, of) in enumerate(zip(parts, named, strict=True)):
            for part, name in zip(row, of, strict=True):
                logits[n, place[name]] += part.share * part.logit
                shares[n, place[name]] += part.share
    return Columns(names, logits, shares)


def fit(data: Data, kind: MapKind) -> tuple[float, float]:
    """Slope and length of a map without parts: the maximum of likelihood times prior, the slope never below zero."""
    if kind == "identity":
        return 1.0, 0.0
    logits = data.logits / data.unit
    names: tuple[Array, ...] = (logits,) if kind == "temperature" else (logits, data.lengths)
    prior = np.array([SLOPE_PRIOR, 0.0])[: len(names)]
    found = fit_ridge(np.stack(names, axis=1), chosen=data.chosen, weights=data.weights, prior=prior)
    if found[0] < 0:
        # subtle: a map that inverted the judge would be no calibration; at slope zero the judge's labels count nothing.
        found[0] = 0.0
        if kind == "temperature_length":
            found[1:] = fit_ridge(data.lengths[:, None], chosen=data.chosen, weights=data.weights, prior=np.zeros(1))
    return float(found[0]) / data.unit, float(found[1]) if kind == "temperature_length" else 0.0


def fit_map(data: Data, kind: MapKind, *, length_sd: float, spread: float = SPREADS[-1]) -> CalibrationMap:
    """The map of a kind; spread: how far its parts may lie from their mean, where it has parts."""
    if kind == "pooled":
        return _fit_pooled(data, length_sd=length_sd, spread=spread)
    if kind == "panel":
        return _fit_panel(data, length_sd=length_sd, spread=spread)
    slope, length = fit(data, kind)
    return CalibrationMap(kind=kind, slope=slope, length=length, length_sd=length_sd)


def map_logits(found: CalibrationMap, data: Data) -> Array:
    """(n,): the calibrated log-odds."""
    if found.by_principle:
        slopes, lengths = _by_name(found.by_principle, data.principles, slope=found.slope, length=found.length)
        return np.asarray(data.principles.logits @ slopes + data.lengths * (data.principles.shares @ lengths))
    if found.by_judge:
        slopes, _ = _by_name(found.by_judge, data.judges, slope=found.slope, length=0.0)
        return np.asarray(data.judges.logits @ slopes + found.length * data.lengths)
    return np.asarray(found.slope * data.logits + found.length * data.lengths)


def _by_name(parts: Sequence[PartMap], columns: Columns, *, slope: float, length: float) -> tuple[Array, Array]:
    known = {part.name: (part.slope, part.length) for part in parts}
    found = np.array([known.get(name, (slope, length)) for name in columns.names])
    return found[:, 0], found[:, 1]


def _fit_pooled(data: Data, *, length_sd: float, spread: float) -> CalibrationMap:
    columns = data.principles
    slopes, lengths = _fit_parts(columns.logits, columns.shares * data.lengths[:, None], data, spread=spread)
    parts = (
        PartMap(name=name, slope=float(slope) / data.unit, length=float(length))
        for name, slope, length in zip(columns.names, slopes, lengths, strict=True)
    )
    return CalibrationMap(
        kind="pooled",
        slope=_mean_part(slopes, prior=SLOPE_PRIOR, spread=spread) / data.unit,
        length=_mean_part(lengths, prior=0.0, spread=spread),
        length_sd=length_sd,
        by_principle=tuple(parts),
    )


def _fit_panel(data: Data, *, length_sd: float, spread: float) -> CalibrationMap:
    slopes, [length] = _fit_parts(data.judges.logits, data.lengths[:, None], data, spread=spread)
    return CalibrationMap(
        kind="panel",
        slope=_mean_part(slopes, prior=SLOPE_PRIOR, spread=spread) / data.unit,
        length=float(length),
        length_sd=length_sd,
        by_judge=tuple(
            PartMap(name=name, slope=float(slope) / data.unit)
            for name, slope in zip(data.judges.names, slopes, strict=True)
        ),
    )


def _fit_parts(logits: Array, lengths: Array, data: Data, *, spread: float) -> tuple[Array, Array]:
    """A slope for each column of log-odds, in their unit and never below zero, and a weight for each of lengths.

    Slopes are N(a, spread^2) about a common a that has the prior of a single slope, and several lengths likewise.
    """
    kept = np.arange(logits.shape[1])
    num_lengths = lengths.shape[1]
    of_lengths = _covariance(num_lengths, spread=spread if num_lengths > 1 else 0.0)
    while True:
        covariance = np.zeros((len(kept) + num_lengths,) * 2)
        covariance[: len(kept), : len(kept)] = _covariance(len(kept), spread=spread)
        covariance[len(kept) :, len(kept) :] = of_lengths
        prior = np.concatenate([np.full(len(kept), SLOPE_PRIOR), np.zeros(num_lengths)])
        precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
        features = np.hstack([logits[:, kept] / data.unit, lengths])
        found = fit_ridge(features, chosen=data.chosen, weights=data.weights, prior=prior, precision=precision)
        slopes = found[: len(kept)]
        if not (slopes < 0).any():
            break
        kept = kept[slopes >= 0]  # a map that inverted a judge would be no calibration
    all_slopes = np.zeros(logits.shape[1])
    all_slopes[kept] = slopes
    return all_slopes, found[len(kept) :]


def _covariance(size: int, *, spread: float) -> Array:
    """Of numbers that scatter about a common mean, whose own standard deviation is PRIOR_SD."""
    return np.full((size, size), PRIOR_SD**2) + np.eye(size) * spread**2


def _mean_part(parts: Array, *, prior: float, spread: float) -> float:
    """The common mean that the parts suggest: what a part that no label is about has."""
    above, below = prior / PRIOR_SD**2 + parts.sum() / spread**2, 1 / PRIOR_SD**2 + len(parts) / spread**2
    return float(above / below)


def fit_ridge(features: Array, *, chosen: Array, weights: Array, prior: Array, precision: Array | None = None) -> Array:
    """Weighted logistic regression without an intercept, its coefficients N(prior, 1 / precision).

    precision: by default that of independent coefficients of standard deviation PRIOR_SD.
    """
    sharpness = np.eye(features.shape[1]) / PRIOR_SD**2 if precision is None else precision

    def loss(coefficients: Array) -> float:
        fitted = weights @ log_losses(features @ coefficients, chosen)
        away = coefficients - prior
        return float(fitted + 0.5 * away @ sharpness @ away)

    coefficients = prior.copy()
    for _ in range(100):
        p = sigmoids(features @ coefficients)
        gradient = features.T @ (weights * (p - chosen)) + sharpness @ (coefficients - prior)
        curvature = (features * (weights * p * (1 - p))[:, None]).T @ features + sharpness
        step = np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)
        # A full step may lead upwards where the loss is flat; near the optimum "upwards" is only rounding.
        while loss(coefficients - step) > loss(coefficients) + 1e-9:
            step = step / 2
        coefficients = coefficients - step
        if np.abs(step).max() < 1e-12:
            break
    return coefficients


def log_losses(logits: Array, chosen: Array) -> Array:
    """-y log sigmoid(z) - (1 - y) log sigmoid(-z), finite for every z."""
    losses: Array = np.logaddexp(0, logits) - chosen * logits
    return losses
