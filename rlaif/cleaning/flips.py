"""Preferences -> those whose label several read-outs of the other rows contradict: suspected label flips.

Three views of the texts, words, word pairs and trigrams of letters, each with a ridge read-out that says which response
of a pair is preferred, fitted without the pair's prompt. A pair is suspected where all of them clearly say the other
one: removing what several judges flag is better than inverting labels, or than believing a single judge
(PrefCleanBench, arXiv:2509.23564). No language model is run. Where the labels follow nothing that such counts show,
nothing is suspected. Decides nothing about rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.cleaning.alike import Plain
from rlaif.records import digest_text

Array = NDArray[np.float64]

MAX_TERMS = 400
"""The terms that most rows have; a term in fewer than MIN_ROWS tells nothing of other rows."""
MIN_ROWS = 5
NUM_FOLDS = 5
PENALTY = 10.0
"""Weight of the ridge: it is added to the diagonal of the sum of squares over the rows."""
MIN_PAIRS = 200
"""With fewer pairs nothing is suspected."""
MIN_ACCURACY = 0.6
"""A view that orders fewer of the pairs it did not see knows nothing of these labels, and then nothing is suspected."""


class LabelledPair(NamedTuple):
    prompt_id: str
    better: str
    worse: str


def find_flips(pairs: Sequence[LabelledPair], *, margin: float) -> list[int]:
    """Places of the suspected pairs.

    margin: how clearly each view must say the other side, as a share of what it says for the label on a median row.
    """
    if len(pairs) < MIN_PAIRS:
        return []
    prompts = sorted({pair.prompt_id for pair in pairs}, key=lambda prompt_id: digest_text(f"flips\n{prompt_id}"))
    fold_of = {prompt_id: place % NUM_FOLDS for place, prompt_id in enumerate(prompts)}
    folds = np.array([fold_of[pair.prompt_id] for pair in pairs])
    suspected = np.ones(len(pairs), dtype=bool)
    for view in VIEWS:
        said = _predict_out_of_fold(_differences(pairs, view), folds)
        if float(np.mean(said > 0)) < MIN_ACCURACY:
            return []
        suspected &= said < -margin * float(np.median(said))
    return np.flatnonzero(suspected).tolist()


def _predict_out_of_fold(differences: Array, folds: NDArray[np.int64]) -> Array:
    """How far read-outs of the other folds agree with each pair's label: about 1 if they do, about -1 if not."""
    said = np.zeros(len(differences))
    ridge = PENALTY * np.eye(differences.shape[1])
    for fold in range(NUM_FOLDS):
        seen, left_out = differences[folds != fold], folds == fold
        weights = np.linalg.solve(seen.T @ seen + ridge, seen.sum(axis=0))
        said[left_out] = differences[left_out] @ weights
    return said


def _differences(pairs: Sequence[LabelledPair], view: Callable[[str], Counter[str]]) -> Array:
    """How often the better response has each term, less how often the worse one has it: (num_pairs, num_terms)."""
    counted = [(view(pair.better), view(pair.worse)) for pair in pairs]
    rows = Counter(term for better, worse in counted for term in better.keys() | worse.keys())
    kept = sorted((term for term, number in rows.items() if number >= MIN_ROWS), key=lambda term: (-rows[term], term))
    place = {term: number for number, term in enumerate(kept[:MAX_TERMS])}
    found = np.zeros((len(pairs), len(place)))
    for row, (better, worse) in enumerate(counted):
        for counts, sign in ((better, 1), (worse, -1)):
            for term, count in counts.items():
                if (at := place.get(term)) is not None:
                    found[row, at] += sign * count
    return found


def _words(text: str) -> Counter[str]:
    return Counter(Plain.of(text).words)


def _word_pairs(text: str) -> Counter[str]:
    words = Plain.of(text).words
    return Counter(f"{one} {other}" for one, other in pairwise(words))


def _trigrams(text: str) -> Counter[str]:
    plain = Plain.of(text).text
    return Counter(plain[at : at + 3] for at in range(len(plain) - 2))


VIEWS = (_words, _word_pairs, _trigrams)
