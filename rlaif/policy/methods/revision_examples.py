"""Pairs -> what a reviser learns: a response, how much is wrong with it, and a better one.

A reconstruction: the paper on self-evolution fine-tuning (arXiv:2406.10813) has published no code, and we had no more
of it than its abstract. Pure: knows no token and no model.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rlaif.policy.preference_items import Item
from rlaif.records import Prompt
from rlaif.stats.logits import log_odds, sigmoid
from rlaif.stats.ranks import find_highest, is_above, is_same

Tag = Literal["GOOD", "MINOR", "MAJOR"]
LEAST_P = 1e-3
"""A label nearer to 0 or 1 counts as this far from it."""


class Example(NamedTuple):
    """What a reviser is shown and what it shall answer."""

    prompt: Prompt
    response: str
    tag: Tag
    better: str
    """The response itself where it is GOOD."""


def find_examples(pairs: Sequence[Item], *, major_from: float) -> list[Example]:
    """An example for each different response to each prompt that a pair names.

    The strongest response to a prompt is GOOD. One to which it is preferred with a probability of `major_from` or more
    is MAJOR, and its better one is the strongest. Any other is MINOR, and its better one is that of the stronger
    responses whose text is nearest, so that small edits are learnt as such. Of a prompt whose responses are all of one
    strength nothing is learnt.
    """
    by_prompt: dict[str, list[Item]] = defaultdict(list)
    for pair in pairs:
        by_prompt[pair.prompt.id].append(pair)
    return [example for group in by_prompt.values() for example in _examples_of(group, major_from=major_from)]


def _examples_of(pairs: Sequence[Item], *, major_from: float) -> list[Example]:
    labels = _read_labels(pairs)
    strengths = _find_strengths(labels)
    if not strengths:
        return []
    texts = list(strengths)
    best = texts[find_highest(list(strengths.values()))]
    if all(is_same(strength, strengths[best]) for strength in strengths.values()):
        return []
    examples = []
    for text in texts:
        tag: Tag
        if is_same(strengths[text], strengths[best]):
            tag, better = "GOOD", text
        elif is_above(major_from, _probability(best, text, labels, strengths)):
            tag, better = "MINOR", _find_nearest(text, strengths)
        else:
            tag, better = "MAJOR", best
        examples.append(Example(pairs[0].prompt, text, tag, better))
    return examples


def _read_labels(pairs: Sequence[Item]) -> dict[tuple[str, str], float]:
    """The weighted mean log-odds of the first of two texts, by both orders of the two."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pair in pairs:
        first, second = pair.responses
        if first != second:
            logit = log_odds(pair.label, least=LEAST_P)
            for key, signed in (((first, second), logit), ((second, first), -logit)):
                sums[key][0] += pair.weight * signed
                sums[key][1] += pair.weight
    return {key: total / weight for key, (total, weight) in sums.items()}


def _find_strengths(labels: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Each text's mean log-odds over those that it was compared with."""
    against: dict[str, list[float]] = defaultdict(list)
    for (first, _), logit in labels.items():
        against[first].append(logit)
    return {text: sum(logits) / len(logits) for text, logits in against.items()}


def _probability(
    best: str, text: str, labels: Mapping[tuple[str, str], float], strengths: Mapping[str, float]
) -> float:
    """That the best is preferred: by the label of the two where there is one, else by their strengths."""
    direct = labels.get((best, text))
    return sigmoid((strengths[best] - strengths[text]) / 2 if direct is None else direct)


def _find_nearest(text: str, strengths: Mapping[str, float]) -> str:
    """The stronger text that shares most with this one; of those that share as much, the strongest."""
    stronger = [other for other in strengths if is_above(strengths[other], strengths[text])]
    return max(stronger, key=lambda other: (difflib.SequenceMatcher(None, text, other).ratio(), strengths[other]))
