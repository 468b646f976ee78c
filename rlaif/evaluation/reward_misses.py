"""Held-out pairs with their rewards -> those on which the reward model prefers the reply that the label does not.

Texts are named by their digests, so that a redacted one is in no report. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.evaluation.reward_model import ScoredPair
from rlaif.records import Value, digest_text

MAX_MISSES = 500


class RewardMiss(Value):
    """A held-out preference that the rewards contradict."""

    prompt_id: str
    preferred: str
    """Digest of the text that the label prefers."""
    other: str
    """Digest of the text that has the higher reward."""
    label: float
    """Probability that the preferred one is preferred; above one half."""
    gap: float
    """How much higher the other one's reward is."""


def find_reward_misses(pairs: Sequence[ScoredPair]) -> tuple[RewardMiss, ...]:
    """The pairs that rewards and labels order differently, the widest gaps first; at most `MAX_MISSES`."""
    found = []
    for pair in pairs:
        gap = pair.score_second - pair.score_first
        if pair.responses is not None and (pair.label - 0.5) * gap > 0:
            first, second = map(digest_text, pair.responses)
            is_first = pair.label > 0.5
            found.append(
                RewardMiss(
                    prompt_id=pair.prompt_id,
                    preferred=first if is_first else second,
                    other=second if is_first else first,
                    label=max(pair.label, 1 - pair.label),
                    gap=abs(gap),
                )
            )
    return tuple(sorted(found, key=lambda miss: (-miss.gap, miss.prompt_id))[:MAX_MISSES])
