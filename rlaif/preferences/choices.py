"""Labels of a prompt's pairs -> its best response as one preference, with the probability of each to be the best.

Utilities are Bradley-Terry's, the probabilities Luce's: P(i) = exp(u_i) / sum_k exp(u_k). Responses that no judged pair
joins to the others make no choice with them. Does not call the judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.config.preferences import PreferencesConfig
from rlaif.preferences.filters import find_reason_to_drop
from rlaif.preferences.ranked import Pair, fit_utilities
from rlaif.records import Comparison


class Labelled(NamedTuple):
    """A pair's label, and all that it came from."""

    label: float
    evidence: Sequence[Comparison]


class Choice(NamedTuple):
    """The best of some responses to one prompt, or why there is none."""

    sample_ids: tuple[str, ...]
    """Sorted by id, one for each different text."""
    shares: tuple[float, ...]
    evidence: tuple[Comparison, ...]
    dropped: str | None
    """`failed_judgement`: nothing joins the response to another; `tie` or `flipped` as of pairs."""


def choose(
    names: Sequence[str], labelled: Mapping[Pair, Labelled], *, texts: Mapping[str, str], config: PreferencesConfig
) -> list[Choice]:
    """The choices among a prompt's responses: one for each group of them that judged pairs join.

    texts: of the responses; of two with one text the first by id stands for both.
    """
    found = []
    left = set(names)
    for utilities in fit_utilities({pair: one.label for pair, one in labelled.items()}):
        left -= utilities.keys()
        by_text: dict[str, str] = {}
        for name in sorted(utilities):
            by_text.setdefault(texts.get(name, name), name)
        shown = sorted(by_text.values())
        evidence = [c for pair, one in labelled.items() if pair[0] in utilities for c in one.evidence]
        shares = _shares([utilities[name] for name in shown])
        best, second = sorted(shares, reverse=True)[:2]
        reason = find_reason_to_drop(best / (best + second), evidence, config=config)
        found.append(Choice(tuple(shown), shares, tuple(evidence), reason))
    alone = [Choice((name,), (1.0,), (), "failed_judgement") for name in sorted(left)]
    return [*found, *alone]


def _shares(utilities: Sequence[float]) -> tuple[float, ...]:
    weights = [math.exp(utility - max(utilities)) for utility in utilities]
    return tuple(weight / math.fsum(weights) for weight in weights)
