"""Comparisons -> preferences: one soft label per pair, over the constitution's principles and then over the judges.

A pair that lacks a comparison under a principle that counts, by any judge of the panel, is dropped and counted, never
averaged over the rest, unless fewer judges are said to be enough; where people labelled a pair, their preference
stands instead. Does not call the judge, fits no calibration and writes no files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rlaif.config.generate import PreferencesConfig
from rlaif.constitution.asked import asked_principles, principles_of
from rlaif.errors import ConstitutionError, StageError
from rlaif.preferences.combine import PairLabel, combine_labels, find_judges, sigmoid
from rlaif.preferences.filters import find_reason_to_drop
from rlaif.records import Comparison, Constitution, Panel, Preference, Principle, Sample, Tally

_PrincipleKey = tuple[str, str]
"""A principle's id and the digest of its text: an edited principle is another one."""


class Pairing(NamedTuple):
    preferences: list[Preference]
    tally: Tally
    """Pairs in; dropped as `failed_judgement`, `too_few_judges`, `tie` or `flipped`. Pairs that people labelled are
    kept."""


class Relabelling(NamedTuple):
    """A calibration as pairing reads it."""

    calibration_id: str
    relabel: Callable[[tuple[str, str], PairLabel], float]
    """Sample ids in canonical order, and the judge's label -> the calibrated one."""


class _Key(NamedTuple):
    """A pair in canonical order (sorted by sample id)."""

    prompt_id: str
    sample_ids: tuple[str, str]


_ByJudge = dict[str, dict[_PrincipleKey, Comparison]]
"""What each judge said of a pair under each principle."""


class _Judged(NamedTuple):
    """A pair's label and the comparisons that it comes from, judge by judge."""

    label: PairLabel
    comparisons: list[Comparison]


def pair_comparisons(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    config: PreferencesConfig,
    round: int,
    pairs: Iterable[tuple[Sample, Sample]] = (),
    relabelling: Relabelling | None = None,
    human: Mapping[tuple[str, str], Preference] | None = None,
    panel: Panel | None = None,
    draw_seed: int | None = None,
) -> Pairing:
    """A preference per pair, in the order in which the pairs come.

    `pairs` are those that the judges were asked about: one whose every question failed has no comparison,
    and only here is it known and counted. Comparisons under principles that weigh nothing are not read.
    `human`: people's preferences by sample ids in canonical order, each instead of the judges'; those on other
    pairs come last. Filters look at the calibrated label, and never at people's. `panel`: who was asked; without it
    all who compared anything count alike. `draw_seed`: each pair was asked under one principle, drawn with this seed.
    """
    _refuse_weightless(constitution)
    panel = panel or _find_panel(comparisons)
    groups = _group(comparisons, pairs=pairs)
    by_people = dict(human or {})
    num_other = len(by_people.keys() - {key.sample_ids for key in groups})
    preferences: list[Preference] = []
    dropped: Counter[str] = Counter()
    for key, by_judge in groups.items():
        if key.sample_ids in by_people:
            preferences.append(by_people.pop(key.sample_ids))
            continue
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        judged = _judge(by_judge, principles, panel=panel, config=config, first_id=key.sample_ids[0])
        if isinstance(judged, str):
            dropped[judged] += 1
            continue
        label = judged.label.p_first if relabelling is None else relabelling.relabel(key.sample_ids, judged.label)
        reason = find_reason_to_drop(label, judged.comparisons, config=config)
        if reason is not None:
            dropped[reason] += 1
            continue
        preferences.append(
            Preference(
                prompt_id=key.prompt_id,
                sample_ids=key.sample_ids,
                label=label,
                weight=1.0,
                evidence_ids=tuple(comparison.id for comparison in judged.comparisons),
                calibration_id=None if relabelling is None else relabelling.calibration_id,
                judge_id=panel.judge_id,
                constitution_id=constitution.id,
                round=round,
            )
        )
    tally = Tally(num_in=len(groups) + num_other, dropped=dict(dropped))
    return Pairing([*preferences, *by_people.values()], tally)


def label_pairs(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    config: PreferencesConfig | None = None,
    panel: Panel | None = None,
    draw_seed: int | None = None,
) -> dict[tuple[str, str], PairLabel]:
    """The judges' label of every pair that enough of them compared under all its principles, by sample ids in
    canonical order; no filter and no calibration."""
    _refuse_weightless(constitution)
    panel, config = panel or _find_panel(comparisons), config or PreferencesConfig()
    labels: dict[tuple[str, str], PairLabel] = {}
    for key, by_judge in _group(comparisons, pairs=()).items():
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        judged = _judge(by_judge, principles, panel=panel, config=config, first_id=key.sample_ids[0])
        if not isinstance(judged, str):
            labels[key.sample_ids] = judged.label
    return labels


def _find_panel(comparisons: Sequence[Comparison]) -> Panel:
    return Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))


def _judge(
    by_judge: _ByJudge, principles: Sequence[Principle], *, panel: Panel, config: PreferencesConfig, first_id: str
) -> _Judged | str:
    """The pair's label for sample `first_id`, or why it has none."""
    complete = {
        judge_id: found
        for judge_id, by_principle in by_judge.items()
        if (found := _find_complete(by_principle, principles)) is not None
    }
    judges = find_judges(panel, complete, min_judges=config.min_judges)
    if isinstance(judges, str):
        return judges
    labels = [compute_pair_label(complete[judge_id], principles, first_id=first_id) for judge_id in judges]
    label = combine_labels(labels, weights=[panel.weights[judge_id] for judge_id in judges])
    return _Judged(label, [comparison for judge_id in judges for comparison in complete[judge_id]])


def compute_label(comparisons: Sequence[Comparison], principles: Sequence[Principle], *, first_id: str) -> float:
    """Probability that sample `first_id` is preferred."""
    return compute_pair_label(comparisons, principles, first_id=first_id).p_first


def compute_pair_label(
    comparisons: Sequence[Comparison], principles: Sequence[Principle], *, first_id: str
) -> PairLabel:
    """The label for sample `first_id`: sigmoid(sum w s / sum w), s a comparison's logit.

    Averaging logits is the weighted geometric mean of the odds: one principle's certainty cannot be outvoted
    by lukewarm others, and swapping the samples swaps the label. Verdicts without log-probabilities have
    no logit; with any of those the label is the weighted mean of the probabilities.
    """
    weights = [principle.weight for principle in principles]
    total = math.fsum(weights)
    # +1 where the comparison lists the sample first, -1 where it lists it second.
    signs = [1.0 if comparison.sample_ids[0] == first_id else -1.0 for comparison in comparisons]
    logits = [comparison.logit for comparison in comparisons]
    if any(logit is None for logit in logits):
        mean = (
            math.fsum(
                weight * (comparison.p_first if sign > 0 else 1 - comparison.p_first)
                for weight, sign, comparison in zip(weights, signs, comparisons, strict=True)
            )
            / total
        )
        return PairLabel(mean, None)
    combined = (
        math.fsum(
            weight * sign * logit
            for weight, sign, logit in zip(weights, signs, logits, strict=True)
            if logit is not None
        )
        / total
    )
    return PairLabel(sigmoid(combined), combined)


def _refuse_weightless(constitution: Constitution) -> None:
    if not asked_principles(constitution):
        raise ConstitutionError(
            f'no principle of "{constitution.name}" has a weight above 0',
            fix="give at least one principle a weight",
        )


def _find_complete(
    by_principle: Mapping[_PrincipleKey, Comparison], principles: Sequence[Principle]
) -> list[Comparison] | None:
    """The comparison under each principle; None where one is missing."""
    found = [by_principle.get((principle.id, principle.digest)) for principle in principles]
    complete = [comparison for comparison in found if comparison is not None]
    return complete if len(complete) == len(found) else None


def _group(comparisons: Sequence[Comparison], *, pairs: Iterable[tuple[Sample, Sample]]) -> dict[_Key, _ByJudge]:
    """Pair -> judge -> principle -> its comparison, with an empty entry for a pair that has none."""
    groups: dict[_Key, _ByJudge] = {
        _Key(first.prompt_id, _sorted_ids(first.id, second.id)): {} for first, second in pairs
    }
    for comparison in comparisons:
        key = _Key(comparison.prompt_id, _sorted_ids(*comparison.sample_ids))
        by_principle = groups.setdefault(key, {}).setdefault(comparison.judge_id, {})
        principle = (comparison.principle.id, comparison.principle.text_digest)
        known = by_principle.setdefault(principle, comparison)
        if known.id != comparison.id:
            raise StageError(
                f'a pair has two different comparisons under principle "{principle[0]}" by one judge',
                where=f"comparisons {known.id} and {comparison.id}",
                fix="pair the comparisons of one judging at a time",
            )
    return groups


def _sorted_ids(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)
