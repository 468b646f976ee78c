"""Scores as the reward source gave them -> what training pushes up, before the KL penalty.

Asks for no reward and knows no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.rewards import ScoreScale


def shape_scores(
    scores: Sequence[float], *, finished: Sequence[bool], scale: ScoreScale, config: PpoConfig
) -> list[float]:
    """Standardised scores, and what becomes of them where a response ran out of tokens."""
    shaped = scale.apply(scores)
    for place, is_finished in enumerate(finished):
        if is_finished:
            continue
        if config.truncated == "penalise":
            shaped[place] -= config.missing_eos_penalty
        elif config.truncated == "replace":
            shaped[place] = -config.missing_eos_penalty
    return shaped
