"""Comparisons -> preferences: one soft label per pair, over the constitution's principles and then over the judges.

A pair that lacks a comparison under a principle that counts, by any judge of the panel, is dropped and counted, never
averaged over the rest, unless the configuration says that fewer judges are enough. Where people labelled a pair, their
preference takes its place. Does not call the judge, fits no calibration and writes no files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rlaif.calibration.fits import Part
from rlaif.config.preferences import COUNT_AS_SAID, PreferencesConfig
from rlaif.constitution.selection import principles_of, weighted_principles
from rlaif.errors import ConstitutionError, StageError
from rlaif.preferences.label import LabelRule, OneJudges, PairLabel, combine_labels, find_judges, find_reason_to_drop
from rlaif.preferences.ranked import Found, LabelledPair, PairKey, choose_best, rank_pairs
from rlaif.records import Comparison, Constitution, CountedAs, LabelMaking, Panel, Preference, Principle, Sample, Tally
from rlaif.stats.logits import canonical_pair

_PrincipleKey = tuple[str, str]
"""A principle's id and the digest of its text: an edited principle is another one."""


class Pairing(NamedTuple):
    preferences: list[Preference]
    tally: Tally
    """Pairs or choices in; dropped as `failed_judgement`, `too_few_judges`, `tie`, `flipped` or `redacted`, and ranked
    pairs also as `not_connected` or `identical`. Pairs that people labelled are kept, unless they are redacted."""


class Relabelling(NamedTuple):
    """A calibration as pairing reads it."""

    calibration_id: str
    relabel: Callable[[tuple[str, str], Judged], float]
    """Sample ids in canonical order, and what the judges said -> the calibrated label."""


ByJudge = dict[str, dict[_PrincipleKey, Comparison]]
"""What each judge said of a pair under each principle."""


class Judged(NamedTuple):
    """A pair's label and the comparisons that it comes from, judge by judge."""

    label: PairLabel
    comparisons: Sequence[Comparison]
    counted: Sequence[CountedAs]
    """What each of them counted as."""
    parts: tuple[Part, ...]
    """What the label's logit is the mean of; empty where the label has none."""


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
    seed: int = 0,
    redacted: Collection[str] = (),
) -> Pairing:
    """A preference per pair, in the order in which the pairs come; ranked pairs come prompt by prompt.

    pairs: those that the judges were asked about. A pair whose every question failed has no comparison, and is known
    and counted through `pairs` alone. Comparisons under principles without weight are not read.
    human: people's preferences by sample ids in canonical order; each takes the place of the judges', and those on
    other pairs come last. Filters apply to the calibrated label, never to people's.
    panel: the judges that were asked; without it all who compared anything count alike.
    draw_seed: each pair was asked under one principle, drawn with this seed.
    seed: decides what the options draw for each pair.
    redacted: ids of prompts and samples whose text is gone. Pairs with one are dropped, whoever labelled them.
    With `kind: choice` there is a preference for each group of a prompt's responses that judged pairs join, and
    people's pairs come after them.
    """
    _refuse_weightless(constitution)
    panel, rule = panel or _find_panel(comparisons), LabelRule(config, seed=seed, fitted_on=comparisons)
    asked = list(pairs)
    texts = {sample.id: sample.text for pair in asked for sample in pair}
    grouped, people = _group(comparisons, pairs=asked), dict(human or {})
    found: dict[PairKey, LabelledPair | str] = {}
    for key in (*grouped, *(PairKey(one.prompt_id, pair) for pair, one in people.items())):
        if redacted and not {key.prompt_id, *key.sample_ids}.isdisjoint(redacted):
            found[key] = "redacted"
            people.pop(key.sample_ids, None)
    for key, by_judge in grouped.items():
        if key in found:
            continue
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        judged = judge_pair(by_judge, principles, panel=panel, rule=rule)
        found[key] = judged if isinstance(judged, str) else _calibrate(key, judged, relabelling=relabelling)
    make = partial(
        Preference,
        weight=1.0,
        calibration_id=None if relabelling is None else relabelling.calibration_id,
        judge_id=panel.judge_id,
        constitution_id=constitution.id,
        round=round,
    )
    if config.kind == "choice":
        return _choose(found, texts=texts, config=config, human=people, make=make)
    if config.kind == "ranking":
        found = rank_pairs(found, texts=texts)
    return _prefer(found, rule=rule, human=people, make=make)


def _calibrate(key: PairKey, judged: Judged, *, relabelling: Relabelling | None) -> LabelledPair:
    combined = judged.label.p_first
    calibrated = None if relabelling is None else relabelling.relabel(key.sample_ids, judged)
    label = combined if calibrated is None else calibrated
    return LabelledPair(
        label=label,
        own=judged.comparisons,
        evidence=judged.comparisons,
        counted=judged.counted,
        combined=combined,
        calibrated=calibrated,
    )


def _prefer(
    found: Found,
    *,
    rule: LabelRule,
    human: Mapping[tuple[str, str], Preference],
    make: Callable[..., Preference],
) -> Pairing:
    """A preference for each pair that has a label and passes the filters; people's other pairs come last."""
    by_people = dict(human)
    num_other = len(by_people.keys() - {key.sample_ids for key in found})
    preferences: list[Preference] = []
    dropped: Counter[str] = Counter()
    for key, labelled in found.items():
        if key.sample_ids in by_people:
            preferences.append(by_people.pop(key.sample_ids))
            continue
        if isinstance(labelled, str):
            dropped[labelled] += 1
            continue
        if (reason := find_reason_to_drop(labelled.label, labelled.own, config=rule.config)) is not None:
            dropped[reason] += 1
            continue
        finished = rule.finish(labelled.label, pair=key.sample_ids)
        making = _explain(
            labelled.counted,
            config=rule.config,
            combined=labelled.combined,
            calibrated=labelled.calibrated,
            turned=finished.turned,
        )
        preferences.append(
            make(
                prompt_id=key.prompt_id,
                sample_ids=key.sample_ids,
                label=finished.label,
                evidence_ids=tuple(comparison.id for comparison in labelled.evidence),
                making=making,
            )
        )
    tally = Tally(num_in=len(found) + num_other, dropped=dict(dropped))
    return Pairing([*preferences, *by_people.values()], tally)


def _choose(
    found: Found,
    *,
    texts: Mapping[str, str],
    config: PreferencesConfig,
    human: Mapping[tuple[str, str], Preference],
    make: Callable[..., Preference],
) -> Pairing:
    """A preference for each group of a prompt's responses that judged pairs join; people's pairs come last."""
    preferences: list[Preference] = []
    dropped: Counter[str] = Counter()
    num_in = len(human)
    for choice in choose_best(found, texts=texts, config=config):
        num_in += 1
        if choice.dropped is not None:
            dropped[choice.dropped] += 1
            continue
        best = max(choice.shares)
        preferences.append(
            make(
                kind="choice",
                prompt_id=choice.prompt_id,
                sample_ids=choice.sample_ids,
                label=best,
                shares=choice.shares,
                evidence_ids=tuple(comparison.id for comparison in choice.evidence),
                making=_explain(choice.counted, config=config, combined=best),
            )
        )
    return Pairing([*preferences, *human.values()], Tally(num_in=num_in, dropped=dict(dropped)))


def label_pairs(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    rule: LabelRule | None = None,
    panel: Panel | None = None,
    draw_seed: int | None = None,
) -> dict[tuple[str, str], PairLabel]:
    """Sample ids in canonical order -> the judges' label of the pair; see `decide_pairs`."""
    found = decide_pairs(comparisons, constitution=constitution, rule=rule, panel=panel, draw_seed=draw_seed)
    return {pair: judged.label for pair, judged in found.items()}


def decide_pairs(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    rule: LabelRule | None = None,
    panel: Panel | None = None,
    draw_seed: int | None = None,
) -> dict[tuple[str, str], Judged]:
    """Sample ids in canonical order -> what the judges say of the pair, neither calibrated nor filtered.

    Pairs that too few judges compared under all their principles are left out. rule: None is the default rule.
    """
    _refuse_weightless(constitution)
    panel, rule = panel or _find_panel(comparisons), rule or LabelRule(PreferencesConfig())
    found: dict[tuple[str, str], Judged] = {}
    for key, by_judge in _group(comparisons, pairs=()).items():
        principles = principles_of(constitution, key.sample_ids, draw_seed=draw_seed)
        judged = judge_pair(by_judge, principles, panel=panel, rule=rule)
        if not isinstance(judged, str):
            found[key.sample_ids] = judged
    return found


def _find_panel(comparisons: Sequence[Comparison]) -> Panel:
    return Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))


def judge_pair(by_judge: ByJudge, principles: Sequence[Principle], *, panel: Panel, rule: LabelRule) -> Judged | str:
    """The label of the pair's first sample in canonical order, or why it has none."""
    complete = {
        judge_id: found
        for judge_id, by_principle in by_judge.items()
        if (found := _find_complete(by_principle, principles)) is not None
    }
    judges = find_judges(panel, complete, min_judges=rule.config.min_judges)
    if isinstance(judges, str):
        return judges
    said = [rule.combine(complete[judge_id], principles) for judge_id in judges]
    labels, weights = [one.label for one in said], [panel.weights[judge_id] for judge_id in judges]
    return Judged(
        labels[0] if len(labels) == 1 else combine_labels(labels, weights=weights),
        [comparison for judge_id in judges for comparison in complete[judge_id]],
        tuple(counted for one in said for counted in one.counted),
        _find_parts(said, judges, weights=weights, principles=principles),
    )


def _find_parts(
    said: Sequence[OneJudges], judges: Sequence[str], *, weights: Sequence[float], principles: Sequence[Principle]
) -> tuple[Part, ...]:
    """The log-odds under each principle by each judge, with the share of each in the pair's; none if one is missing."""
    parts: list[Part] = []
    for one, judge_id, weight in zip(said, judges, weights, strict=True):
        used = [(counted, p) for counted, p in zip(one.counted, principles, strict=True) if counted.is_used]
        total = math.fsum(p.weight for _, p in used) * math.fsum(weights)
        for counted, p in used:
            if counted.logit is None:
                return ()
            parts.append(Part(p.id, judge_id, weight * p.weight / total, counted.logit))
    return tuple(parts)


def _explain(
    counted: Sequence[CountedAs],
    *,
    config: PreferencesConfig,
    combined: float,
    calibrated: float | None = None,
    turned: bool = False,
) -> LabelMaking | None:
    options = config.making()
    if not options:
        return None
    said = () if options.keys() <= COUNT_AS_SAID else tuple(counted)
    return LabelMaking(options=options, counted=said, combined=combined, calibrated=calibrated, turned=turned)


def _refuse_weightless(constitution: Constitution) -> None:
    if not weighted_principles(constitution):
        raise ConstitutionError(
            f'no principle of "{constitution.name}" has a weight above 0',
            fix="give at least one principle a weight",
        )


def _find_complete(
    by_principle: Mapping[_PrincipleKey, Comparison], principles: Sequence[Principle]
) -> list[Comparison] | None:
    """The comparison under each principle; None where one is missing."""
    found = [principle.find_in(by_principle) for principle in principles]
    complete = [comparison for comparison in found if comparison is not None]
    return complete if len(complete) == len(found) else None


def _group(comparisons: Sequence[Comparison], *, pairs: Iterable[tuple[Sample, Sample]]) -> dict[PairKey, ByJudge]:
    """Pair -> judge -> principle -> its comparison, with an empty entry for a pair that has none."""
    groups: dict[PairKey, ByJudge] = {
        PairKey(first.prompt_id, canonical_pair(first.id, second.id)): {} for first, second in pairs
    }
    for comparison in comparisons:
        key = PairKey(comparison.prompt_id, canonical_pair(*comparison.sample_ids))
        by_principle = groups.setdefault(key, {}).setdefault(comparison.judge_id, {})
        principle = comparison.principle.wording
        known = by_principle.setdefault(principle, comparison)
        if known.id != comparison.id:
            raise StageError(
                f'a pair has two different comparisons under principle "{principle[0]}" by one judge',
                where=f"comparisons {known.id} and {comparison.id}",
                fix="pair the comparisons of one judging at a time",
            )
    return groups
