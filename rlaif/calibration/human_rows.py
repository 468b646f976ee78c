"""People's labels of whole pairs -> people's own preferences, one of each pair.

Where several people labelled a pair their choices are averaged, or combined by how often each of them errs. Knows
nothing of what a judge said.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rlaif.calibration.dawid_skene import combine_choices
from rlaif.calibration.labels import OVERALL
from rlaif.calibration.match import Pair
from rlaif.config.calibration import CombinePeople
from rlaif.records import Constitution, HumanLabel, Preference, Verdict
from rlaif.stats.logits import P_FIRST, canonical_pair, share_of_lead

_CHOICES: Mapping[float, Verdict] = {p: choice for choice, p in P_FIRST.items()}
_EXCHANGED: Mapping[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


def find_whole(labels: Sequence[HumanLabel], constitution: Constitution) -> list[HumanLabel]:
    """The labels of pairs as a whole: `overall`, or under the principle that alone has a weight."""
    weighed = [principle.id for principle in constitution.principles if principle.weight > 0]
    names = {OVERALL, *weighed} if len(weighed) == 1 else {OVERALL}
    return [label for label in labels if label.principle_id in names]


def human_preferences(
    labels: Sequence[HumanLabel],
    *,
    weight: float,
    constitution: Constitution,
    round: int,
    combine: CombinePeople = "mean",
) -> dict[Pair, Preference]:
    """People's preference of each pair that they labelled as a whole; several people make a soft label.

    combine: the mean of their choices, or the probability that the first is right by how often each person errs.
    """
    by_pair: dict[Pair, list[HumanLabel]] = defaultdict(list)
    for label in find_whole(labels, constitution):
        by_pair[pair_of(label)].append(label)
    combined = _mean_choices(by_pair) if combine == "mean" else _likely_choices(by_pair)
    return {
        pair: Preference(
            prompt_id=given[0].prompt_id,
            sample_ids=pair,
            label=combined[pair],
            weight=weight,
            source="human",
            evidence_ids=tuple(dict.fromkeys(label.id for label in given)),
            constitution_id=constitution.id,
            round=round,
        )
        for pair, given in by_pair.items()
    }


def pair_of(label: HumanLabel) -> Pair:
    """The label's samples in canonical order."""
    return canonical_pair(*label.sample_ids)


def chosen_in_order(label: HumanLabel) -> float:
    """How much the label is for the first of the pair in canonical order."""
    chosen = P_FIRST[label.choice]
    return chosen if label.sample_ids[0] == pair_of(label)[0] else 1 - chosen


def _mean_choices(by_pair: Mapping[Pair, Sequence[HumanLabel]]) -> dict[Pair, float]:
    return {pair: statistics.fmean(chosen_in_order(label) for label in given) for pair, given in by_pair.items()}


def _likely_choices(by_pair: Mapping[Pair, Sequence[HumanLabel]]) -> dict[Pair, float]:
    """Which response of a pair is called the first is arbitrary, so every pair counts as it is and exchanged."""
    if not by_pair:
        return {}
    items = [{label.annotator: _CHOICES[chosen_in_order(label)] for label in given} for given in by_pair.values()]
    exchanged = [{who: _EXCHANGED[choice] for who, choice in item.items()} for item in items]
    chances = combine_choices([*items, *exchanged]).probabilities
    return {
        pair: share_of_lead((found.get("first", 0.0) - found.get("second", 0.0)) / 2)
        for pair, found in zip(by_pair, chances, strict=False)
    }
