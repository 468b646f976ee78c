"""Judgements, failures and comparisons -> how steady the judge was: flips, position, label mass, labels.

Does not say whether the judge is right, which only people or a simulated truth can. Asks no model. What depends on the
responses' texts is in length_effect.py, what depends on several principles in pairs.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from rlaif.judge_health.length_effect import LengthEffect, PairFacts, compute_length_effect
from rlaif.judge_health.pairs import (
    Duplicates,
    Influence,
    Transitivity,
    compute_duplicates,
    compute_influence,
    compute_transitivity,
)
from rlaif.records import Comparison, Constitution, Estimate, FailedJudgement, Judgement, Question
from rlaif.records.base import Value
from rlaif.records.judgement import JudgeMode
from rlaif.stats.intervals import mean_interval, share_interval

NUM_BINS = 10
SATURATED = 0.99
MASS_EDGES = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
"""Between the bins of label mass, which crowds at 1."""


class Steadiness(Value):
    """How steady the judge was under one principle. None: no comparison has the figure."""

    num_comparisons: int
    flipped: Estimate | None
    position_effect: Estimate | None


class JudgeHealth(Value):
    mode: JudgeMode = "pair"
    """What the judge was asked: which of two is better, what one is worth, or which of several is best."""
    num_judgements: int
    failed_by_cause: dict[str, int]
    num_comparisons: int
    num_one_order: int
    """Comparisons asked in one order only, or ranked in too few, so that the effect of place is still in them."""
    flipped: Estimate | None
    """Share of comparisons for which two orders named different winners; None for scores, which have no order."""
    position_effect: Estimate | None
    """Mean logits by which being shown first helped a response; 0: it did not. None for scores."""
    label_mass: Estimate | None
    """Mean probability that the judge put on the verdict strings together."""
    lowest_label_mass: float | None
    label_mass_bins: tuple[int, ...] = ()
    """Judgements by that probability, in the bins between `MASS_EDGES`."""
    confidence_bins: tuple[int, ...]
    """Comparisons by the probability of the likelier response, ten bins from .5 to 1."""
    saturated: Estimate | None
    """Share of comparisons with that probability above .99."""
    by_principle: dict[str, Steadiness] = {}
    influence: dict[str, Influence] = {}
    length: LengthEffect | None = None
    transitivity: Transitivity | None = None
    duplicates: Duplicates | None = None
    served_models: dict[str, int] = {}
    """What a server called the model that answered -> judgements; more than one name is more than one judge."""


def compute_judge_health(
    comparisons: Sequence[Comparison],
    *,
    judgements: Sequence[Judgement],
    failures: Sequence[FailedJudgement] = (),
    questions: Sequence[Question] = (),
    constitution: Constitution | None = None,
    facts: PairFacts | None = None,
    draw_seed: int | None = None,
) -> JudgeHealth:
    """The health of one judge from its answers, clustered by prompt.

    `constitution` is needed for what several principles decide together, `facts` for lengths and duplicates.
    `draw_seed`: each pair was asked under one principle, drawn with this seed, so that no principle is compared with
    the others.
    """
    prompt_of = {judgement_id: c.prompt_id for c in comparisons for judgement_id in c.judgement_ids}
    # A judgement whose other order failed belongs to no comparison: it is a cluster of its own.
    masses = [(prompt_of.get(j.id, j.id), min(1.0, j.label_mass)) for j in judgements if j.label_mass is not None]
    confidences = [max(c.p_first, 1 - c.p_first) for c in comparisons]
    bins = Counter(min(NUM_BINS - 1, int((p - 0.5) * 2 * NUM_BINS)) for p in confidences)
    mass_bins = Counter(bisect_right(MASS_EDGES, value) for _, value in masses)
    whole = compute_steadiness(comparisons)
    names = dict.fromkeys(comparison.principle.id for comparison in comparisons)
    return JudgeHealth(
        mode=questions[0].mode if questions else "pair",
        num_judgements=len(judgements),
        failed_by_cause=dict(sorted(Counter(failure.cause for failure in failures).items())),
        num_comparisons=len(comparisons),
        num_one_order=sum(not c.debiased for c in comparisons),
        flipped=whole.flipped,
        position_effect=whole.position_effect,
        label_mass=share_interval([value for _, value in masses], clusters=[key for key, _ in masses]),
        lowest_label_mass=min((value for _, value in masses), default=None),
        label_mass_bins=tuple(mass_bins[k] for k in range(len(MASS_EDGES) + 1)) if masses else (),
        confidence_bins=tuple(bins[k] for k in range(NUM_BINS)),
        saturated=share_interval(
            [float(p > SATURATED) for p in confidences], clusters=[c.prompt_id for c in comparisons]
        ),
        by_principle={name: compute_steadiness([c for c in comparisons if c.principle.id == name]) for name in names},
        influence={}
        if constitution is None or draw_seed is not None
        else compute_influence(comparisons, constitution=constitution),
        length=None if facts is None else compute_length_effect(comparisons, facts=facts),
        transitivity=None
        if constitution is None
        else compute_transitivity(comparisons, constitution=constitution, draw_seed=draw_seed),
        duplicates=compute_duplicates(comparisons, questions=questions, judgements=judgements, facts=facts),
        served_models=dict(Counter(j.observed.served_model for j in judgements if j.observed.served_model)),
    )


def compute_steadiness(comparisons: Sequence[Comparison]) -> Steadiness:
    """Flips and position effect of some comparisons."""
    flips = [(c.prompt_id, float(c.flipped)) for c in comparisons if c.flipped is not None]
    effects = [(c.prompt_id, c.position_effect) for c in comparisons if c.position_effect is not None]
    return Steadiness(
        num_comparisons=len(comparisons),
        flipped=share_interval([value for _, value in flips], clusters=[key for key, _ in flips]),
        position_effect=mean_interval([value for _, value in effects], clusters=[key for key, _ in effects]),
    )
