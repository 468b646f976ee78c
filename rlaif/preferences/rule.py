"""Comparisons of a pair by one judge -> what each counts as, and their label, as the options of `preferences` say.

By default the weighted mean of the log-odds; published recipes differ in each step. Everything that is drawn is
drawn by seed and pair. Asks nobody and drops nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rlaif.config.preferences import PreferencesConfig
from rlaif.preferences.combine import PairLabel, combine_labels
from rlaif.records import Comparison, CountedAs, OrderVerdict, Principle, digest_text
from rlaif.stats.logits import P_FIRST, canonical_pair, log_odds, mean_label, sigmoid
from rlaif.stats.ranks import find_highest, is_same

_MIN_P = 1e-15
"""A probability nearer to 0 or 1 has no log-odds that a float can hold."""
_Scale = dict[tuple[str, str, str], float]
"""Root mean square of the log-odds, by judge and principle."""


class OneJudges(NamedTuple):
    """What one judge says of a pair."""

    label: PairLabel
    counted: tuple[CountedAs, ...]
    """What each comparison counted as, in their order."""


class Finished(NamedTuple):
    label: float
    turned: bool


class LabelRule:
    """The options, and what they need to know of the round: its seed, and how sure its judges are."""

    def __init__(self, config: PreferencesConfig, *, seed: int = 0, fitted_on: Iterable[Comparison] = ()) -> None:
        """`fitted_on`: the round's comparisons, by whose spread log-odds are divided where that is asked for."""
        self.config, self._seed = config, seed
        self._scale: _Scale = {}
        if config.normalise == "principle":
            self._scale = self._find_scale(fitted_on)

    def combine(self, comparisons: Sequence[Comparison], principles: Sequence[Principle]) -> OneJudges:
        """The label of a pair by its comparisons under these principles, one each, for its first sample by id."""
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
        """The label as training reads it, after calibration and filters."""
        if self.config.labels == "hard":
            label = 0.5 if is_same(label, 0.5) else float(label > 0.5)
        turned = self._uniform("noise", pair) < self.config.label_noise
        label = 1 - label if turned else label
        return Finished(min(max(label, self.config.clamp), 1 - self.config.clamp), turned)

    def score(self, comparison: Comparison) -> CountedAs:
        """A comparison by itself, before principles are combined."""
        p, logit = self._average(comparison)
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

    def _average(self, comparison: Comparison) -> PairLabel:
        """Its two orders together."""
        orders = _find_orders(comparison)
        if self.config.verdicts == "hard":
            return PairLabel(math.fsum(P_FIRST[order.verdict] for order in orders) / len(orders), None)
        logits = [order.logit for order in orders if order.logit is not None]
        if self.config.average == "logits" or len(logits) < len(orders):
            return PairLabel(comparison.p_first, comparison.logit)
        p = mean_label([(sigmoid(logit), None) for logit in logits], weights=[1.0] * len(logits))[0]
        return PairLabel(p, log_odds(p, least=_MIN_P))

    def _find_scale(self, comparisons: Iterable[Comparison]) -> _Scale:
        """About zero: which response is called the first is arbitrary, so that the mean of log-odds is."""
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
        has_logits = all(one.logit is not None for one in scored if one.is_used)

        def strength(number: int) -> float:
            one = scored[number]
            surety = abs(one.logit) if has_logits and one.logit is not None else abs(one.p_first - 0.5)
            return principles[number].weight * surety

        used = [number for number, one in enumerate(scored) if one.is_used]
        return used[find_highest([strength(number) for number in used])]

    def _uniform(self, what: str, pair: tuple[str, str]) -> float:
        """A number in [0, 1) that seed and pair decide."""
        return int(digest_text(f"{what}\n{self._seed}\n{pair[0]}\n{pair[1]}")[:13], 16) / 16**13


def _scale_key(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.judge_id, comparison.principle.id, comparison.principle.text_digest


def _agrees(comparison: Comparison) -> bool:
    """Whether both orders gave the same verdict; one order, a score or a ranking cannot disagree with itself."""
    if comparison.orders:
        return len({order.verdict for order in comparison.orders}) == 1
    return comparison.flipped is not True


def _find_orders(comparison: Comparison) -> Sequence[OrderVerdict]:
    """Each order by itself; of a score, a ranking or an old record one that says what all of it says."""
    if comparison.orders:
        return comparison.orders
    p = comparison.p_first
    verdict = "tie" if is_same(p, 0.5) or comparison.flipped else "first" if p > 0.5 else "second"
    return (OrderVerdict(verdict=verdict, logit=comparison.logit),)
