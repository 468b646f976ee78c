"""Labelled pairs of a prompt's responses -> labels of all its pairs by one ranking, and its groups for a choice.

What a pair carries on its way to a preference stands here. Labels no pair by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from rlaif.preferences.ranked import fit_utilities, label_by_utility
from rlaif.records import Comparison, CountedAs


class PairKey(NamedTuple):
    """A pair in canonical order (sorted by sample id)."""

    prompt_id: str
    sample_ids: tuple[str, str]


class LabelledPair(NamedTuple):
    """A pair on its way to a preference."""

    label: float
    """Calibrated where there is a calibration."""
    own: Sequence[Comparison]
    """Of the pair itself; none where its label follows from other pairs."""
    evidence: Sequence[Comparison]
    """All that the label came from."""
    counted: Sequence[CountedAs]
    """What each of the evidence counted as."""
    combined: float
    """Before calibration; of a ranking what follows from it."""
    calibrated: float | None


Found = Mapping[PairKey, LabelledPair | str]
"""Each pair with its label, or why it has none."""


def by_prompt(keys: Iterable[PairKey]) -> dict[str, list[PairKey]]:
    found: dict[str, list[PairKey]] = defaultdict(list)
    for key in keys:
        found[key.prompt_id].append(key)
    return found


def rank_pairs(found: Found, *, texts: Mapping[str, str]) -> dict[PairKey, LabelledPair | str]:
    """All pairs of the responses to a prompt that the judges were asked about, labelled by their utilities.

    texts: of the responses, by id; pairs of one text that nobody was asked about are `identical`.
    """
    ranked: dict[PairKey, LabelledPair | str] = {}
    for prompt_id, own in by_prompt(found).items():
        names = sorted({name for key in own for name in key.sample_ids})
        every = [PairKey(prompt_id, pair) for pair in combinations(names, 2)]
        ranked |= {key: _why_not(found.get(key), key, texts=texts) for key in every}
        known = {key.sample_ids: one for key in own if not isinstance(one := found[key], str)}
        for utilities in fit_utilities({pair: one.label for pair, one in known.items()}):
            within = [one for pair, one in known.items() if pair[0] in utilities]
            evidence = [comparison for one in within for comparison in one.evidence]
            counted = [one for pair in within for one in pair.counted]
            for pair in combinations(sorted(utilities), 2):
                key, label = PairKey(prompt_id, pair), label_by_utility(utilities, pair)
                if pair in known or ranked[key] != "identical":
                    of_pair = known[pair].own if pair in known else ()
                    ranked[key] = LabelledPair(label, of_pair, evidence, counted, label, None)
    return ranked


def _why_not(found: LabelledPair | str | None, key: PairKey, *, texts: Mapping[str, str]) -> str:
    """Why a pair would have no label if no ranking held both of its responses."""
    if found is not None:
        return found if isinstance(found, str) else "not_connected"
    first, second = key.sample_ids
    return "identical" if first in texts and texts[first] == texts.get(second) else "not_connected"
