"""Scores, weighed over their sources -> what training pushes up, before the KL penalty.

Asks for no reward and knows no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.config.ppo import PpoConfig


def is_trained_on(*, finished: bool, config: PpoConfig) -> bool:
    """Whether a response counts at all; one that ran out of tokens does not with `truncated: mask`."""
    return finished or config.truncated != "mask"


def counts_its_score(*, finished: bool, config: PpoConfig) -> bool:
    """Whether anything depends on a response's own score: not where it is masked, nor where another replaces it."""
    return is_trained_on(finished=finished, config=config) and (finished or config.truncated != "replace")


def shape_scores(scores: Sequence[float], *, finished: Sequence[bool], config: PpoConfig) -> list[float]:
    """The weighed scores, and what becomes of them where a response ran out of tokens."""
    shaped = list(scores)
    for place, is_finished in enumerate(finished):
        if is_finished:
            continue
        if config.truncated == "penalise":
            shaped[place] -= config.missing_eos_penalty
        elif config.truncated == "replace":
            shaped[place] = -config.missing_eos_penalty
    return shaped
