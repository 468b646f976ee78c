"""People's labels beside the judge's labels of the same pairs -> the items that a map is fitted to, and the fit.

Labels of single principles and of whole pairs are items alike. Measures no agreement and reads no files.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.calibration.agreement import choice_of
from rlaif.calibration.calibrate import HARD_LABEL, Calibration, calibrate, length_difference
from rlaif.calibration.fits import Observation, Part
from rlaif.calibration.human_rows import chosen_in_order, pair_of
from rlaif.calibration.spot_check import ItemKey
from rlaif.records import CalibrationMap, HumanLabel, Verdict
from rlaif.stats.logits import log_odds


class JudgedPair(NamedTuple):
    """The judge's label of the first of a pair in canonical order, under one principle or over all."""

    p_first: float
    logit: float | None
    """None without log-probabilities."""
    parts: tuple[Part, ...] = ()
    """What the logit is the mean of, by principle and judge; empty without log-probabilities."""

    @property
    def read_logit(self) -> float:
        """The logit as a map reads it: finite also for a verdict alone."""
        return log_odds(self.p_first, least=HARD_LABEL) if self.logit is None else self.logit


Judged = Mapping[ItemKey, JudgedPair]
"""The judge's label of each item; `overall` is the label over all principles."""


class LabelledItem(NamedTuple):
    """A pair under one principle that people labelled and the judge compared."""

    key: ItemKey
    prompt_id: str
    labels: list[HumanLabel]
    judged: JudgedPair

    @property
    def weight(self) -> float:
        """One over the probability with which the pair was drawn to be labelled."""
        return statistics.fmean(1 / (label.inclusion_probability or 1.0) for label in self.labels)

    @property
    def chosen(self) -> float:
        """The mean of people's choices: 1 the first of the pair in canonical order, 0 the second."""
        return statistics.fmean(chosen_in_order(label) for label in self.labels)


class FittedItems(NamedTuple):
    """Items, and the map that was fitted to them."""

    items: list[LabelledItem]
    is_weighted: bool
    """Each item counts one over the probability with which it was drawn; False: not all are known, all count alike."""
    fitted: Calibration

    @property
    def out_of_fold(self) -> list[float]:
        """Of each item the calibrated label by a fit that did not see its prompt.

        All labels of an item have one logit, one length and one fold, so that of its first label is taken.
        """
        found, at = [], 0
        for item in self.items:
            found.append(self.fitted.out_of_fold[at])
            at += len(item.labels)
        return found


def fit_items(
    labels: Sequence[HumanLabel], judged: Judged, *, texts: Mapping[str, str], is_scaled: bool
) -> FittedItems | None:
    """The labelled items and their map; None where the judge compared no labelled pair.

    texts: the samples' texts by id; the spread of their lengths is the map's unit of length. is_scaled: whether the
    judge's log-odds claim a probability; those of a contrast do not, and their size is then the unit of the slope.
    """
    items = _find_items(labels, judged)
    if not items:
        return None
    unit = CalibrationMap(length_sd=_length_sd(texts, judged))
    is_weighted = all(label.inclusion_probability is not None for label in labels)
    observations = [
        Observation(
            prompt_id=item.prompt_id,
            logit=item.judged.read_logit,
            length=length_difference(*(texts[i] for i in item.key[0]), map=unit),
            chosen=chosen_in_order(label),
            weight=item.weight if is_weighted else 1.0,
            parts=item.judged.parts,
        )
        for item in items
        for label in item.labels
    ]
    logit_unit = 1.0 if is_scaled else _logit_size(judged)
    return FittedItems(items, is_weighted, calibrate(observations, length_sd=unit.length_sd, logit_unit=logit_unit))


def majority(labels: Sequence[HumanLabel]) -> Verdict:
    """What most people chose; a tie where no choice has the most."""
    counts = Counter(choice_of(chosen_in_order(label)) for label in labels).most_common(2)
    return "tie" if len(counts) > 1 and counts[0][1] == counts[1][1] else counts[0][0]


def _find_items(labels: Sequence[HumanLabel], judged: Judged) -> list[LabelledItem]:
    items: dict[ItemKey, LabelledItem] = {}
    for label in labels:
        key = (pair_of(label), label.principle_id)
        if key in judged:
            items.setdefault(key, LabelledItem(key, label.prompt_id, [], judged[key])).labels.append(label)
    return [*items.values()]


def _length_sd(texts: Mapping[str, str], judged: Judged) -> float:
    """Standard deviation, in words, of the lengths of the compared responses; 1 where all are equally long."""
    ids = dict.fromkeys(sample_id for pair, _ in judged for sample_id in pair)
    return statistics.pstdev([len(texts[sample_id].split()) for sample_id in ids]) or 1.0


def _logit_size(judged: Judged) -> float:
    """Root mean square of the log-odds of all compared pairs; 1 where all are zero."""
    return math.sqrt(statistics.fmean(pair.read_logit**2 for pair in judged.values())) or 1.0
