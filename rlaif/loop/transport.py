"""People's fresh labels of a round beside what the calibration by earlier rounds' labels says of the same pairs.

A calibration that was fitted to one policy's responses may be wrong about those of the next one. Fits nothing, stops
nothing: `rlaif.loop.gates` does.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.calibration.human_rows import chosen_in_order, pair_of
from rlaif.calibration.judged import Judged
from rlaif.calibration.match import Pair
from rlaif.calibration.mix import relabel
from rlaif.calibration.ppi import check_transport
from rlaif.records import CalibrationMap, HumanLabel, TransportCheck


class _Compared(NamedTuple):
    """A labelled pair, in the order in which the calibrated judge prefers the first response."""

    predicted: float
    said: float
    """Mean of people's choices."""
    prompt_id: str
    weight: float


def check_labels_of_round(
    labels: Sequence[HumanLabel], judged: Judged, *, map: CalibrationMap, texts: Mapping[str, str]
) -> TransportCheck | None:
    """What `map`, fitted to earlier rounds, predicts for the round's labels, and what people said. None: too few.

    judged: what the judges say of the round's pairs. texts: the responses by sample id.

    subtle: a pair is taken in the order in which the calibrated judge prefers the first response. Which one is called
    the first is otherwise arbitrary, and the residuals would cancel however wrong the calibration were.
    """
    by_item: dict[tuple[Pair, str], list[HumanLabel]] = defaultdict(list)
    for label in labels:
        by_item[pair_of(label), label.principle_id].append(label)
    compared = [
        _compare(given, relabel(map, judged[key], first=texts[key[0][0]], second=texts[key[0][1]]))
        for key, given in by_item.items()
        if key in judged
    ]
    found = check_transport(
        [one.predicted for one in compared],
        labels=[one.said for one in compared],
        clusters=[one.prompt_id for one in compared],
        weights=[one.weight for one in compared],
    )
    return found and TransportCheck(outcome=found.outcome, residual=found.residual, num_pairs=len(compared))


def _compare(labels: Sequence[HumanLabel], p_first: float) -> _Compared:
    said = statistics.fmean(chosen_in_order(label) for label in labels)
    weight = statistics.fmean(1 / (label.inclusion_probability or 1.0) for label in labels)
    if p_first < 0.5:
        p_first, said = 1 - p_first, 1 - said
    return _Compared(p_first, said, labels[0].prompt_id, weight)
