"""Win rates and behaviour by hand values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from rlaif.errors import StageError
from rlaif.evaluation.policy import (
    PolicyPair,
    compute_behaviour,
    compute_change,
    compute_pair_probabilities,
    compute_win_rate,
    find_different,
    list_figures,
    pair_samples,
)
from rlaif.records import Comparison, Constitution, Principle, Sample

SampleOf = Callable[..., Sample]
ComparisonOf = Callable[..., Comparison]


@pytest.fixture
def pairs(sample_of: SampleOf) -> list[PolicyPair]:
    start = [sample_of(f"p{k}", f"old {k}", policy="start") for k in range(4)]
    trained = [sample_of(f"p{k}", f"new {k}", policy="trained") for k in range(4)]
    return pair_samples(start, trained)


def test_samples_are_paired_by_prompt_and_index(sample_of: SampleOf) -> None:
    start = [
        sample_of("a", "0", policy="s"),
        sample_of("a", "1", policy="s", index=1),
        sample_of("b", "2", policy="s"),
    ]
    trained = [
        sample_of("b", "x", policy="t"),
        sample_of("a", "z", policy="t", index=1),
        sample_of("a", "y", policy="t"),
    ]
    assert [(p.start.text, p.trained.text) for p in pair_samples(start, trained)] == [
        ("0", "y"),
        ("1", "z"),
        ("2", "x"),
    ]


def test_policies_that_answered_other_prompts_are_refused(sample_of: SampleOf) -> None:
    with pytest.raises(StageError, match="same prompts"):
        pair_samples([sample_of("a", "x", policy="s")], [sample_of("b", "x", policy="t")])


def test_the_win_rate_is_the_mean_of_the_combined_probabilities(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    courteous, brief = constitution.principles
    logits = [(2.0, 0.0), (1.0, 1.0), (-3.0, 1.0), (0.0, 0.0)]
    comparisons = [
        comparison_of(pair, principle, logit=logit)
        for pair, both in zip(pairs, logits, strict=True)
        for principle, logit in zip((courteous, brief), both, strict=True)
    ]
    win = compute_win_rate(comparisons, pairs=pairs, constitution=constitution)
    sigmoid = [1 / (1 + math.exp(-x)) for x in (1.0, 1.0, -1.0, 0.0)]
    assert win.soft is not None
    assert win.hard is not None
    assert win.soft.mean == pytest.approx(sum(sigmoid) / 4)
    assert win.hard.mean == (1 + 1 + 0 + 0.5) / 4
    assert win.hard_by_principle["courteous"].mean == (1 + 1 + 0 + 0.5) / 4
    assert win.soft_by_principle["brief"].mean == pytest.approx((0.5 + 2 * 1 / (1 + math.exp(-1)) + 0.5) / 4)
    assert (win.num_pairs, win.num_failed, win.num_identical) == (4, 0, 0)


def test_weights_count_as_in_the_preferences(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    heavy = constitution.principles[0].model_copy(update={"weight": 3.0})
    weighted = constitution.model_copy(update={"principles": (heavy, constitution.principles[1])})
    comparisons = [comparison_of(pairs[0], p, logit=s) for p, s in zip(weighted.principles, (1.0, -1.0), strict=True)]
    win = compute_win_rate(comparisons, pairs=pairs[:1], constitution=weighted)
    assert win.soft is not None
    assert win.soft.mean == pytest.approx(1 / (1 + math.exp(-(3 * 1 - 1) / 4)))


def test_a_pair_that_lacks_a_comparison_has_no_probability(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    comparisons = [comparison_of(pairs[0], principle, logit=1.0) for principle in constitution.principles]
    comparisons.append(comparison_of(pairs[1], constitution.principles[0], logit=1.0))
    found = compute_pair_probabilities(comparisons, pairs=pairs, constitution=constitution)
    assert found == {(pairs[0].start.id, pairs[0].trained.id): pytest.approx(1 / (1 + math.exp(-1)))}


def test_exchanging_the_policies_mirrors_the_win_rate(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    comparisons = [
        comparison_of(pair, principle, logit=0.3 * k)
        for k, pair in enumerate(pairs)
        for principle in constitution.principles
    ]
    win = compute_win_rate(comparisons, pairs=pairs, constitution=constitution)
    exchanged = compute_win_rate(comparisons, pairs=[PolicyPair(b, a) for a, b in pairs], constitution=constitution)
    assert win.soft is not None
    assert exchanged.soft is not None
    assert win.soft.mean + exchanged.soft.mean == pytest.approx(1)
    assert win.soft.low + exchanged.soft.high == pytest.approx(1)


def test_a_failed_judgement_is_counted_and_enters_no_mean(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    courteous, brief = constitution.principles
    comparisons = [comparison_of(pair, courteous, logit=2.0) for pair in pairs]
    comparisons += [comparison_of(pair, brief, logit=2.0) for pair in pairs[1:]]
    win = compute_win_rate(comparisons, pairs=pairs, constitution=constitution)
    assert win.num_failed == 1
    assert win.failed_by_principle == {"courteous": 0, "brief": 1}
    assert win.soft is not None
    assert (win.soft.n, win.soft_by_principle["courteous"].n, win.soft_by_principle["brief"].n) == (3, 4, 3)


def test_when_every_judgement_failed_there_is_no_win_rate(pairs: list[PolicyPair], constitution: Constitution) -> None:
    win = compute_win_rate([], pairs=pairs, constitution=constitution)
    assert (win.soft, win.hard, win.num_failed, win.soft_by_principle) == (None, None, 4, {})


def test_two_equal_texts_count_one_half_without_being_asked(sample_of: SampleOf, constitution: Constitution) -> None:
    pair = PolicyPair(sample_of("a", "same", policy="s"), sample_of("a", "same", policy="t"))
    assert find_different([pair]) == []
    win = compute_win_rate([], pairs=[pair], constitution=constitution)
    assert win.soft is not None
    assert (win.soft.mean, win.num_identical, win.num_failed) == (0.5, 1, 0)
    assert win.at_most == 0.5, "no policy could win more with the same text"


def test_verdicts_without_log_probabilities_are_averaged_as_probabilities(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    comparisons = [
        comparison_of(pairs[0], principle, logit=None, p=p)
        for principle, p in zip(constitution.principles, (1.0, 0.5), strict=True)
    ]
    win = compute_win_rate(comparisons, pairs=pairs[:1], constitution=constitution)
    assert win.soft is not None
    assert win.soft.mean == 0.75


def test_comparisons_in_one_order_are_counted(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    comparisons = [comparison_of(pairs[0], p, logit=1.0, debiased=False) for p in constitution.principles]
    assert compute_win_rate(comparisons, pairs=pairs, constitution=constitution).num_not_debiased == 2


def test_a_comparison_under_an_edited_principle_is_not_read(
    pairs: list[PolicyPair], constitution: Constitution, comparison_of: ComparisonOf
) -> None:
    edited = Principle(id="courteous", text="Prefer the reply that is curt.")
    comparisons = [comparison_of(pair, edited, logit=1.0) for pair in pairs]
    assert compute_win_rate(comparisons, pairs=pairs, constitution=constitution).failed_by_principle["courteous"] == 4


def test_a_change_is_paired_within_prompts() -> None:
    change = compute_change([10.0, 50.0, 90.0], [12.0, 52.0, 92.0], prompt_ids=["a", "b", "c"])
    assert change.change is not None
    assert change.before is not None
    assert (change.change.mean, change.change.low, change.change.high) == (2.0, 2.0, 2.0)
    assert change.before.high - change.before.low > 100


def test_behaviour_counts_length_endings_and_variety(sample_of: SampleOf) -> None:
    start = [
        sample_of("a", "one two three", policy="s", stop=False),
        sample_of("b", "four five six", policy="s"),
    ]
    trained = [sample_of("a", "hello", policy="t"), sample_of("b", "hello", policy="t")]
    behaviour = compute_behaviour(pair_samples(start, trained), kl=1.5)
    assert list_figures(behaviour) == {
        "distinct_before": 1.0,
        "distinct_after": 0.5,
        "response_tokens_before": 4.0,
        "response_tokens_after": 2.0,
        "ended_before": 0.5,
        "ended_after": 1.0,
        "kl": 1.5,
    }
    assert behaviour.ended is not None
    assert behaviour.ended.after is not None
    assert behaviour.ended.after.high == 1.0


def test_recorded_responses_have_no_known_ending() -> None:
    recorded = [Sample(prompt_id="a", policy_id=policy, finish_reason="recorded", text=policy) for policy in ("s", "t")]
    behaviour = compute_behaviour([PolicyPair(*recorded)])
    assert (behaviour.ended, behaviour.response_tokens) == (None, None)
    assert list_figures(behaviour) == {"distinct_before": 1.0, "distinct_after": 1.0}
