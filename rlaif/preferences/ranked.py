"""Labels of a prompt's pairs -> utilities of its responses, by Bradley-Terry on soft wins.

Only responses that judged pairs join, directly or through others, can be set against each other. Fits one prompt
and one judge at a time; reads no records and drops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlaif.stats.bradley_terry import find_reachable, maximise
from rlaif.stats.logits import sigmoid
from rlaif.stats.ranks import is_same

Pair = tuple[str, str]
SUREST = 0.9999
"""A surer label counts as this: a response that lost for certain would have no finite utility."""


def fit_utilities(labels: Mapping[Pair, float]) -> list[dict[str, float]]:
    """The connected responses of each group -> utility, zero on average, so that p(a beats b) = sigmoid(u_a - u_b).

    labels: pair -> probability that its first is better, a soft win for it; the rest is one for the second.
    """
    names = sorted({name for pair in labels for name in pair})
    groups = []
    while names:
        place = {name: at for at, name in enumerate(names)}
        wins = np.zeros((len(names), len(names)))
        for (first, second), label in labels.items():
            if first in place:
                share = min(max(label, 1 - SUREST), SUREST)
                wins[place[first], place[second]] += share
                wins[place[second], place[first]] += 1 - share
        inside = find_reachable(wins > 0)
        scores = maximise(wins[np.ix_(inside, inside)])
        groups.append(
            dict(zip([name for name, is_in in zip(names, inside, strict=True) if is_in], scores, strict=True))
        )
        names = [name for name, is_in in zip(names, inside, strict=True) if not is_in]
    return [{name: float(score) for name, score in group.items()} for group in groups]


def label_by_utility(utilities: Mapping[str, float], pair: Pair) -> float:
    """Probability that the first of the pair is better; exactly one less the other way round.

    Utilities that are equal but for the fit's rounding make exactly one half.
    """
    gap = utilities[pair[0]] - utilities[pair[1]]
    return 0.5 if is_same(gap, 0.0) else sigmoid(gap)
