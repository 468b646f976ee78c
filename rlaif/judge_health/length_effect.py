"""Comparisons and the responses' texts -> how far the judge's logits go with length, and what of it is a bias.

Longer responses may win because they are better, so the plain slope is called an association. A bias is the slope that
is left when people's labels or a measure are in the same regression. Asks no model.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from rlaif.records import Comparison, Estimate
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval
from rlaif.stats.regression import correlate, fit_linear

LENGTH_LIMIT = 2.0
"""Standard deviations beyond which length counts no further, as in calibration."""
MAX_CORRELATION = 0.9
"""Largest correlation of length and worth at which the effects of the two on the logit can be separated."""
NUM_BINS = 5
OVERALL = "overall"
Source = Literal["measure", "labels"]
Pair = tuple[str, str]


class PairFacts(NamedTuple):
    """What is known of the responses besides the judge's word."""

    texts: Mapping[str, str]
    """Sample id -> its text."""
    measured: Mapping[tuple[str, str], float] = {}
    """(sample id, principle id) -> how well the sample keeps the principle, by a measure."""
    labelled: Mapping[tuple[Pair, str], float] = {}
    """(pair in canonical order, principle id or `overall`) -> people's mean choice: 1 the first, -1 the second."""
    label_weights: Mapping[tuple[Pair, str], float] = {}
    """One over the probability with which a labelled pair was drawn; empty where that is not known."""
    overall: Mapping[Pair, tuple[str, float]] = {}
    """Pair -> its prompt, and the judge's logit over all principles: what labels of the whole are compared with."""
    is_simulated: bool = False
    """Measure or labels come from an embedded world's truth, not from people."""


class Bias(Value):
    """The slope of length under one principle, in a regression that also holds what the responses are worth."""

    source: Source
    slope: Estimate
    """Logits per standard deviation of length, at equal worth."""
    correlation: float | None
    """Correlation of length with worth."""
    num_comparisons: int


class LengthBin(Value):
    longer: float
    """Mean difference of lengths, standard deviations."""
    logit: Estimate
    """Mean log-odds for the longer response."""
    count: int


class LengthEffect(Value):
    length_sd: float
    """Words: one standard deviation of the responses' lengths."""
    association: Estimate | None
    """Logits for the longer response per standard deviation that it is longer, whatever the reason."""
    num_comparisons: int
    bins: tuple[LengthBin, ...]
    """The logits for the longer response, in fifths of the comparisons by the difference of lengths."""
    biases: dict[str, Bias] = {}
    """Principle -> the slope at equal worth; a principle without labels and measure is absent."""
    bias: Estimate | None = None
    """One slope for all these principles together, each with the worth under itself."""
    not_separable: tuple[str, ...] = ()
    """Principles whose worth goes so closely with length that a bias cannot be told from worth."""
    is_simulated: bool = False


class _Row(NamedTuple):
    prompt_id: str
    principle_id: str
    longer: float
    logit: float
    worth: float | None
    """By how much the first response is worth more; None: not known."""
    source: Source
    weight: float = 1.0
    """How much the row counts in a regression that holds its worth."""


def compute_length_effect(comparisons: Sequence[Comparison], *, facts: PairFacts) -> LengthEffect | None:
    """The effect of length: logit(first is better) on the difference of lengths, least squares, clustered by prompt.

    The line goes through zero, as either response of a pair may be called the first. None without log-probabilities, or
    where all responses are equally long.
    """
    lengths = {sample_id: len(text.split()) for sample_id, text in facts.texts.items()}
    compared = {sample_id for comparison in comparisons for sample_id in comparison.sample_ids}
    sd = statistics.pstdev([float(lengths[sample_id]) for sample_id in compared]) if compared else 0.0
    if sd == 0:
        return None
    labelled = {name for _, name in facts.labelled}
    rows = [
        _comparison_row(comparison, facts, longer=_longer(comparison.sample_ids, lengths, sd), labelled=labelled)
        for comparison in comparisons
        if comparison.logit is not None
    ]
    if not rows:
        return None
    whole = [
        _Row(
            prompt_id=prompt_id,
            principle_id=OVERALL,
            longer=_longer(pair, lengths, sd),
            logit=logit,
            worth=facts.labelled[pair, OVERALL],
            source="labels",
            weight=facts.label_weights.get((pair, OVERALL), 1.0),
        )
        for pair, (prompt_id, logit) in facts.overall.items()
        if (pair, OVERALL) in facts.labelled
    ]
    fitted = fit_linear([[row.longer] for row in rows], [row.logit for row in rows], clusters=_prompts(rows))
    biases, not_separable = _biases([*rows, *whole])
    return LengthEffect(
        length_sd=sd,
        association=fitted[0] if fitted else None,
        num_comparisons=len(rows),
        bins=tuple(_bins(rows)),
        biases=biases,
        bias=_pooled([row for row in [*rows, *whole] if row.principle_id in biases and row.worth is not None]),
        not_separable=tuple(not_separable),
        is_simulated=facts.is_simulated and bool(biases or not_separable),
    )


def _longer(pair: Pair, lengths: Mapping[str, int], sd: float) -> float:
    first, second = pair
    return max(-LENGTH_LIMIT, min(LENGTH_LIMIT, (lengths[first] - lengths[second]) / sd))


def _comparison_row(comparison: Comparison, facts: PairFacts, *, longer: float, labelled: Collection[str]) -> _Row:
    """`labelled`: the principles with people's labels; only under the others does worth come from measures."""
    name = comparison.principle.id
    if name in labelled:
        worth = facts.labelled.get((comparison.sample_ids, name))
    else:
        first, second = (facts.measured.get((sample_id, name)) for sample_id in comparison.sample_ids)
        worth = None if first is None or second is None else first - second
    return _Row(
        prompt_id=comparison.prompt_id,
        principle_id=name,
        longer=longer,
        logit=comparison.logit or 0.0,
        worth=worth,
        source="labels" if name in labelled else "measure",
        weight=facts.label_weights.get((comparison.sample_ids, name), 1.0),
    )


def _biases(rows: Sequence[_Row]) -> tuple[dict[str, Bias], list[str]]:
    biases, not_separable = {}, []
    for name in dict.fromkeys(row.principle_id for row in rows):
        known = [(row, row.worth) for row in rows if row.principle_id == name and row.worth is not None]
        if not known:
            continue
        weights = _weights([row for row, _ in known])
        found = correlate([row.longer for row, _ in known], [worth for _, worth in known], weights=weights)
        if found is not None and abs(found) > MAX_CORRELATION:
            not_separable.append(name)
            continue
        fitted = fit_linear(
            [[row.longer, worth] for row, worth in known],
            [row.logit for row, _ in known],
            clusters=_prompts([row for row, _ in known]),
            weights=weights,
        )
        if fitted is not None:
            biases[name] = Bias(
                source=known[0][0].source, slope=fitted[0], correlation=found, num_comparisons=len(known)
            )
    return biases, not_separable


def _pooled(rows: Sequence[_Row]) -> Estimate | None:
    """One slope of length, and a slope of worth for each principle."""
    names = list(dict.fromkeys(row.principle_id for row in rows))
    if not names:
        return None
    features = [[row.longer, *((row.worth or 0.0) * (row.principle_id == name) for name in names)] for row in rows]
    fitted = fit_linear(features, [row.logit for row in rows], clusters=_prompts(rows), weights=_weights(rows))
    return fitted[0] if fitted else None


def _weights(rows: Sequence[_Row]) -> list[float] | None:
    """The rows' weights with a mean of one within each principle; None where all count alike."""
    means = {
        name: statistics.fmean(row.weight for row in rows if row.principle_id == name)
        for name in dict.fromkeys(row.principle_id for row in rows)
    }
    weights = [row.weight / means[row.principle_id] for row in rows]
    return None if all(row.weight == rows[0].weight for row in rows) else weights


def _prompts(rows: Sequence[_Row]) -> list[str]:
    return [row.prompt_id for row in rows]


def _bins(rows: Sequence[_Row]) -> Iterator[LengthBin]:
    """The logits for the longer response, in bins of equally many comparisons.

    Pairs of equal length are left out, and so is a bin with one prompt alone.
    """
    turned = sorted(
        ((abs(row.longer), row.logit if row.longer > 0 else -row.logit, row.prompt_id) for row in rows if row.longer),
        key=lambda row: (row[0], row[2]),  # not by the logit, or equal lengths would be binned by what is measured
    )
    for k in range(NUM_BINS):
        part = turned[len(turned) * k // NUM_BINS : len(turned) * (k + 1) // NUM_BINS]
        logit = mean_interval([logit for _, logit, _ in part], clusters=[prompt_id for *_, prompt_id in part])
        if logit is not None:
            longer = statistics.fmean(longer for longer, *_ in part)
            yield LengthBin(longer=longer, logit=logit, count=len(part))
