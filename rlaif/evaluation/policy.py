"""Samples of the starting and the trained policy, and the judge's comparisons -> win rate and figures.

Pairs are made prompt by prompt; every estimate is clustered by prompt. A failed judgement is counted
beside the win rate and never enters it. Does not sample and does not call the judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

from rlaif.constitution.selection import principles_of, weighted_principles
from rlaif.errors import StageError
from rlaif.evaluation.length_control import LengthControlled, LengthRow, control_length
from rlaif.records import Comparison, Constitution, Estimate, EvaluationReport, Principle, Sample
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval, share_interval
from rlaif.stats.logits import mean_label


class PolicyPair(NamedTuple):
    """Two responses to one prompt; a tuple, so that it can be given to the judge as a pair of samples."""

    start: Sample
    trained: Sample


class WinRate(Value):
    """How often the judge finds the trained policy's response better; one half is no difference."""

    soft: Estimate | None
    """Mean probability that the trained response is better, over the constitution's principles."""
    hard: Estimate | None
    """Share of pairs whose probability is above one half; a tie counts one half."""
    soft_by_principle: dict[str, Estimate]
    hard_by_principle: dict[str, Estimate]
    num_pairs: int
    num_identical: int
    """Pairs with the same text twice: one half by definition, whether asked or not."""
    num_failed: int
    """Pairs that lack a comparison under a principle that counts; they are not in `soft` and `hard`."""
    failed_by_principle: dict[str, int]
    num_not_debiased: int
    """Comparisons that were asked in one order only."""
    length_controlled: LengthControlled | None = None
    """`soft` for responses of equal length; None where there are too few prompts to predict it."""

    @property
    def at_most(self) -> float:
        """The highest win rate that could be found: two equal texts win half of the time, whoever wrote them."""
        compared = self.num_pairs - self.num_failed
        return 1 - self.num_identical / (2 * compared) if compared and self.num_identical else 1.0


class Change(Value):
    """A number on the same prompts before and after training. None: there are too few prompts for an interval."""

    before: Estimate | None
    after: Estimate | None
    change: Estimate | None
    """Mean of after minus before within each pair: its interval says whether anything moved."""
    mean_before: float
    mean_after: float


def pair_samples(start: Sequence[Sample], trained: Sequence[Sample]) -> list[PolicyPair]:
    """The samples of both policies with the same prompt and index, in the order of the first."""
    by_key = {(sample.prompt_id, sample.index): sample for sample in trained}
    keys = {(sample.prompt_id, sample.index) for sample in start}
    if len(by_key) < len(trained) or len(keys) < len(start) or keys != by_key.keys():
        raise StageError(
            "the two policies did not answer the same prompts equally often",
            where=f"{len(start)} and {len(trained)} samples",
            fix="sample both from the same prompts, each index once",
        )
    return [PolicyPair(sample, by_key[sample.prompt_id, sample.index]) for sample in start]


def find_policy_pairs(samples: Sequence[Sample], report: EvaluationReport) -> list[PolicyPair]:
    """The pairs of a stored evaluation, whose samples are also those that the best of n was chosen from."""
    trained = {(s.prompt_id, s.index): s for s in samples if s.policy_id == report.policy_model_id}
    start = {(s.prompt_id, s.index): s for s in samples if s.policy_id == report.start_model_id}
    return [PolicyPair(start[key], sample) for key, sample in trained.items() if key in start]


def find_different(pairs: Sequence[PolicyPair]) -> list[PolicyPair]:
    """The pairs worth asking about: two equal texts win against each other half of the time."""
    return [pair for pair in pairs if pair.start.text != pair.trained.text]


def compute_win_rate(
    comparisons: Sequence[Comparison],
    *,
    pairs: Sequence[PolicyPair],
    constitution: Constitution,
    draw_seed: int | None = None,
) -> WinRate:
    """The win rate over all pairs, by sigmoid(sum w s / sum w), and under each principle alone.

    s is a comparison's logit for the trained response; where a verdict came without log-probabilities
    the weighted mean of the probabilities is taken. Comparisons of other pairs are not read. `draw_seed`: each pair was
    asked under one principle, drawn with this seed.
    """
    principles = weighted_principles(constitution)
    found = _find_comparisons(comparisons, pairs=pairs, constitution=constitution, draw_seed=draw_seed)
    combined = compute_pair_probabilities(comparisons, pairs=pairs, constitution=constitution, draw_seed=draw_seed)
    overall: list[tuple[str, float]] = []
    lengths: list[LengthRow] = []
    by_principle: dict[str, list[tuple[str, float]]] = {principle.id: [] for principle in principles}
    failed_by_principle = {principle.id: 0 for principle in principles}
    num_failed = 0
    for pair in pairs:
        judged = found[pair.start.id, pair.trained.id]
        for principle in principles_of(constitution, (pair.start.id, pair.trained.id), draw_seed=draw_seed):
            if principle.id in judged:
                by_principle[principle.id].append((pair.start.prompt_id, judged[principle.id].p))
            else:
                failed_by_principle[principle.id] += 1
        p = combined.get((pair.start.id, pair.trained.id))
        if p is None:
            num_failed += 1
        else:
            overall.append((pair.start.prompt_id, p))
            longer = len(pair.trained.text) - len(pair.start.text)
            lengths.append(LengthRow(pair.start.prompt_id, p, longer))
    return WinRate(
        soft=_share(overall),
        hard=_share(_decided(overall)),
        soft_by_principle=_shares(by_principle, lambda rows: rows),
        hard_by_principle=_shares(by_principle, _decided),
        num_pairs=len(pairs),
        num_identical=sum(pair.start.text == pair.trained.text for pair in pairs),
        num_failed=num_failed,
        failed_by_principle=failed_by_principle,
        num_not_debiased=sum(not judgement.debiased for judged in found.values() for judgement in judged.values()),
        length_controlled=control_length(lengths),
    )


def compute_pair_probabilities(
    comparisons: Sequence[Comparison],
    *,
    pairs: Sequence[PolicyPair],
    constitution: Constitution,
    draw_seed: int | None = None,
) -> dict[tuple[str, str], float]:
    """(start, trained id) -> probability that the trained response is better; incomplete pairs left out."""
    found = _find_comparisons(comparisons, pairs=pairs, constitution=constitution, draw_seed=draw_seed)
    needed = {key: principles_of(constitution, key, draw_seed=draw_seed) for key in found}
    return {key: _combine(judged, needed[key]) for key, judged in found.items() if len(judged) == len(needed[key])}


class _Judged(NamedTuple):
    """One principle's comparison, seen from the trained policy's response."""

    p: float
    logit: float | None
    debiased: bool


_NO_DIFFERENCE = _Judged(0.5, 0.0, True)


def _find_comparisons(
    comparisons: Sequence[Comparison],
    *,
    pairs: Sequence[PolicyPair],
    constitution: Constitution,
    draw_seed: int | None,
) -> dict[tuple[str, str], dict[str, _Judged]]:
    """(start id, trained id) -> principle id -> what the judge said."""
    by_key = {
        (
            frozenset(comparison.sample_ids),
            comparison.principle.id,
            comparison.principle.text_digest,
        ): comparison
        for comparison in comparisons
    }
    found: dict[tuple[str, str], dict[str, _Judged]] = {}
    for pair in pairs:
        judged = found.setdefault((pair.start.id, pair.trained.id), {})
        for principle in principles_of(constitution, (pair.start.id, pair.trained.id), draw_seed=draw_seed):
            comparison = by_key.get((frozenset((pair.start.id, pair.trained.id)), principle.id, principle.digest))
            if pair.start.text == pair.trained.text:
                judged[principle.id] = _NO_DIFFERENCE
            elif comparison is not None:
                judged[principle.id] = _seen_from(pair.trained.id, comparison)
    return found


def _seen_from(sample_id: str, comparison: Comparison) -> _Judged:
    if comparison.sample_ids[0] == sample_id:
        return _Judged(comparison.p_first, comparison.logit, comparison.debiased)
    logit = None if comparison.logit is None else -comparison.logit
    return _Judged(1 - comparison.p_first, logit, comparison.debiased)


def _combine(judged: Mapping[str, _Judged], principles: Sequence[Principle]) -> float:
    found = [judged[principle.id] for principle in principles]
    return mean_label([(one.p, one.logit) for one in found], weights=[principle.weight for principle in principles])[0]


def _decided(rows: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    return [(prompt_id, 0.5 if p == 0.5 else float(p > 0.5)) for prompt_id, p in rows]


def _share(rows: Sequence[tuple[str, float]]) -> Estimate | None:
    return share_interval([p for _, p in rows], clusters=[prompt_id for prompt_id, _ in rows])


def _shares(
    by_principle: Mapping[str, Sequence[tuple[str, float]]],
    decide: Callable[[Sequence[tuple[str, float]]], Sequence[tuple[str, float]]],
) -> dict[str, Estimate]:
    shares = {name: _share(decide(rows)) for name, rows in by_principle.items()}
    return {name: share for name, share in shares.items() if share is not None}


def compute_change(before: Sequence[float], after: Sequence[float], *, prompt_ids: Sequence[Hashable]) -> Change:
    """Both means and the mean paired difference, each clustered by prompt."""
    if not len(before) == len(after) == len(prompt_ids) or not before:
        raise ValueError("before, after and prompt_ids go together, and there is at least one")
    difference = [b - a for a, b in zip(before, after, strict=True)]
    return Change(
        before=mean_interval(before, clusters=prompt_ids),
        after=mean_interval(after, clusters=prompt_ids),
        change=mean_interval(difference, clusters=prompt_ids),
        mean_before=math.fsum(before) / len(before),
        mean_after=math.fsum(after) / len(after),
    )


class Behaviour(Value):
    """How the two policies write, whatever the principles say."""

    response_tokens: Change | None
    """None where the number of tokens is not known (recorded responses)."""
    ended: Change | None
    """Share of responses that the policy ended itself (EOS) before the limit; None for recorded ones."""
    distinct_before: float
    """Different texts over all texts: a policy that says one thing to everybody comes near 0."""
    distinct_after: float
    kl: float | None
    """KL to the starting policy in nats per response. With `kl_interval` it was measured for the trained policy on
    held-out prompts; without, for the responses that the last step trained on, which an earlier policy drew."""
    kl_interval: Estimate | None = None


def compute_behaviour(
    pairs: Sequence[PolicyPair], *, kl: float | None = None, kl_interval: Estimate | None = None
) -> Behaviour:
    """Length, endings and variety of both policies' responses on the same prompts."""
    if not pairs:
        raise StageError("there are no responses to compare", fix="hold out prompts with prompts.test_fraction")
    ids = [pair.start.prompt_id for pair in pairs]
    known = all(sample.finish_reason != "recorded" for pair in pairs for sample in pair)
    tokens = [(float(pair.start.token_count), float(pair.trained.token_count)) for pair in pairs]
    ended = [(float(pair.start.finish_reason == "stop"), float(pair.trained.finish_reason == "stop")) for pair in pairs]

    def changed(rows: Sequence[tuple[float, float]]) -> Change:
        return compute_change([a for a, _ in rows], [b for _, b in rows], prompt_ids=ids)

    shares = changed(ended)
    return Behaviour(
        response_tokens=changed(tokens) if known else None,
        ended=shares.model_copy(
            update={
                "before": share_interval([a for a, _ in ended], clusters=ids),
                "after": share_interval([b for _, b in ended], clusters=ids),
            }
        )
        if known
        else None,
        distinct_before=len({pair.start.text for pair in pairs}) / len(pairs),
        distinct_after=len({pair.trained.text for pair in pairs}) / len(pairs),
        kl=kl,
        kl_interval=kl_interval,
    )


def list_figures(behaviour: Behaviour) -> dict[str, float]:
    """The behaviour as plain numbers, for the evaluation's record."""
    figures = {"distinct_before": behaviour.distinct_before, "distinct_after": behaviour.distinct_after}
    for name, change in (("response_tokens", behaviour.response_tokens), ("ended", behaviour.ended)):
        if change is not None:
            figures |= {f"{name}_before": change.mean_before, f"{name}_after": change.mean_after}
    interval = behaviour.kl_interval
    if interval is not None:
        return figures | {"kl": interval.mean, "kl_low": interval.low, "kl_high": interval.high}
    return figures if behaviour.kl is None else figures | {"kl": behaviour.kl}
