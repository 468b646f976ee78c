"""Comparisons of one pair -> its label over principles and judges, as the options of `preferences` say, or why none.

By default a label is the weighted mean of the log-odds; published recipes differ in each step. Everything that is drawn
is drawn by seed and pair. Reads no files, asks no judge and drops no pair itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rlaif.config.preferences import PreferencesConfig
from rlaif.records import Comparison, CountedAs, OrderVerdict, Panel, Principle, digest_text
from rlaif.stats.logits import P_FIRST, canonical_pair, log_odds, mean_label, sigmoid
from rlaif.stats.ranks import find_highest, is_above, is_same

_MIN_P = 1e-15
"""A probability nearer to 0 or 1 has no log-odds that a float can hold."""
_Scale = dict[tuple[str, str, str], float]
"""Root mean square of the log-odds, by judge and principle."""


class PairLabel(NamedTuple):
    """What a judge, or a panel of them, says of a pair over all principles."""

    p_first: float
    """Probability that the first of the pair, in canonical order, is preferred."""
    logit: float | None
    """None where a comparison has no log-probabilities; `p_first` is then a mean of verdicts."""


class OneJudges(NamedTuple):
    """What one judge says of a pair."""

    label: PairLabel
    counted: tuple[CountedAs, ...]
    """What each comparison counted as, in their order."""


class Finished(NamedTuple):
    """A label as training reads it."""

    label: float
    turned: bool
    """Whether `label_noise` inverted it."""


def find_judges(panel: Panel, judged: Mapping[str, object], *, min_judges: int | None) -> list[str] | str:
    """The judges with a label of a pair, in the panel's order; or why they are too few to label it.

    judged: by judge id. min_judges: how many are enough; None: all of them are needed.
    """
    found = [member.judge_id for member in panel.members if member.judge_id in judged]
    needed = len(panel.members) if min_judges is None else min(min_judges, len(panel.members))
    if found and len(found) >= needed:
        return found
    return "too_few_judges" if found else "failed_judgement"


def combine_labels(labels: Sequence[PairLabel], *, weights: Sequence[float]) -> PairLabel:
    """sigmoid(sum w s / sum w) over principles or judges; where a label has no logit the mean of the probabilities.

    Averaging logits is the weighted geometric mean of the odds: one certainty cannot be outvoted by several lukewarm
    labels, and swapping the samples swaps the label.
    """
    return PairLabel(*mean_label(labels, weights=weights))


class LabelRule:
    """The options of `preferences`, with the round's seed and the spread of its judges' log-odds."""

    def __init__(self, config: PreferencesConfig, *, seed: int = 0, fitted_on: Iterable[Comparison] = ()) -> None:
        """`fitted_on`: the round's comparisons; with `normalise` log-odds are divided by their spread."""
        self.config, self._seed = config, seed
        self._scale: _Scale = {}
        if config.normalise == "principle":
            self._scale = self._find_scale(fitted_on)

    def combine(self, comparisons: Sequence[Comparison], principles: Sequence[Principle]) -> OneJudges:
        """The label of a pair's first sample by id; one comparison under each of the principles."""
        scored = [self.score(comparison) for comparison in comparisons]
        drawn = self._draw(principles, canonical_pair(*comparisons[0].sample_ids))
        scored = [
            one if principle.id in drawn else one.model_copy(update={"why": "not_drawn"})
            for one, principle in zip(scored, principles, strict=True)
        ]
        if self.config.combine == "dominant":
            surest = self._find_surest(scored, principles)
            scored = [
                one if number == surest or not one.is_used else one.model_copy(update={"why": "not_dominant"})
                for number, one in enumerate(scored)
            ]
        used = [
            (PairLabel(one.p_first, one.logit), p.weight)
            for one, p in zip(scored, principles, strict=True)
            if one.is_used
        ]
        label = combine_labels([label for label, _ in used], weights=[weight for _, weight in used])
        return OneJudges(label, tuple(scored))

    def finish(self, label: float, *, pair: tuple[str, str]) -> Finished:
        """What training reads in place of a label that is calibrated and has passed the filters."""
        if self.config.labels == "hard":
            label = 0.5 if is_same(label, 0.5) else float(label > 0.5)
        turned = self._uniform("noise", pair) < self.config.label_noise
        label = 1 - label if turned else label
        return Finished(min(max(label, self.config.clamp), 1 - self.config.clamp), turned)

    def score(self, comparison: Comparison) -> CountedAs:
        """What a comparison counts as by itself, before principles are combined."""
        p, logit = self._average_orders(comparison)
        why = ""
        if self.config.inconsistent == "tie" and not _agrees(comparison):
            p, logit, why = 0.5, None if logit is None else 0.0, "orders_disagree"
        scale = self._scale.get(_scale_key(comparison), 0.0)
        if logit is not None and scale > 0:
            logit /= scale
            p = sigmoid(logit)
        if comparison.sample_ids != canonical_pair(*comparison.sample_ids):
            p, logit = 1 - p, None if logit is None else -logit
        return CountedAs(p_first=p, logit=logit, why=why)

    def _average_orders(self, comparison: Comparison) -> PairLabel:
        orders = _find_orders(comparison)
        if self.config.verdicts == "hard":
            return PairLabel(math.fsum(P_FIRST[order.verdict] for order in orders) / len(orders), None)
        logits = [order.logit for order in orders if order.logit is not None]
        if self.config.average == "logits" or len(logits) < len(orders):
            return PairLabel(comparison.p_first, comparison.logit)
        p = mean_label([(sigmoid(logit), None) for logit in logits], weights=[1.0] * len(logits))[0]
        return PairLabel(p, log_odds(p, least=_MIN_P))

    def _find_scale(self, comparisons: Iterable[Comparison]) -> _Scale:
        """The root mean square about zero: which response is called the first is arbitrary, and so is the mean."""
        squares: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for comparison in comparisons:
            logit = self.score(comparison).logit
            if logit is not None:
                squares[_scale_key(comparison)].append(logit * logit)
        return {key: math.sqrt(math.fsum(values) / len(values)) for key, values in squares.items()}

    def _draw(self, principles: Sequence[Principle], pair: tuple[str, str]) -> set[str]:
        """Ids of the principles that label this pair."""
        if self.config.subset_p is None:
            return {principle.id for principle in principles}
        # The inverse of the geometric distribution function: 1 with probability p, 2 with (1 - p) p, ...
        number = 1 + math.floor(math.log1p(-self._uniform("size", pair)) / math.log1p(-self.config.subset_p))
        order = sorted(principles, key=lambda principle: self._uniform(f"principle {principle.id}", pair))
        return {principle.id for principle in order[: min(number, self.config.subset_max)]}

    def _find_surest(self, scored: Sequence[CountedAs], principles: Sequence[Principle]) -> int:
        """The place of the principle whose weight times sureness is highest."""
        has_logits = all(one.logit is not None for one in scored if one.is_used)

        def strength(number: int) -> float:
            one = scored[number]
            surety = abs(one.logit) if has_logits and one.logit is not None else abs(one.p_first - 0.5)
            return principles[number].weight * surety

        used = [number for number, one in enumerate(scored) if one.is_used]
        return used[find_highest([strength(number) for number in used])]

    def _uniform(self, what: str, pair: tuple[str, str]) -> float:
        """A number in [0, 1) that follows from seed and pair."""
        return int(digest_text(f"{what}\n{self._seed}\n{pair[0]}\n{pair[1]}")[:13], 16) / 16**13


def _scale_key(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.judge_id, *comparison.principle.wording


def _agrees(comparison: Comparison) -> bool:
    """Whether both orders gave the same verdict; one order, a score or a ranking cannot disagree with itself."""
    if comparison.orders:
        return len({order.verdict for order in comparison.orders}) == 1
    return comparison.flipped is not True


def _find_orders(comparison: Comparison) -> Sequence[OrderVerdict]:
    """Each order by itself; for a score, a ranking or an old record a single one, with what the whole of it says."""
    if comparison.orders:
        return comparison.orders
    p = comparison.p_first
    verdict = "tie" if is_same(p, 0.5) or comparison.flipped else "first" if p > 0.5 else "second"
    return (OrderVerdict(verdict=verdict, logit=comparison.logit),)


def find_reason_to_drop(label: float, comparisons: Sequence[Comparison], *, config: PreferencesConfig) -> str | None:
    """`tie` (the label is nearer to one half than `min_margin`), `flipped`, or None to keep the pair.

    label: probability that the pair's first sample is preferred. comparisons: the pair's, one per principle.
    """
    if is_above(config.min_margin, abs(label - 0.5)):
        return "tie"
    if config.drop_flipped and _is_flipped_everywhere(comparisons):
        return "flipped"
    return None


def _is_flipped_everywhere(comparisons: Sequence[Comparison]) -> bool:
    """Whether under every principle the two orders named different winners; one order alone cannot tell."""
    return bool(comparisons) and all(comparison.flipped is True for comparison in comparisons)
