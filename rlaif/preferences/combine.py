"""Labels of one pair, under several principles or by several judges -> one label, or why there is none.

The rule is one, `rlaif.stats.logits.mean_label`: logits are averaged by weight, and probabilities where one label has
no logit. Reads no comparison and knows no constitution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.records import Panel
from rlaif.stats.logits import mean_label


class PairLabel(NamedTuple):
    """What a judge, or a panel of them, says of a pair over all principles."""

    p_first: float
    """Probability that the first of the pair, in canonical order, is preferred."""
    logit: float | None
    """None where a comparison has no log-probabilities; `p_first` is then a mean of verdicts."""


def find_judges(panel: Panel, judged: Mapping[str, object], *, min_judges: int | None) -> list[str] | str:
    """The judges with a label of a pair, in the panel's order; or why they are too few to label it.

    judged: by judge id. min_judges: so many are enough; None: all of them are needed.
    """
    found = [member.judge_id for member in panel.members if member.judge_id in judged]
    needed = len(panel.members) if min_judges is None else min(min_judges, len(panel.members))
    if found and len(found) >= needed:
        return found
    return "too_few_judges" if found else "failed_judgement"


def combine_labels(labels: Sequence[PairLabel], *, weights: Sequence[float]) -> PairLabel:
    """sigmoid(sum w s / sum w) over principles or judges; where a label has no logit the mean of the probabilities.

    Averaging logits is the weighted geometric mean of the odds: one certainty cannot be outvoted by several lukewarm
    labels, and swapping the samples swaps the label.
    """
    return PairLabel(*mean_label(labels, weights=weights))
