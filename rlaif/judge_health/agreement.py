"""Comparisons by several judges -> how far the judges agree: winners, kappa, alpha, logits, by principle.

Statistics come from `rlaif.calibration.agreement`. Says nothing of who is right. Asks no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol

from rlaif.calibration.agreement import choice_of, krippendorff_alpha, measure_agreement, measure_correlation
from rlaif.judge_health.panel import JudgesAgree, PanelAgreement
from rlaif.preferences.label import PairLabel
from rlaif.preferences.pairing import label_pairs
from rlaif.records import TIE_BAND, Comparison, Constitution, Estimate
from rlaif.stats.intervals import share_interval
from rlaif.stats.ranks import is_same

_Key = tuple[tuple[str, str], str, str]
"""Sample ids, and a principle by id and text."""
ByJudge = Mapping[str, Mapping[_Key, Comparison]]


def by_judge_and_key(comparisons: Sequence[Comparison]) -> dict[str, dict[_Key, Comparison]]:
    """Judge id -> what was compared -> the first comparison of it."""
    found: dict[str, dict[_Key, Comparison]] = {}
    for comparison in comparisons:
        key = (comparison.sample_ids, comparison.principle.id, comparison.principle.text_digest)
        found.setdefault(comparison.judge_id, {}).setdefault(key, comparison)
    return found


def compare_two(
    one: Mapping[_Key, Comparison],
    other: Mapping[_Key, Comparison],
    *,
    names: tuple[str, str],
    constitution: Constitution,
    draw_seed: int | None = None,
) -> JudgesAgree | None:
    """Two judges where both compared the same; None where they never did."""
    shared = [key for key in one if key in other]
    if not shared:
        return None
    by_principle: dict[str, list[_Key]] = defaultdict(list)
    for key in shared:
        by_principle[key[1]].append(key)
    labels = [_labels(judge, shared, constitution=constitution, draw_seed=draw_seed) for judge in (one, other)]
    both = [pair for pair in labels[0] if pair in labels[1]]
    prompt_of = {key[0]: one[key].prompt_id for key in shared}
    logits = [(one[key].logit, other[key].logit, one[key].prompt_id) for key in shared]
    known = [(a, b, prompt_id) for a, b, prompt_id in logits if a is not None and b is not None]
    return JudgesAgree(
        judges=names,
        agreement=measure_agreement(*_choices(one, other, shared), clusters=[one[key].prompt_id for key in shared]),
        by_principle={
            name: measure_agreement(*_choices(one, other, keys), clusters=[one[key].prompt_id for key in keys])
            for name, keys in by_principle.items()
        },
        winners=share_interval(
            [float(one == other) for one, other in zip(*_read([[of[p] for p in both] for of in labels]), strict=True)],
            clusters=[prompt_of[pair] for pair in both],
        ),
        correlation=measure_correlation(
            [a for a, _, _ in known], [b for _, b, _ in known], clusters=[prompt_id for *_, prompt_id in known]
        ),
    )


def compare_panel(
    judged: ByJudge,
    *,
    names: Mapping[str, str],
    constitution: Constitution,
    draw_seed: int | None = None,
) -> PanelAgreement | None:
    """All judges of a run; None where fewer than two of them compared the same."""
    pairs = [
        compare_two(judged[a], judged[b], names=(names[a], names[b]), constitution=constitution, draw_seed=draw_seed)
        for a, b in combinations(judged, 2)
    ]
    if not any(pairs):
        return None
    items: dict[_Key, list[Comparison]] = defaultdict(list)
    for by_key in judged.values():
        for key, comparison in by_key.items():
            items[key].append(comparison)
    shared = {key: found for key, found in items.items() if len(found) > 1}
    principles = dict.fromkeys(key[1] for key in shared)
    labels = [_labels(by_key, by_key, constitution=constitution, draw_seed=draw_seed) for by_key in judged.values()]
    everywhere = [pair for pair in labels[0] if all(pair in of_judge for of_judge in labels)]
    prompt_of = {key[0]: found[0].prompt_id for key, found in items.items()}
    return PanelAgreement(
        judges=tuple(names[judge_id] for judge_id in judged),
        num_comparisons=len(shared),
        alpha=_alpha(list(shared.values())),
        alpha_by_principle={
            name: _alpha([found for key, found in shared.items() if key[1] == name]) for name in principles
        },
        unanimous=share_interval(
            [
                float(len(set(chosen)) == 1)
                for chosen in zip(*_read([[of[pair] for pair in everywhere] for of in labels]), strict=True)
            ],
            clusters=[prompt_of[pair] for pair in everywhere],
        ),
        pairs=tuple(pair for pair in pairs if pair is not None),
    )


def _alpha(items: Sequence[Sequence[Comparison]]) -> Estimate | None:
    found = krippendorff_alpha(
        _read(items),
        clusters=[item[0].prompt_id for item in items],
    )
    return None if found is None else found.alpha


def _choices(
    one: Mapping[_Key, Comparison], other: Mapping[_Key, Comparison], keys: Sequence[_Key]
) -> tuple[list[str], list[str]]:
    first, second = _read([[judged[key] for key in keys] for judged in (one, other)])
    return first, second


class _Labelled(Protocol):
    @property
    def p_first(self) -> float: ...


def _read(series: Sequence[Sequence[_Labelled]]) -> list[list[str]]:
    """What labels choose. A judge without log-probabilities makes exact ties; beside one, near one half is a tie too.

    Without that a judge with log-probabilities, which are next to never even, could agree with none of its ties.
    """
    band = TIE_BAND if any(is_same(label.p_first, 0.5) for labels in series for label in labels) else 0.0
    return [[choice_of(label.p_first, band=band) for label in labels] for labels in series]


def _labels(
    judged: Mapping[_Key, Comparison],
    keys: Sequence[_Key] | Mapping[_Key, Comparison],
    *,
    constitution: Constitution,
    draw_seed: int | None,
) -> dict[tuple[str, str], PairLabel]:
    """One judge's labels of the pairs that it compared under all principles."""
    return label_pairs([judged[key] for key in keys], constitution=constitution, draw_seed=draw_seed)
