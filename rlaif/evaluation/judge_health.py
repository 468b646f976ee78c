"""Judgements, failures and comparisons -> how steady the judge was: flips, position, label mass, labels.

Says nothing about whether the judge is right: only people (or a simulated truth) can. Asks nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlaif.intervals import mean_interval, share_interval
from rlaif.records import Comparison, Estimate, FailedJudgement, Judgement
from rlaif.records.base import Value

NUM_BINS = 10
SATURATED = 0.99


class JudgeHealth(Value):
    num_judgements: int
    failed_by_cause: dict[str, int]
    num_comparisons: int
    num_one_order: int
    """Comparisons asked in one order only: nothing below is known of them."""
    flipped: Estimate | None
    """Share of comparisons whose two orders named different winners."""
    position_effect: Estimate | None
    """Mean logits by which being shown first helped a response; 0 is a judge that does not care."""
    label_mass: Estimate | None
    """Mean probability that the judge put on the verdict strings together."""
    lowest_label_mass: float | None
    confidence_bins: tuple[int, ...]
    """Comparisons by the probability of the likelier response, ten bins from .5 to 1."""
    saturated: Estimate | None
    """Share of comparisons with that probability above .99."""


def compute_judge_health(
    comparisons: Sequence[Comparison],
    *,
    judgements: Sequence[Judgement],
    failures: Sequence[FailedJudgement] = (),
) -> JudgeHealth:
    """What the judge's answers say about the judge, clustered by prompt."""
    flips = [(c.prompt_id, float(c.flipped)) for c in comparisons if c.flipped is not None]
    effects = [(c.prompt_id, c.position_effect) for c in comparisons if c.position_effect is not None]
    prompt_of = {judgement_id: c.prompt_id for c in comparisons for judgement_id in c.judgement_ids}
    # A judgement whose other order failed belongs to no comparison: it is a cluster of its own.
    masses = [(prompt_of.get(j.id, j.id), min(1.0, j.label_mass)) for j in judgements if j.label_mass is not None]
    confidences = [max(c.p_first, 1 - c.p_first) for c in comparisons]
    bins = Counter(min(NUM_BINS - 1, int((p - 0.5) * 2 * NUM_BINS)) for p in confidences)
    return JudgeHealth(
        num_judgements=len(judgements),
        failed_by_cause=dict(sorted(Counter(failure.cause for failure in failures).items())),
        num_comparisons=len(comparisons),
        num_one_order=sum(not c.debiased for c in comparisons),
        flipped=share_interval([value for _, value in flips], clusters=[key for key, _ in flips]),
        position_effect=mean_interval([value for _, value in effects], clusters=[key for key, _ in effects]),
        label_mass=share_interval([value for _, value in masses], clusters=[key for key, _ in masses]),
        lowest_label_mass=min((value for _, value in masses), default=None),
        confidence_bins=tuple(bins[k] for k in range(NUM_BINS)),
        saturated=share_interval(
            [float(p > SATURATED) for p in confidences], clusters=[c.prompt_id for c in comparisons]
        ),
    )
