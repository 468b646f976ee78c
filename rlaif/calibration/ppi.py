"""The judge on every item, people on a few -> what people would say on average, with an interval that holds.

Prediction-powered inference (Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453) with the judge calibrated out of
fold: people's mean, corrected by how far the judge's mean over all items is from its mean over the labelled ones.
People's labels alone are always computed beside it. For samples whose size was fixed beforehand; while labels still
come in, `stats.betting` has the intervals. Draws nothing and reads no files.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif.calibration.calibrate import assign_folds
from rlaif.calibration.fits import SLOPE_PRIOR, fit_ridge
from rlaif.records import Estimate
from rlaif.stats.intervals import degrees_of_freedom, mean_interval, mid_p, share_interval, share_of_error, t_quantile
from rlaif.stats.logits import sigmoids

Array = NDArray[np.float64]

MIN_RARER = 10
"""Labels of the rarer answer, ties half each: with fewer, people's labels alone give the figure."""
MIN_PROMPTS = 10
"""Prompts with labels: with fewer, people's labels alone give the figure."""
MAX_DEGREES = 10_000
"""Degrees of freedom with which Student's t is the normal distribution."""
MARGIN = 0.05
"""How far the calibrated judge's mean may be from people's before its calibration no longer holds."""


class Rated(NamedTuple):
    """All items that a rate is about, as columns."""

    features: Array
    """What is known of each item without people, of shape (N, k). The judge's log-odds come first. A column of ones is
    an intercept: right where the two answers have a fixed meaning, wrong where their order was drawn."""
    labels: Array
    """What a person said, between 0 and 1, of shape (N,); nan where nobody was asked."""
    prompts: NDArray[np.int64]
    """The number of each item's prompt, from 0."""
    weights: Array
    """One over the probability with which an item was drawn to be labelled; read where there is a label."""


class Rate(NamedTuple):
    """People's mean over all items. The interval is that of the prompts that the items were drawn from."""

    estimate: Estimate
    """The figure to report."""
    people: Estimate
    """The figure by people's labels alone, without the judge."""
    uses_judge: bool
    """Whether the judge is in the figure; a rule that looks at no width decides it."""
    trust: float
    """The share of the judge's correction that is taken, 0 to 1; 0 where the judge is not used."""
    num_labels: int


def as_rated(
    features: ArrayLike,
    *,
    labels: ArrayLike,
    prompts: Sequence[str],
    probabilities: ArrayLike | None = None,
) -> Rated:
    """Columns, checked. labels: nan or None where nobody was asked. probabilities: of every labelled item."""
    said = np.asarray(labels, dtype=np.float64)
    known = ~np.isnan(said)
    if bool(np.any((said[known] < 0) | (said[known] > 1))):
        raise ValueError("a label lies in [0, 1]")
    weights = np.ones(len(said))
    if probabilities is not None:
        drawn = np.asarray(probabilities, dtype=np.float64)
        if not bool(np.all((drawn[known] > 0) & (drawn[known] <= 1))):
            raise ValueError("every labelled item needs the probability with which it was drawn, in (0, 1]")
        weights[known] = 1 / drawn[known]
    # By name, so that folds and figures do not depend on the order of rows.
    place = {prompt: number for number, prompt in enumerate(sorted(set(prompts)))}
    columns = np.asarray(features, dtype=np.float64)
    if not bool(np.isfinite(columns).all()):
        raise ValueError("the judge's log-odds and the other features are finite numbers")
    return Rated(columns, said, np.array([place[prompt] for prompt in prompts], dtype=np.int64), weights)


def estimate_rate(items: Rated) -> Rate | None:
    """People's mean, by people and the judge together where there are labels enough; None without labels.

    The rule for "enough" is fixed beforehand: MIN_RARER labels of the rarer answer on MIN_PROMPTS prompts. Choosing
    the narrower of two intervals instead would make neither cover.
    """
    at = np.flatnonzero(~np.isnan(items.labels))
    said, prompts, weights = items.labels[at], items.prompts[at], items.weights[at]
    if not len(at):
        return None
    people = _by_people_alone(said, prompts=prompts, weights=weights)
    alone = Rate(people, people, uses_judge=False, trust=0.0, num_labels=len(at))
    if min(said.sum(), (1 - said).sum()) < MIN_RARER or len(set(prompts.tolist())) < MIN_PROMPTS:
        return alone
    predicted = predict_out_of_fold(items)
    mean, error, trust = _correct(items, predicted, at)
    df = _degrees(said - trust * predicted[at], prompts=prompts, weights=weights) - 1
    if not 0 < mean < 1 or error <= 0 or df < 1:
        return alone
    estimate = share_of_error(mean, standard_error=error, df=df, n=people.n)
    return Rate(estimate, people, uses_judge=True, trust=trust, num_labels=len(at))


def _by_people_alone(said: Array, *, prompts: NDArray[np.int64], weights: Array) -> Estimate:
    """People's mean. A plain count, yes or no, one label a prompt and all drawn alike, is a binomial's: its spread
    follows from its mean, and where few say yes Student's t would allow for an error that it does not have."""
    if _are_single(prompts, weights) and bool(np.isin(said, (0.0, 1.0)).all()):
        return mid_p(int(said.sum()), len(said))
    found = share_interval(said.tolist(), clusters=prompts.tolist(), weights=weights.tolist())
    assert found is not None  # there are labels
    return found


def _degrees(residuals: Array, *, prompts: NDArray[np.int64], weights: Array) -> int:
    """Degrees of freedom of the residuals' standard error.

    Student's t is for values of kurtosis 3, which a yes or no never has near one half: its spread is then known better.
    The variance of n values of kurtosis k is known as well as from 2 (n - 1) / (k - 1) degrees (Satterthwaite 1946).
    Only more degrees are taken, and only of single labels drawn alike: of few prompts the kurtosis is not known.
    """
    df = degrees_of_freedom(residuals.tolist(), clusters=prompts.tolist(), weights=weights.tolist())
    centred = residuals - residuals.mean()
    square = float(centred @ centred)
    if not _are_single(prompts, weights) or square <= 0:
        return df
    n = len(residuals)
    kurtosis = n * float(np.sum(centred**4)) / square**2 * (n + 1) / (n - 1)  # what a small sample lacks, for normals
    return df if kurtosis >= 3 else min(MAX_DEGREES, int(2 * df / max(kurtosis - 1, 1e-9)))


def _are_single(prompts: NDArray[np.int64], weights: Array) -> bool:
    """Whether no two labels share a prompt, and all were drawn with one probability."""
    return len(np.unique(prompts)) == len(prompts) and bool(np.all(weights == weights[0]))


def predict_out_of_fold(items: Rated) -> Array:
    """Each item's calibrated label, of shape (N,), by fits that saw no label of its prompt.

    A prompt with labels takes the fit without its fold; any other prompt the mean over all folds' fits. The judge's
    lead, 2 p - 1, is one more feature: no multiple of heavy-tailed log-odds is as good as the judge's own p.
    """
    features = np.column_stack([items.features, 2 * sigmoids(items.features[:, 0]) - 1])
    known = ~np.isnan(items.labels)
    names = np.unique(items.prompts[known])
    folds = np.full(int(items.prompts.max()) + 1, -1)
    folds[names] = assign_folds([str(name) for name in names.tolist()])
    place = folds[items.prompts]
    prior = np.array([SLOPE_PRIOR] + [0.0] * (features.shape[1] - 1))
    predicted, others = np.zeros(len(place)), place < 0
    numbers = sorted(set(folds[names].tolist()))
    for fold in numbers:
        rows = known & (place != fold)
        weights = items.weights[rows] / items.weights[rows].mean()
        found = fit_ridge(features[rows], chosen=items.labels[rows], weights=weights, prior=prior)
        fitted = sigmoids(features @ found)
        predicted[place == fold] = fitted[place == fold]
        predicted[others] += fitted[others] / len(numbers)
    return predicted


def _correct(items: Rated, predicted: Array, at: NDArray[np.int64]) -> tuple[float, float, float]:
    """The corrected mean, its standard error, and the share of the correction that makes the error smallest.

    mean = people's mean + trust x (the judge's mean over all items - its mean over the labelled ones). Each prompt has
    its part in the error, a + trust x d, so items of one prompt may depend on each other in any way.
    """
    weights = items.weights[at] / items.weights[at].sum()
    said, here = items.labels[at], predicted[at]
    people, judge_here, judge = float(weights @ said), float(weights @ here), float(predicted.mean())
    size = int(items.prompts.max()) + 1
    num = len(np.unique(items.prompts[at]))
    scale = math.sqrt(num / (num - 1))
    a = scale * np.bincount(items.prompts[at], weights * (said - people), minlength=size)
    everywhere = np.bincount(items.prompts, (predicted - judge) / len(predicted), minlength=size)
    d = everywhere - scale * np.bincount(items.prompts[at], weights * (here - judge_here), minlength=size)
    spread = float(d @ d)
    trust = min(1.0, max(0.0, -float(a @ d) / spread)) if spread > 0 else 0.0
    parts = a + trust * d
    return people + trust * (judge - judge_here), math.sqrt(float(parts @ parts)), trust


class Transport(NamedTuple):
    """Whether a calibration still holds for items that it was not fitted on."""

    outcome: Literal["holds", "does not hold", "undecided"]
    residual: Estimate
    """Mean of people's labels less the calibrated judge's, on the same items."""


def check_transport(
    predicted: Sequence[float],
    *,
    labels: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
    margin: float = MARGIN,
) -> Transport | None:
    """Fresh labels beside the calibrated judge's on the same items. None with fewer than two prompts.

    It holds where the whole interval of the mean residual is within the margin. It does not hold where the interval
    excludes zero and the mean is beyond the margin: by chance alone at most one gate in twenty. Else it is undecided,
    and more labels would tell.
    """
    residuals = [label - p for label, p in zip(labels, predicted, strict=True)]
    found = mean_interval(residuals, clusters=clusters, weights=weights)
    if found is None:
        return None
    # subtle: where no rare answer is among the labels the residuals hardly vary; what the calibration itself says of
    # their spread then counts.
    counts = np.ones(len(residuals)) if weights is None else np.asarray(weights, dtype=np.float64)
    p = np.asarray(predicted, dtype=np.float64)
    implied = math.sqrt(float(counts**2 @ (p * (1 - p)))) / float(counts.sum())
    df = degrees_of_freedom(residuals, clusters=clusters, weights=weights)
    half = max(found.high - found.mean, t_quantile(0.975, df=df) * implied)
    residual = Estimate(mean=found.mean, low=found.mean - half, high=found.mean + half, n=found.n)
    if -margin <= residual.low and residual.high <= margin:
        return Transport("holds", residual)
    is_off = abs(residual.mean) > margin and not residual.low <= 0 <= residual.high
    return Transport("does not hold" if is_off else "undecided", residual)
