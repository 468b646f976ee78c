"""Which pairs are not worth learning from: near ties, and verdicts that only followed the order.

Each filter names its reason. Does not compute labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.config.preferences import PreferencesConfig
from rlaif.records import Comparison
from rlaif.stats.ranks import is_above


def find_reason_to_drop(label: float, comparisons: Sequence[Comparison], *, config: PreferencesConfig) -> str | None:
    """`tie` (the label is nearer to one half than asked), `flipped`, or None to keep the pair.

    label: probability that the pair's first sample is preferred. comparisons: the pair's, one per principle.
    """
    if is_above(config.min_margin, abs(label - 0.5)):
        return "tie"
    if config.drop_flipped and is_flipped_everywhere(comparisons):
        return "flipped"
    return None


def is_flipped_everywhere(comparisons: Sequence[Comparison]) -> bool:
    """Whether under every principle the two orders named different winners; one order alone cannot tell."""
    return bool(comparisons) and all(comparison.flipped is True for comparison in comparisons)
