"""Comparisons -> preferences: one soft label per pair and judge, over the constitution's principles.

A pair that lacks a comparison under a principle that counts is dropped and counted, never averaged
over the rest; where people labelled a pair, their preference stands instead. Does not call the judge,
fits no calibration and writes no files.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

from rlaif.config.generate import PreferencesConfig
from rlaif.constitution.asked import asked_principles, principles_of
from rlaif.errors import ConstitutionError, StageError
from rlaif.preferences.choices import Labelled, choose
from rlaif.preferences.filters import find_reason_to_drop
from rlaif.preferences.ranked import fit_utilities, label_by_utility
from rlaif.records import Comparison, Constitution, Preference, Principle, Sample, Tally

_PrincipleKey = tuple[str, str]
"""A principle's id and the digest of its text: an edited principle is another one."""


class Pairing(NamedTuple):
    preferences: list[Preference]
    tally: Tally
    """Pairs or choices in, counted once per judge; dropped as `failed_judgement`, `tie` or `flipped`, of ranked ones
    also as `not_connected` or `identical`. Pairs that people labelled are kept."""


class PairLabel(NamedTuple):
    """What the judge says of a pair over all principles."""

    p_first: float
    """Probability that the first of the pair, in canonical order, is preferred."""
    logit: float | None
    """None where a comparison has no log-probabilities; `p_first` is then a mean of verdicts."""


class Relabelling(NamedTuple):
    """A calibration as pairing reads it."""

    calibration_id: str
    relabel: Callable[[tuple[str, str], PairLabel], float]
    """Sample ids in canonical order, and the judge's label -> the calibrated one."""


class _Key(NamedTuple):
    """A pair in canonical order (sorted by sample id), and who judged it."""

    prompt_id: str
    sample_ids: tuple[str, str]
    judge_id: str | None


def pair_comparisons(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    config: PreferencesConfig,
    round: int,
    pairs: Iterable[tuple[Sample, Sample]] = (),
    relabelling: Relabelling | None = None,
    human: Mapping[tuple[str, str], Preference] | None = None,
    draw_seed: int | None = None,
) -> Pairing:
    """A preference per pair and judge, in the order in which the pairs come; of ranked ones prompt by prompt.

    `pairs` are those that the judge was asked about: one whose every question failed has no comparison,
    and only here is it known and counted. Comparisons under principles that weigh nothing are not read.
    `human`: people's preferences by sample ids in canonical order, each instead of the judge's; those on other
    pairs come last. Filters look at the calibrated label, and never at people's. `draw_seed`: each pair was
    asked under one principle, drawn with this seed. With `kind: choice` there is a preference for each group of a
    prompt's responses that judged pairs join, and people's pairs stand beside them.
    """
    _refuse_weightless(constitution)
    asked = list(pairs)
    groups = _group(comparisons, pairs=asked)
    judged: dict[_Key, _Judged] = {}
    for key, by_principle in groups.items():
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        complete = _find_complete(by_principle, principles)
        if complete is not None:
            by_judge = compute_pair_label(complete, principles, first_id=key.sample_ids[0])
            label = by_judge.p_first if relabelling is None else relabelling.relabel(key.sample_ids, by_judge)
            judged[key] = _Judged(label, complete, complete)
    keys = list(groups)
    if config.kind == "choice":
        made = partial(
            Preference, weight=1.0, calibration_id=None if relabelling is None else relabelling.calibration_id,
            constitution_id=constitution.id, round=round,
        )  # fmt: skip
        return _choose(keys, judged, asked=asked, config=config, human=human or {}, make=made)
    if config.kind == "ranking":
        keys, judged = _rank(keys, judged)
    by_people = dict(human or {})
    num_other = len(by_people.keys() - {key.sample_ids for key in keys})
    texts = {sample.id: sample.text for pair in asked for sample in pair}
    preferences: list[Preference] = []
    dropped: Counter[str] = Counter()
    for key in keys:
        if human and key.sample_ids in human:
            if (labelled := by_people.pop(key.sample_ids, None)) is not None:
                preferences.append(labelled)
            else:
                dropped["labelled_by_people"] += 1  # another judge's label of it; people's stands once
            continue
        reason = _find_reason(key, judged.get(key), config=config, was_asked=key in groups, texts=texts)
        if reason is not None:
            dropped[reason] += 1
            continue
        preferences.append(
            Preference(
                prompt_id=key.prompt_id,
                sample_ids=key.sample_ids,
                label=judged[key].label,
                weight=1.0,
                evidence_ids=tuple(comparison.id for comparison in judged[key].evidence),
                calibration_id=None if relabelling is None else relabelling.calibration_id,
                judge_id=key.judge_id,
                constitution_id=constitution.id,
                round=round,
            )
        )
    tally = Tally(num_in=len(keys) + num_other, dropped=dict(dropped))
    return Pairing([*preferences, *by_people.values()], tally)


class _Judged(NamedTuple):
    label: float
    own: Sequence[Comparison]
    """Of the pair itself; none where its label follows from other pairs."""
    evidence: Sequence[Comparison]
    """All that the label came from."""


def _find_reason(
    key: _Key, judged: _Judged | None, *, config: PreferencesConfig, was_asked: bool, texts: Mapping[str, str]
) -> str | None:
    """Why the pair is dropped; None: it is kept."""
    first, second = key.sample_ids
    if not was_asked and first in texts and texts[first] == texts.get(second):
        return "identical"
    if judged is None:
        return "failed_judgement" if was_asked else "not_connected"
    return find_reason_to_drop(judged.label, judged.own, config=config)


def _choose(
    keys: Sequence[_Key],
    judged: Mapping[_Key, _Judged],
    *,
    asked: Iterable[tuple[Sample, Sample]],
    config: PreferencesConfig,
    human: Mapping[tuple[str, str], Preference],
    make: Callable[..., Preference],
) -> Pairing:
    """A preference for each group of a prompt's responses that judged pairs join; people's pairs stand beside them."""
    texts = {sample.id: sample.text for pair in asked for sample in pair}
    preferences: list[Preference] = []
    dropped: Counter[str] = Counter()
    num_in = len(human)
    for (prompt_id, judge_id), own in _by_prompt(keys).items():
        names = sorted({name for key in own for name in key.sample_ids})
        labelled = {key.sample_ids: Labelled(judged[key].label, judged[key].evidence) for key in own if key in judged}
        for choice in choose(names, labelled, texts=texts, config=config):
            num_in += 1
            if choice.dropped is not None:
                dropped[choice.dropped] += 1
                continue
            preferences.append(
                make(
                    kind="choice", prompt_id=prompt_id, sample_ids=choice.sample_ids, label=max(choice.shares),
                    shares=choice.shares, evidence_ids=tuple(c.id for c in choice.evidence), judge_id=judge_id,
                )
            )  # fmt: skip
    return Pairing([*preferences, *human.values()], Tally(num_in=num_in, dropped=dict(dropped)))


def _by_prompt(keys: Iterable[_Key]) -> dict[tuple[str, str | None], list[_Key]]:
    found: dict[tuple[str, str | None], list[_Key]] = defaultdict(list)
    for key in keys:
        found[key.prompt_id, key.judge_id].append(key)
    return found


def _rank(keys: Sequence[_Key], judged: Mapping[_Key, _Judged]) -> tuple[list[_Key], dict[_Key, _Judged]]:
    """All pairs of the responses to a prompt that the judge was asked about, labelled by their utilities."""
    every: list[_Key] = []
    ranked: dict[_Key, _Judged] = {}
    for (prompt_id, judge_id), own in _by_prompt(keys).items():
        names = sorted({name for key in own for name in key.sample_ids})
        every += [_Key(prompt_id, pair, judge_id) for pair in combinations(names, 2)]
        known = {key.sample_ids: judged[key] for key in own if key in judged}
        for utilities in fit_utilities({pair: found.label for pair, found in known.items()}):
            evidence = [c for pair, found in known.items() if pair[0] in utilities for c in found.evidence]
            for pair in combinations(sorted(utilities), 2):
                of_pair = known[pair].own if pair in known else ()
                ranked[_Key(prompt_id, pair, judge_id)] = _Judged(label_by_utility(utilities, pair), of_pair, evidence)
    return every, ranked


def label_pairs(
    comparisons: Sequence[Comparison], *, constitution: Constitution, draw_seed: int | None = None
) -> dict[tuple[str, str], PairLabel]:
    """The judge's label of every pair that was compared under all its principles, by sample ids in canonical order."""
    _refuse_weightless(constitution)
    labels: dict[tuple[str, str], PairLabel] = {}
    for key, by_principle in _group(comparisons, pairs=()).items():
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        complete = _find_complete(by_principle, principles)
        if complete is not None:
            labels[key.sample_ids] = compute_pair_label(complete, principles, first_id=key.sample_ids[0])
    return labels


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
    return PairLabel(_sigmoid(combined), combined)


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


def _sigmoid(x: float) -> float:
    odds = math.exp(-abs(x))
    return 1 / (1 + odds) if x >= 0 else odds / (1 + odds)


def _group(
    comparisons: Sequence[Comparison], *, pairs: Iterable[tuple[Sample, Sample]]
) -> dict[_Key, dict[_PrincipleKey, Comparison]]:
    """Pair and judge -> principle -> its comparison, with an empty entry for a pair that has none."""
    judges: list[str | None] = list(dict.fromkeys(comparison.judge_id for comparison in comparisons))
    groups: dict[_Key, dict[_PrincipleKey, Comparison]] = {}
    for first, second in pairs:
        for judge_id in judges or [None]:
            groups[_Key(first.prompt_id, _sorted_ids(first.id, second.id), judge_id)] = {}
    for comparison in comparisons:
        key = _Key(comparison.prompt_id, _sorted_ids(*comparison.sample_ids), comparison.judge_id)
        by_principle = groups.setdefault(key, {})
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
