"""Comparisons, pair by pair -> what each principle decides, whether choices go round in a circle, what was asked twice.

Several principles are combined as in the preferences. Asks no model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from rlaif.constitution.selection import principles_of, weighted_principles
from rlaif.judge_health.length_effect import PairFacts
from rlaif.records import Comparison, Constitution, Estimate, Judgement, Principle, Question
from rlaif.records.base import Value
from rlaif.stats.intervals import share_interval
from rlaif.stats.ranks import is_same

Pair = tuple[str, str]


class Influence(Value):
    """What one principle does to the pairs' labels."""

    weight_share: float
    flips: Estimate | None
    """Share of pairs whose winner would be the other response without this principle; None: there is no other."""
    agrees: Estimate | None
    """Share of pairs on which this principle alone names the same winner as all principles together."""


class Transitivity(Value):
    """Whether three responses to one prompt that were all compared can be put in an order."""

    num_triples: int
    num_circular: int
    """A beats B, B beats C and C beats A: no reward can agree with all three."""
    circular: Estimate | None
    """Share of circular triples; verdicts by the toss of a coin would make 25 %."""


class Duplicates(Value):
    num_identical_pairs: int
    """Pairs of two equal texts that were judged: nothing but chance and place can decide them."""
    num_repeated_pairs: int
    """Pairs whose two texts were judged before, as other samples of the same prompt."""
    num_repeated_questions: int
    """Questions with an exact prompt that the same judge was asked before, votes not counted."""
    repeated_agree: Estimate | None
    """Share of these with the same verdict as the first question with their prompt."""


def compute_influence(comparisons: Sequence[Comparison], *, constitution: Constitution) -> dict[str, Influence]:
    """The influence of each principle on the labels of pairs that were asked under all of them, clustered by prompt.

    A principle turns a pair where the label without it names the other response.
    """
    principles = weighted_principles(constitution)
    total = math.fsum(principle.weight for principle in principles)
    pairs = _complete_pairs(comparisons, constitution=constitution, draw_seed=None)
    found = {}
    for principle in principles:
        others = [other for other in principles if other.id != principle.id]
        turned, agrees, prompts = [], [], []
        for by_principle in pairs.values():
            whole = _sign(by_principle, principles)
            prompts.append(by_principle[principle.id].prompt_id)
            agrees.append(float(_sign(by_principle, [principle]) == whole))
            turned.append(float(bool(others) and _sign(by_principle, others) != whole))
        found[principle.id] = Influence(
            weight_share=principle.weight / total,
            flips=share_interval(turned, clusters=prompts) if others else None,
            agrees=share_interval(agrees, clusters=prompts),
        )
    return found


def compute_transitivity(
    comparisons: Sequence[Comparison], *, constitution: Constitution, draw_seed: int | None = None
) -> Transitivity:
    """The triples of a prompt's samples with all three pairs decided, and how many of them go round in a circle.

    `draw_seed`: each pair was asked under one principle, drawn with this seed.
    """
    beats: dict[str, dict[Pair, int]] = defaultdict(dict)
    for pair, by_principle in _complete_pairs(comparisons, constitution=constitution, draw_seed=draw_seed).items():
        sign = _sign(by_principle, principles_of(constitution, pair, draw_seed=draw_seed))
        if sign:
            prompt_id = next(iter(by_principle.values())).prompt_id
            beats[prompt_id][pair] = sign
    circles: list[tuple[str, float]] = []
    for prompt_id, signs in beats.items():
        for a, b, c in combinations(sorted({sample for pair in signs for sample in pair}), 3):
            # In canonical order a < b < c: a circle is a > b > c > a, or all three the other way round.
            if (a, b) in signs and (b, c) in signs and (a, c) in signs:
                circles.append((prompt_id, float(signs[a, b] == signs[b, c] == -signs[a, c])))
    return Transitivity(
        num_triples=len(circles),
        num_circular=int(sum(value for _, value in circles)),
        circular=share_interval([value for _, value in circles], clusters=[key for key, _ in circles]),
    )


def compute_duplicates(
    comparisons: Sequence[Comparison],
    *,
    questions: Sequence[Question],
    judgements: Sequence[Judgement],
    facts: PairFacts | None,
) -> Duplicates:
    """What was asked twice: the same text against itself, the same two texts, the same exact prompt."""
    identical = repeated = 0
    if facts is not None:
        pairs = {c.sample_ids: c.prompt_id for c in comparisons}
        texts = [(key, frozenset(facts.texts[i].strip() for i in pair)) for pair, key in pairs.items()]
        identical = sum(len(two) == 1 for _, two in texts)
        repeated = len(texts) - len(set(texts))
    verdicts = {judgement.question_id: _outcome_of(judgement) for judgement in judgements}
    first: dict[tuple[str, str, int], Question] = {}
    again: list[tuple[str, float]] = []
    num_again = 0
    for question in questions:
        if question.rendered_digest is None:
            continue
        before = first.setdefault((question.rendered_digest, question.judge_id, question.draw), question)
        if before.id != question.id:
            num_again += 1
            one, other = verdicts.get(before.id), verdicts.get(question.id)
            if one is not None and other is not None:
                again.append((question.prompt_id, float(one == other)))
    return Duplicates(
        num_identical_pairs=identical,
        num_repeated_pairs=repeated,
        num_repeated_questions=num_again,
        repeated_agree=share_interval([value for _, value in again], clusters=[key for key, _ in again]),
    )


def _outcome_of(judgement: Judgement) -> str:
    """The verdict, the nearest whole score, the contrast to two digits, or the place of the best."""
    if judgement.log_likelihoods:
        return f"{judgement.score:.2g}"
    if judgement.score is not None:
        return f"{judgement.score:.0f}"
    return judgement.verdict or str((judgement.ranking or (None,))[0])


def _complete_pairs(
    comparisons: Sequence[Comparison], *, constitution: Constitution, draw_seed: int | None
) -> dict[Pair, dict[str, Comparison]]:
    """Pairs compared under all their principles, by principle id. The comparisons are one judge's."""
    digests = {principle.id: principle.digest for principle in weighted_principles(constitution)}
    pairs: dict[Pair, dict[str, Comparison]] = defaultdict(dict)
    for comparison in comparisons:
        if digests.get(comparison.principle.id) == comparison.principle.text_digest:
            pairs[comparison.sample_ids].setdefault(comparison.principle.id, comparison)
    needed = {pair: {p.id for p in principles_of(constitution, pair, draw_seed=draw_seed)} for pair in pairs}
    return {pair: found for pair, found in pairs.items() if found.keys() >= needed[pair]}


def _sign(by_principle: Mapping[str, Comparison], principles: Sequence[Principle]) -> int:
    """1: the first of the pair wins under these principles, -1: the second, 0: neither."""
    chosen = [(principle.weight, by_principle[principle.id]) for principle in principles]
    if any(comparison.logit is None for _, comparison in chosen):
        label = math.fsum(weight * (comparison.p_first - 0.5) for weight, comparison in chosen)
    else:
        label = math.fsum(weight * (comparison.logit or 0.0) for weight, comparison in chosen)
    return 0 if is_same(label, 0.0) else 1 if label > 0 else -1
