"""Labelled pairs of a prompt's responses -> labels of all its pairs by one ranking, or its best response.

Utilities are Bradley-Terry's on soft wins, the probabilities of a choice Luce's: P(i) = exp(u_i) / sum_k exp(u_k). Only
responses that judged pairs join, directly or through others, are ranked together. Reads no judgement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rlaif.config.preferences import PreferencesConfig
from rlaif.preferences.label import find_reason_to_drop
from rlaif.records import Comparison, CountedAs
from rlaif.stats.bradley_terry import find_reachable, maximise
from rlaif.stats.logits import sigmoid
from rlaif.stats.ranks import is_same

Pair = tuple[str, str]
SUREST = 0.9999
"""A surer label counts as this: a response that lost for certain would have no finite utility."""


class PairKey(NamedTuple):
    """A pair in canonical order (sorted by sample id)."""

    prompt_id: str
    sample_ids: Pair


class LabelledPair(NamedTuple):
    """A pair on its way to a preference."""

    label: float
    """Calibrated where there is a calibration."""
    own: Sequence[Comparison]
    """The comparisons of the pair itself; none where its label follows from other pairs."""
    evidence: Sequence[Comparison]
    """All comparisons that the label came from."""
    counted: Sequence[CountedAs]
    """What each of the evidence counted as."""
    combined: float
    """The label before calibration; for a ranked pair, what follows from the ranking."""
    calibrated: float | None


Found = Mapping[PairKey, LabelledPair | str]
"""Each pair with its label, or why it has none."""


class Choice(NamedTuple):
    """The best of some responses to one prompt, or why there is none."""

    prompt_id: str
    sample_ids: tuple[str, ...]
    """Sorted by id, one for each different text."""
    shares: tuple[float, ...]
    evidence: Sequence[Comparison]
    counted: Sequence[CountedAs]
    """What each of the evidence counted as."""
    dropped: str | None
    """`failed_judgement` where nothing joins the response to another; else `tie` or `flipped`, as with pairs."""


class _Responses(NamedTuple):
    """The responses to one prompt, and which of their pairs are labelled."""

    prompt_id: str
    names: list[str]
    labelled: dict[Pair, LabelledPair]

    def rank(self) -> list[dict[str, float]]:
        return fit_utilities({pair: one.label for pair, one in self.labelled.items()})

    def labelled_within(self, group: Mapping[str, float]) -> list[LabelledPair]:
        return [one for pair, one in self.labelled.items() if pair[0] in group]


def rank_pairs(found: Found, *, texts: Mapping[str, str]) -> dict[PairKey, LabelledPair | str]:
    """All pairs of the responses to a prompt that the judges were asked about, labelled by their utilities.

    texts: the responses' texts by id; pairs of one text that no judge was asked about are `identical`.
    """
    ranked: dict[PairKey, LabelledPair | str] = {}
    for responses in _by_prompt(found):
        every = [PairKey(responses.prompt_id, pair) for pair in combinations(responses.names, 2)]
        ranked |= {key: _why_not(found.get(key), key, texts=texts) for key in every}
        for utilities in responses.rank():
            within = responses.labelled_within(utilities)
            evidence = [comparison for one in within for comparison in one.evidence]
            counted = [one for pair in within for one in pair.counted]
            for pair in combinations(sorted(utilities), 2):
                key, label = PairKey(responses.prompt_id, pair), label_by_utility(utilities, pair)
                if pair in responses.labelled or ranked[key] != "identical":
                    own = responses.labelled[pair].own if pair in responses.labelled else ()
                    ranked[key] = LabelledPair(
                        label=label, own=own, evidence=evidence, counted=counted, combined=label, calibrated=None
                    )
    return ranked


def choose_best(found: Found, *, texts: Mapping[str, str], config: PreferencesConfig) -> Iterator[Choice]:
    """The choices among each prompt's responses: one for each group of them that judged pairs join.

    texts: the responses' texts by id; of two responses with one text the first by id stands for both.
    """
    for responses in _by_prompt(found):
        left = set(responses.names)
        for utilities in responses.rank():
            left -= utilities.keys()
            by_text: dict[str, str] = {}
            for name in sorted(utilities):
                by_text.setdefault(texts.get(name, name), name)
            shown = sorted(by_text.values())
            within = responses.labelled_within(utilities)
            evidence = [comparison for one in within for comparison in one.evidence]
            shares = _shares([utilities[name] for name in shown])
            best, second = sorted(shares, reverse=True)[:2]
            yield Choice(
                prompt_id=responses.prompt_id,
                sample_ids=tuple(shown),
                shares=shares,
                evidence=evidence,
                counted=[counted for one in within for counted in one.counted],
                dropped=find_reason_to_drop(best / (best + second), evidence, config=config),
            )
        for name in sorted(left):
            yield Choice(responses.prompt_id, (name,), (1.0,), evidence=(), counted=(), dropped="failed_judgement")


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


def _by_prompt(found: Found) -> Iterator[_Responses]:
    keys: dict[str, list[PairKey]] = defaultdict(list)
    for key in found:
        keys[key.prompt_id].append(key)
    for prompt_id, own in keys.items():
        names = sorted({name for key in own for name in key.sample_ids})
        labelled = {key.sample_ids: one for key in own if not isinstance(one := found[key], str)}
        yield _Responses(prompt_id, names, labelled)


def _why_not(found: LabelledPair | str | None, key: PairKey, *, texts: Mapping[str, str]) -> str:
    """Why a pair would have no label if no ranking held both of its responses."""
    if found is not None:
        return found if isinstance(found, str) else "not_connected"
    first, second = key.sample_ids
    return "identical" if first in texts and texts[first] == texts.get(second) else "not_connected"


def _shares(utilities: Sequence[float]) -> tuple[float, ...]:
    weights = [math.exp(utility - max(utilities)) for utility in utilities]
    return tuple(weight / math.fsum(weights) for weight in weights)
