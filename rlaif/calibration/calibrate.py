"""The judge's log-odds and people's choices on the same pairs -> the map from the judge's labels to people's.

p(first is preferred) = sigmoid(slope * logit + length * difference of lengths), or with a slope for each principle or
for each judge of a panel. No map has an intercept, so swapping the responses swaps the label. Does not read files and
does not know what the labels are for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlaif.calibration.fits import (
    SPREADS,
    Array,
    Data,
    Observation,
    Part,
    as_arrays,
    fit_map,
    log_losses,
    map_logits,
)
from rlaif.records import CalibrationMap, MapKind, digest_text
from rlaif.stats.logits import sigmoid
from rlaif.stats.ranks import is_above

NUM_FOLDS = 5
MIN_PROMPTS = 10
"""With labels on fewer prompts no map can be chosen, and the judge's labels stay as they are."""
KINDS: tuple[MapKind, ...] = ("identity", "temperature", "temperature_length")
"""The candidates that any labels can be fitted by, the simplest first."""
MIN_PANEL_LABELS = 100
"""Labels from which on each judge of a panel may have its own slope."""
MIN_POOLED_LABELS, MIN_POOLED_PRINCIPLES = 200, 3
"""Labels, and principles under which they are, from which on each principle may have its own slope and length."""
TOLERANCE = 0.5
"""Standard errors by which a simpler map may be worse than the best one. The front desk's judge likes length: of 100
draws of 100 labels a whole standard error left it uncalibrated in 27, a half in 12 and none in 4. A judge that needs no
map was given one, of little effect, in 7, 20 and 34 of 120 draws."""
PANEL_TOLERANCE = 0.0
"""The same for a panel whose judges may have their own slopes: that they deserve equal weights is no simple map's
assumption. With five simulated judges of different quality and 100 labels a half left their mean as it was in 23 of 40
draws and lost .007 nats; with five equal ones the 0 costs .001 (benchmarks/panel.py)."""
HARD_LABEL = 0.05
"""A verdict without log-probabilities is 0, 1/2 or 1, whose logit is infinite: the map reads it as .05, 1/2 or .95."""


class Calibration(NamedTuple):
    map: CalibrationMap
    log_loss: dict[MapKind, float]
    """Cross-validated mean log loss of each candidate, in nats."""
    out_of_fold: list[float]
    """Per observation the label by a map of the chosen kind, fitted without the observation's prompt."""


def calibrate(observations: Sequence[Observation], *, length_sd: float, logit_unit: float = 1.0) -> Calibration:
    """The simplest map whose cross-validated log loss is within TOLERANCE standard errors of the best one's, or within
    PANEL_TOLERANCE where the judges of a panel may have their own slopes.

    Folds are drawn by prompt, so no prompt is both fitted and measured. The standard error is that of the difference
    to the best map, clustered by prompt. length_sd: standard deviation of length in words, kept with the map.
    logit_unit: how large the judge's log-odds usually are, where their scale means nothing, as that of a contrast.
    """
    data = as_arrays(observations)._replace(unit=logit_unit)
    prompts = [observation.prompt_id for observation in observations]
    folds = assign_folds(prompts)
    candidates = {kind: _cross_validate(data, kind, folds=folds) for kind in _find_kinds(data)}
    losses = {kind: log_losses(candidate.logits, data.chosen) for kind, candidate in candidates.items()}
    if len(set(prompts)) < MIN_PROMPTS:
        losses = {"identity": losses["identity"]}
    means = {kind: float(np.average(loss, weights=data.weights)) for kind, loss in losses.items()}
    best = min(means, key=lambda kind: (means[kind], list(means).index(kind)))
    tolerance = PANEL_TOLERANCE if "panel" in losses else TOLERANCE
    kind = next(
        kind
        for kind, loss in losses.items()
        if not is_above(means[kind], means[best] + tolerance * _standard_error(loss - losses[best], data, prompts))
    )
    return Calibration(
        map=fit_map(data, kind, length_sd=length_sd, spread=candidates[kind].spread),
        log_loss=means,
        out_of_fold=[sigmoid(float(logit)) for logit in candidates[kind].logits],
    )


def apply_map(map: CalibrationMap, *, logit: float, length: float, parts: Sequence[Part] = ()) -> float:
    """The calibrated label: the probability that people prefer the first response.

    parts: what the logit is the mean of. Without them a map with parts applies its common slope and length.
    """
    if parts and (map.by_principle or map.by_judge):
        data = as_arrays([Observation("", logit, length, chosen=0.5, parts=tuple(parts))])
        return sigmoid(float(map_logits(map, data)[0]))
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


def _find_kinds(data: Data) -> tuple[MapKind, ...]:
    """The candidates for these labels, the simplest first."""
    kinds = [*KINDS]
    if len(data.judges.names) > 1 and len(data.chosen) >= MIN_PANEL_LABELS:
        kinds.append("panel")
    if len(data.principles.names) >= MIN_POOLED_PRINCIPLES and len(data.chosen) >= MIN_POOLED_LABELS:
        kinds.append("pooled")
    return tuple(kinds)


class _Candidate(NamedTuple):
    logits: Array
    """Per observation the mapped logit, by a map fitted on the other folds."""
    spread: float
    """Of a map with parts, how far these may lie from their mean."""


def _cross_validate(data: Data, kind: MapKind, *, folds: Sequence[int]) -> _Candidate:
    """The mapped logits of a kind; of a map with parts those of the spread that predicts the other folds best."""
    if kind in KINDS:
        return _Candidate(_predict_out_of_fold(data, kind, folds=folds, spread=SPREADS[-1]), SPREADS[-1])
    found = [_Candidate(_predict_out_of_fold(data, kind, folds=folds, spread=spread), spread) for spread in SPREADS]
    return min(found, key=lambda one: float(np.average(log_losses(one.logits, data.chosen), weights=data.weights)))


def _predict_out_of_fold(data: Data, kind: MapKind, *, folds: Sequence[int], spread: float) -> Array:
    place = np.array(folds)
    mapped = np.empty(len(place))
    for fold in set(folds):
        found = fit_map(data.rows(place != fold), kind, length_sd=1.0, spread=spread)
        here = place == fold
        mapped[here] = map_logits(found, data.rows(here))
    return mapped


def _standard_error(differences: Array, data: Data, prompts: Sequence[str]) -> float:
    """Standard error of the weighted mean of differences, clustered by prompt (Cochran 1977, chapter 9A)."""
    mean = np.average(differences, weights=data.weights)
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    residuals = np.bincount([places[prompt] for prompt in prompts], weights=data.weights * (differences - mean))
    n = len(residuals)
    return float(math.sqrt(n / (n - 1) * (residuals**2).sum()) / data.weights.sum()) if n > 1 else 0.0
