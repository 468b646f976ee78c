"""Answers to labelled pairs -> the figures of a judge, beside those of the rule "the longer reply wins".

A verdict is right where it names the reply that the label names; an exact tie of the judge counts as half right. Pairs
that are labelled a tie have no winner and no part in any share. Asks nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from rlaif.judge_health.health import compute_steadiness
from rlaif.judge_health.labelled_pairs import LabelledPair
from rlaif.judge_health.trial import Answers, make_prompt_ids
from rlaif.records import Estimate, Value
from rlaif.records.judgement import JudgeMode
from rlaif.stats.intervals import LEVEL, share_interval

LENGTH = "the longer reply wins"
RESAMPLES = 2000
MIN_PROMPTS = 20
"""Fewest prompts on which a judge can be shown to beat length: a bootstrap over fewer gives too narrow intervals."""


class TrialRow(Value):
    """One judge with one template, or the rule that the longer reply wins."""

    judge: str
    template: str
    """Empty for the rule."""
    mode: JudgeMode | None
    num_pairs: int
    """Pairs with a winner that were asked about."""
    num_decided: int
    """Those of them with an answer; every share is over these."""
    right: Estimate | None
    """Share of right verdicts; n counts prompts."""
    num_ties: int
    """Exact ties of the judge, each half right."""
    by_group: dict[str, Estimate] = {}
    beyond_length: Estimate | None = None
    """Share right less that of the longer reply on the same pairs, by bootstrap over prompts; None for the rule."""
    beats_length: bool | None = None
    """Whether all of that interval is above zero, and counts enough prompts."""
    flipped: Estimate | None = None
    position_effect: Estimate | None = None
    label_mass: Estimate | None = None
    failed_by_cause: dict[str, int] = {}
    survives: Estimate | None = None
    """Share of the pairs asked again on which each of the three paraphrases gave the same winner. Winners drawn by
    chance would survive in 1 of 8."""
    seconds: float | None = None
    """Seconds that the judge took for one pair under one wording."""
    tokens: float | None = None
    """Tokens of all prompts and replies about one pair under one wording."""


def find_length_answers(pairs: Sequence[LabelledPair]) -> dict[int, float]:
    """What the rule says: the reply with more characters wins, and replies of one length are a tie."""
    return {
        number: 0.5 if len(pair.first) == len(pair.second) else float(len(pair.first) > len(pair.second))
        for number, pair in enumerate(pairs)
    }


def compute_length_row(pairs: Sequence[LabelledPair]) -> TrialRow:
    return _compute_accuracy(pairs, find_length_answers(pairs), judge=LENGTH, template="", mode=None)


def compute_row(
    pairs: Sequence[LabelledPair],
    answers: Answers,
    *,
    judge: str,
    template: str,
    mode: JudgeMode,
    reworded: Sequence[Answers] = (),
    asked_again: Sequence[int] = (),
) -> TrialRow:
    """The row of a judge. `reworded`: its answers in other wordings about the pairs of the numbers `asked_again`."""
    row = _compute_accuracy(pairs, answers.p_first, judge=judge, template=template, mode=mode)
    beyond, steady = _compare_with_length(pairs, answers.p_first), compute_steadiness(answers.comparisons)
    prompt_of = {key: comparison.prompt_id for comparison in answers.comparisons for key in comparison.judgement_ids}
    masses = [
        (prompt_of.get(j.id, j.id), min(1.0, j.label_mass)) for j in answers.judgements if j.label_mass is not None
    ]
    observed = [*(one.observed for one in answers.judgements), *(one.observed for one in answers.failed)]
    return row.model_copy(
        update={
            "beyond_length": beyond,
            "beats_length": beyond is not None and beyond.low > 0 and beyond.n >= MIN_PROMPTS,
            "flipped": steady.flipped,
            "position_effect": steady.position_effect,
            "label_mass": share_interval([mass for _, mass in masses], clusters=[key for key, _ in masses]),
            "failed_by_cause": dict(sorted(Counter(one.cause for one in answers.failed).items())),
            "survives": _find_survivors(pairs, [answers, *reworded], asked_again) if reworded else None,
            "seconds": math.fsum(one.latency_s for one in observed) / len(pairs),
            "tokens": sum(one.prompt_tokens + one.reply_tokens for one in observed) / len(pairs),
        }
    )


def _compute_accuracy(
    pairs: Sequence[LabelledPair], p_first: Mapping[int, float], *, judge: str, template: str, mode: JudgeMode | None
) -> TrialRow:
    prompts = make_prompt_ids(pairs)
    right = _find_right(pairs, p_first)
    groups = dict.fromkeys(pair.group for pair in pairs if pair.group)
    by_group = {
        group: share_interval(
            [right[n] for n in right if pairs[n].group == group],
            clusters=[prompts[n] for n in right if pairs[n].group == group],
        )
        for group in groups
    }
    return TrialRow(
        judge=judge,
        template=template,
        mode=mode,
        num_pairs=sum(pair.has_winner for pair in pairs),
        num_decided=len(right),
        right=share_interval(list(right.values()), clusters=[prompts[n] for n in right]),
        num_ties=sum(value == 0.5 for value in right.values()),
        by_group={group: estimate for group, estimate in by_group.items() if estimate is not None},
    )


def _find_right(pairs: Sequence[LabelledPair], p_first: Mapping[int, float]) -> dict[int, float]:
    """Number of each decided pair with a winner -> 1, 0, or one half for an exact tie of the judge."""
    return {
        number: 0.5 if p == 0.5 else float((p > 0.5) == (pairs[number].label > 0.5))
        for number, p in sorted(p_first.items())
        if pairs[number].has_winner
    }


def _compare_with_length(pairs: Sequence[LabelledPair], p_first: Mapping[int, float]) -> Estimate | None:
    right, by_length = _find_right(pairs, p_first), _find_right(pairs, find_length_answers(pairs))
    if not right:
        return None
    prompts = make_prompt_ids(pairs)
    return bootstrap_mean([right[n] - by_length[n] for n in right], clusters=[prompts[n] for n in right])


def _find_survivors(pairs: Sequence[LabelledPair], said: Sequence[Answers], numbers: Sequence[int]) -> Estimate | None:
    """Pairs without an answer under some wording are left out."""
    prompts = make_prompt_ids(pairs)
    answered = [n for n in numbers if all(n in answers.p_first for answers in said)]
    winners = {n: {np.sign(answers.p_first[n] - 0.5) for answers in said} for n in answered}
    return share_interval([float(len(winners[n]) == 1) for n in answered], clusters=[prompts[n] for n in answered])


def bootstrap_mean(values: Sequence[float], *, clusters: Sequence[Hashable], seed: int = 0) -> Estimate:
    """The mean of all values, with the percentiles of its means over clusters drawn with replacement (Efron 1979)."""
    places = {key: place for place, key in enumerate(dict.fromkeys(clusters))}
    sums, sizes = np.zeros(len(places)), np.zeros(len(places))
    for value, key in zip(values, clusters, strict=True):
        sums[places[key]] += value
        sizes[places[key]] += 1
    drawn = np.random.default_rng(seed).integers(len(places), size=(RESAMPLES, len(places)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = math.fsum(values) / len(values)
    return Estimate(mean=mean, low=min(float(low), mean), high=max(float(high), mean), n=len(places))
