"""Labels of a draw that may not be finished -> how far people and judge agree, and about how many labels remain.

An interval that was made for a fixed number of labels is given only when the set is closed: looked at after each label,
it would be wrong far more often than it says. Before that there are bounds that hold whenever somebody stops.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from rlaif.calibration.answers import Answered
from rlaif.calibration.taken_in import chosen_side, key_of_label
from rlaif.records import DrawnItem, Estimate, HumanLabel, SpotCheck
from rlaif.stats.betting import ALPHA, certified_bound, mean_of, replaced_stream
from rlaif.stats.intervals import drawn_share, effective_size, share_interval
from rlaif.stats.logits import P_FIRST, canonical_pair

HALF_WIDTH = 0.1
"""Half the width of the interval for which the needed labels are named."""
Z = 1.96


class Annotator(NamedTuple):
    """How far one annotator is."""

    name: str
    num_answered: int
    num_unclear: int
    num_skipped: int


class SoFar(NamedTuple):
    """What the labels of a draw say by now."""

    num_items: int
    num_labelled: int
    """Items with a label by anybody."""
    annotators: tuple[Annotator, ...]
    is_closed: bool
    """Every annotator who began has answered every item."""
    agreement: float | None
    """Weighted mean over items of 1 - |judge's side - people's|, a tie being half a side; None without labels."""
    interval: Estimate | None
    """95 %, about the pairs that could be drawn, for a fixed number of labels; None while the set is open."""
    bounds: Estimate | None
    """95 % whenever somebody looks or stops; None where the set is closed, and without labels."""
    between_people: Estimate | None
    """Share of the items of two people on which they chose the same; None while the set is open, and for one person."""
    num_for_half_width: int | None
    """Labels that would make an interval of +- HALF_WIDTH, by what is known now; None with fewer than ten."""


def sum_up(check: SpotCheck, states: Sequence[Answered], labels: Sequence[HumanLabel]) -> SoFar:
    """What the labels of a draw say by now."""
    items = {(canonical_pair(*item.sample_ids), item.principle_id): item for item in check.items}
    by_item: dict[str, list[HumanLabel]] = defaultdict(list)
    for label in labels:
        by_item[items[key_of_label(label)[1:]].item_id].append(label)
    labelled = [item for item in check.items if item.item_id in by_item]
    values = [_agree(item, by_item[item.item_id]) for item in labelled]
    weights = [1 / item.inclusion_probability for item in labelled]
    is_closed = bool(labelled) and all(len(state.answers) == len(check.items) for state in states)
    strata = [item.stratum for item in labelled]
    probabilities = [item.inclusion_probability for item in labelled]
    return SoFar(
        num_items=len(check.items),
        num_labelled=len(labelled),
        annotators=tuple(map(_describe_annotator, states)),
        is_closed=is_closed,
        agreement=statistics.fmean(values, weights) if values else None,
        interval=drawn_share(values, strata=strata, probabilities=probabilities) if is_closed else None,
        bounds=None if is_closed or not labelled else _find_bounds(check, by_item, num_people=len(states)),
        between_people=_between_people([by_item[item.item_id] for item in labelled]) if is_closed else None,
        num_for_half_width=_find_needed(values, weights),
    )


def _find_bounds(check: SpotCheck, by_item: Mapping[str, Sequence[HumanLabel]], *, num_people: int) -> Estimate | None:
    """Bounds on the agreement over all items that could be drawn, from the items in the order of the sheet.

    subtle: the order is that of the sheet and not of the answers. An item before the last answered one that has no
    label, because it was skipped, is unclear or waits for a second annotator, counts against either bound: whoever
    skips what does not suit would else certify anything.
    """
    agreed = [
        _agree(item, by_item[item.item_id]) if len(by_item.get(item.item_id, ())) == num_people else None
        for item in check.items
    ]
    last = max((place for place, value in enumerate(agreed) if value is not None), default=None)
    if last is None:
        return None
    # each place of the sheet holds an item with 1 / n of its probability, as a draw with replacement would
    chances = [item.inclusion_probability / len(check.items) for item in check.items[: last + 1]]
    least, most = (
        replaced_stream(
            [unknown if value is None else value for value in agreed[: last + 1]],
            probabilities=chances,
            list_size=check.num_frame,
        )
        for unknown in (0.0, 1.0)
    )
    low = certified_bound(least, side="above", alpha=ALPHA / 2)
    high = certified_bound(most, side="below", alpha=ALPHA / 2)
    return Estimate(mean=mean_of(least), low=low, high=max(low, high), n=last + 1)


def _describe_annotator(state: Answered) -> Annotator:
    choices = Counter(answer.choice for answer in state.answers.values())
    return Annotator(state.annotator, choices.total(), choices["unclear"], len(state.skips))


def _agree(item: DrawnItem, labels: Sequence[HumanLabel]) -> float:
    """1 - |judge's side - the mean of people's|."""
    judged = 0.5 if item.p_judge == 0.5 else float(item.p_judge > 0.5)
    chosen = [P_FIRST[label.choice] for label in labels]
    turned = [
        p if label.sample_ids[0] == item.sample_ids[0] else 1 - p for p, label in zip(chosen, labels, strict=True)
    ]
    return 1 - abs(judged - statistics.fmean(turned))


def _between_people(by_item: Sequence[Sequence[HumanLabel]]) -> Estimate | None:
    """Each two people on one item, weighted as the item is and clustered by prompt."""
    twos = [(a, b) for labels in by_item for a, b in combinations(labels, 2)]
    return share_interval(
        [float(chosen_side(a) == chosen_side(b)) for a, b in twos],
        clusters=[a.prompt_id for a, _ in twos],
        weights=[1 / (a.inclusion_probability or 1) for a, _ in twos],
    )


def _find_needed(values: Sequence[float], weights: Sequence[float]) -> int | None:
    if len(values) < 10:
        return None
    # a share seen as 0 or 1 is taken as one label away from it: nothing varied yet
    share = min(max(statistics.fmean(values, weights), 1 / len(values)), 1 - 1 / len(values))
    design_effect = len(weights) / effective_size(weights)
    return math.ceil(share * (1 - share) * (Z / HALF_WIDTH) ** 2 * design_effect)
