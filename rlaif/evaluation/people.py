"""Items that people labelled and a judge compared -> how far to trust the judge's label, before and after calibration.

Reliability, the judge's accuracy by what people would say, what calibration changed, and how well each of several
predictors knows people's choices. Fits no map and knows no run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rlaif.calibration.judged import FittedItems, Judged
from rlaif.calibration.labels import OVERALL
from rlaif.calibration.mix import relabel
from rlaif.calibration.ppi import Rate, as_rated, estimate_rate
from rlaif.calibration.spot_check import ItemKey
from rlaif.evaluation.policy import Change, PolicyPair, compute_change
from rlaif.evaluation.reward_calibration import Claim, RewardCalibration, compute_reliability
from rlaif.records import CalibrationMap, Estimate
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval, share_interval
from rlaif.stats.logits import cross_entropy, log_odds
from rlaif.stats.ranks import is_same

LEAST_WIN = 1e-4
"""The judge's probability in a comparison of policies is read as at least this far from 0 and 1."""
LEAST = 1e-9
"""A label nearer to 0 or 1 is read as this near where its log-odds are needed."""


class HonestRate(Value):
    """A rate about what people would say, by people and the judge together and by people alone."""

    estimate: Estimate
    people: Estimate
    """By people's labels alone."""
    uses_judge: bool
    """False: there are too few labels of the rarer answer, and `estimate` is that of people alone."""
    trust: float
    """The share of the judge's correction that is taken."""
    num_labels: int
    num_items: int
    """Items that the rate is about."""


class CalibrationEffect(Value):
    """What a calibration changed in the judge's labels of a round's pairs."""

    num_pairs: int
    num_turned: int
    """Pairs whose likelier response changed."""
    by_principle: dict[str, tuple[int, int]] = {}
    """Principle -> comparisons that turned, and all; only where the map has a part for each principle."""
    longer: Change | None = None
    """Mean probability of the longer response, over the pairs in which one has more words; None where none has."""


class Predictor(Value):
    """How well something predicts people's choices on pairs that it was not fitted to."""

    name: str
    accuracy: Estimate | None
    """Share of the pairs on which people chose a side, and it names the same; a side that it does not name is half."""
    log_loss: Estimate | None
    num_pairs: int


class PredictedPair(NamedTuple):
    """A pair that people labelled, with the log-odds of each predictor for its first response."""

    prompt_id: str
    label: float
    logits: Mapping[str, float]


def compare_reliability(found: FittedItems) -> tuple[RewardCalibration | None, RewardCalibration | None]:
    """Are the judge's labels as often right as they say: as they came, and calibrated without the item's prompt."""
    weights = [item.weight if found.is_weighted else 1.0 for item in found.items]
    before = [item.judged.read_logit for item in found.items]
    after = [log_odds(p, least=LEAST) for p in found.out_of_fold]
    first, second = (
        compute_reliability(
            [
                Claim(item.prompt_id, logit, item.chosen, weight)
                for item, logit, weight in zip(found.items, logits, weights, strict=True)
            ]
        )
        for logits in (before, after)
    )
    return first, second


def estimate_accuracy(found: FittedItems, *, judged: Judged, drawable: Mapping[ItemKey, str]) -> HonestRate | None:
    """How often the judge takes the side that people would take, over all items that could be drawn.

    A tie of one of them counts one half. drawable: those items, each with its prompt's id. None where the probability
    with which an item was drawn is not known: the labels then describe the labelled items alone.
    """
    if not found.is_weighted:
        return None
    labelled = {item.key: item for item in found.items}
    prompts = {**drawable, **{key: item.prompt_id for key, item in labelled.items()}}
    keys = sorted(prompts)
    agreed = [1 - abs(_side(judged[key].p_first) - labelled[key].chosen) if key in labelled else np.nan for key in keys]
    rate = estimate_rate(
        as_rated(
            [[abs(judged[key].read_logit), 1.0] for key in keys],  # right and wrong have a fixed meaning
            labels=agreed,
            prompts=[prompts[key] for key in keys],
            probabilities=[1 / labelled[key].weight if key in labelled else np.nan for key in keys],
        )
    )
    return as_honest(rate, num_items=len(keys))


def as_honest(rate: Rate | None, *, num_items: int) -> HonestRate | None:
    """The rate as a value of a report."""
    if rate is None:
        return None
    return HonestRate(**rate._asdict(), num_items=num_items)


def estimate_win_rate(
    pairs: Sequence[PolicyPair],
    *,
    p_after: Mapping[tuple[str, str], float],
    chosen: Mapping[tuple[str, str], tuple[float, float]],
) -> HonestRate | None:
    """How often people would find the trained policy's response better; a pair of one text twice counts one half.

    p_after: ids of both responses -> the judge's probability of the trained one; a pair without it is left out.
    chosen: the same key -> the mean of people's choices, 1 the trained one, and the probability with which the pair was
    drawn. None where no pair is labelled.
    """
    known = [pair for pair in pairs if (pair.start.id, pair.trained.id) in p_after]
    asked = [pair for pair in known if pair.start.text != pair.trained.text]
    keys = [(pair.start.id, pair.trained.id) for pair in asked]
    rate = (
        estimate_rate(
            as_rated(
                [
                    [log_odds(p_after[key], least=LEAST_WIN), 1.0] for key in keys
                ],  # start and trained have a fixed meaning
                labels=[chosen[key][0] if key in chosen else np.nan for key in keys],
                prompts=[pair.start.prompt_id for pair in asked],
                probabilities=[chosen[key][1] if key in chosen else np.nan for key in keys],
            )
        )
        if keys
        else None
    )
    found = as_honest(rate, num_items=len(known))
    if found is None:
        return None
    share = len(asked) / len(known)
    return found.model_copy(
        update={"estimate": _with_equal(found.estimate, share), "people": _with_equal(found.people, share)}
    )


def _with_equal(estimate: Estimate, share: float) -> Estimate:
    """The estimate of a share of the pairs, with one half for all others."""
    mean, low, high = (share * x + (1 - share) / 2 for x in (estimate.mean, estimate.low, estimate.high))
    return Estimate(mean=mean, low=low, high=high, n=estimate.n)


def describe_effect(
    map: CalibrationMap, judged: Judged, *, items: Mapping[ItemKey, str], texts: Mapping[str, str]
) -> CalibrationEffect:
    """What the map changes in the labels of these items, each with its prompt's id; of the items under single
    principles those are read that the map has a part for."""
    wholes = [key for key in items if key[1] == OVERALL]
    before = [judged[key].p_first for key in wholes]
    after = [_relabel(map, judged, key, texts) for key in wholes]
    parts: dict[str, tuple[int, int]] = {}
    for part in map.by_principle:
        own = [key for key in items if key[1] == part.name]
        if own:
            parts[part.name] = (_count_turned(own, judged, map=map, texts=texts), len(own))
    return CalibrationEffect(
        num_pairs=len(wholes),
        num_turned=_count_turned(wholes, judged, map=map, texts=texts),
        by_principle=parts,
        longer=_find_longer(wholes, before, after, items=items, texts=texts),
    )


def compare_predictors(pairs: Sequence[PredictedPair]) -> tuple[Predictor, ...]:
    """Each predictor on the same pairs; none without pairs."""
    names = dict.fromkeys(name for pair in pairs for name in pair.logits)
    decided = [pair for pair in pairs if not is_same(pair.label, 0.5)]
    return tuple(
        Predictor(
            name=name,
            accuracy=share_interval(
                [1 - abs(_side_of_logit(pair.logits[name]) - float(pair.label > 0.5)) for pair in decided],
                clusters=[pair.prompt_id for pair in decided],
            ),
            log_loss=mean_interval(
                [cross_entropy(pair.label, pair.logits[name]) for pair in pairs],
                clusters=[pair.prompt_id for pair in pairs],
            ),
            num_pairs=len(pairs),
        )
        for name in names
    )


def _side(p_first: float) -> float:
    return 0.5 if p_first == 0.5 else float(p_first > 0.5)


def _side_of_logit(logit: float) -> float:
    return 0.5 if is_same(logit, 0.0) else float(logit > 0)


def _relabel(map: CalibrationMap, judged: Judged, key: ItemKey, texts: Mapping[str, str]) -> float:
    first, second = key[0]
    return relabel(map, judged[key], first=texts[first], second=texts[second])


def _count_turned(keys: Collection[ItemKey], judged: Judged, *, map: CalibrationMap, texts: Mapping[str, str]) -> int:
    return sum(_side(judged[key].p_first) != _side(_relabel(map, judged, key, texts)) for key in keys)


def _find_longer(
    keys: Sequence[ItemKey],
    before: Sequence[float],
    after: Sequence[float],
    *,
    items: Mapping[ItemKey, str],
    texts: Mapping[str, str],
) -> Change | None:
    lengths = [[len(texts[sample_id].split()) for sample_id in pair] for pair, _ in keys]
    at = [place for place, (first, second) in enumerate(lengths) if first != second]
    if not at:
        return None

    def of_longer(labels: Sequence[float]) -> list[float]:
        return [labels[i] if lengths[i][0] > lengths[i][1] else 1 - labels[i] for i in at]

    return compute_change(of_longer(before), of_longer(after), prompt_ids=[items[keys[i]] for i in at])
