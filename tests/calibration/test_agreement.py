"""Kappa, AC1, alpha and a judge's quality: hand values, an independent computation, and what must always hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.calibration.agreement import (
    choice_of,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    measure_agreement,
    measure_quality,
)
from rlaif.stats.intervals import share_interval, stratified_share

# 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: the textbook example of kappa.
A = ["yes"] * 25 + ["no"] * 25
B = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
choice_lists = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


def test_kappa_of_the_textbook_example_matches_the_hand_computation() -> None:
    # observed (20 + 15) / 50 = .7; expected .5 * .6 + .5 * .4 = .5
    assert cohen_kappa(A, B) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_ac1_of_the_textbook_example_matches_the_hand_computation() -> None:
    # mean rate of yes (25 + 30) / 100 = .55; chance 2 * .55 * .45 = .495
    assert gwet_ac1(A, B) == pytest.approx((0.7 - 0.495) / (1 - 0.495))


def test_with_a_rare_choice_kappa_collapses_and_ac1_does_not() -> None:
    # 118 agree on no, 5 and 2 disagree: Gwet's paradox. kappa: chance (118+5)/125 * (118+2)/125 + 2/125 * 5/125.
    a, b = ["no"] * 118 + ["no"] * 5 + ["yes"] * 2, ["no"] * 118 + ["yes"] * 5 + ["no"] * 2
    chance = (123 * 120 + 2 * 5) / 125**2
    assert cohen_kappa(a, b) == pytest.approx((118 / 125 - chance) / (1 - chance))
    rate = (2 + 5) / 250
    assert gwet_ac1(a, b) == pytest.approx((118 / 125 - 2 * rate * (1 - rate)) / (1 - 2 * rate * (1 - rate)))


def test_where_only_one_choice_was_made_there_is_nothing_beyond_chance() -> None:
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    assert gwet_ac1(["a", "a"], ["a", "a"]) is None
    assert cohen_kappa([], []) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None


def test_chance_agreement_is_zero_and_perfect_agreement_is_one() -> None:
    a, b = zip(*[(x, y) for x in "abc" for y in "abc"], strict=True)
    assert cohen_kappa(a, b) == pytest.approx(0, abs=1e-12)
    assert gwet_ac1(a, b) == pytest.approx(0, abs=1e-12)
    assert cohen_kappa("abca", "abca") == gwet_ac1("abca", "abca") == 1


@given(choice_lists)
def test_neither_the_order_of_the_two_nor_of_the_items_nor_the_names_matter(pairs: list[tuple[str, str]]) -> None:
    a, b = zip(*pairs, strict=True)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    c, d = zip(*shuffled, strict=True)
    renamed = [[{"a": "z", "b": "x", "c": "y"}[choice] for choice in choices] for choices in (a, b)]
    for measure in (cohen_kappa, gwet_ac1):
        assert measure(a, b) == pytest.approx(measure(b, a))
        assert measure(a, b) == pytest.approx(measure(c, d))
        assert measure(a, b) == pytest.approx(measure(*renamed))


def test_alpha_of_krippendorffs_own_example_matches_the_published_value() -> None:
    """Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: some choices are missing."""
    people = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    items = [[choice for choice in item if choice != "."] for item in zip(*people, strict=True)]
    alpha = krippendorff_alpha(items)
    assert alpha is not None
    assert (round(alpha.alpha.mean, 3), alpha.num_items, alpha.num_choices) == (0.743, 11, 40)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=12))
def test_alpha_is_that_of_a_slow_count_of_all_pairs(items: list[list[str]]) -> None:
    alpha = krippendorff_alpha(items)
    expected = slow_alpha(items)
    assert (alpha is None) == (expected is None)
    if alpha is not None:
        assert alpha.alpha.mean == pytest.approx(expected)


def slow_alpha(items: Sequence[Sequence[str]]) -> float | None:
    """By the coincidence matrix, pair by pair."""
    coincidences: dict[tuple[str, str], float] = {}
    for item in items:
        for x, y in permutations(item, 2):
            coincidences[x, y] = coincidences.get((x, y), 0) + 1 / (len(item) - 1)
    n = sum(coincidences.values())
    totals: dict[str, float] = {}
    for (x, _), count in coincidences.items():
        totals[x] = totals.get(x, 0) + count
    if len(totals) < 2:
        return None
    observed = sum(count for (x, y), count in coincidences.items() if x != y) / n
    expected = sum(totals[x] * totals[y] for x in totals for y in totals if x != y) / (n * (n - 1))
    return 1 - observed / expected


def test_alpha_is_evalicas() -> None:
    evalica = pytest.importorskip("evalica", reason="evalica, of the dev extra, is not installed")
    import pandas as pd

    generator = np.random.default_rng(3)
    answers = generator.integers(0, 3, (6, 40)).astype(object)
    answers[generator.random((6, 40)) < 0.3] = None
    items = [[str(choice) for choice in column if choice is not None] for column in answers.T]
    alpha = krippendorff_alpha(items)
    assert alpha is not None
    assert alpha.alpha.mean == pytest.approx(evalica.alpha(pd.DataFrame(answers)).alpha, abs=1e-12)


def test_a_judges_quality_matches_the_hand_computation() -> None:
    # judged a: 2 of 4 right; b: 1 of 1; c: never. right a: 2 of 2 found; b: 1 of 2; c: 0 of 1.
    judged, right = "aaaba", "aabbc"
    quality = measure_quality(judged, right, clusters=range(5))
    assert quality.by_choice == {"a": (0.5, 1.0), "b": (1.0, 0.5), "c": (0.0, 0.0)}
    assert quality.accuracy.mean == pytest.approx(3 / 5)
    assert quality.precision.mean == pytest.approx((0.5 + 1 + 0) / 3)
    assert quality.recall.mean == pytest.approx((1 + 0.5 + 0) / 3)
    assert quality.f1.mean == pytest.approx((2 * 0.5 / 1.5 + 2 * 0.5 / 1.5 + 0) / 3)


def test_the_agreement_of_two_series_has_the_values_and_base_rates_of_the_first() -> None:
    agreement = measure_agreement(A, B, clusters=range(50))
    assert agreement.n == 50
    assert agreement.share.mean == pytest.approx(0.7)
    assert agreement.kappa is not None
    assert agreement.kappa.mean == pytest.approx(0.4)
    assert agreement.ac1 is not None
    assert agreement.ac1.mean == pytest.approx(gwet_ac1(A, B))
    assert agreement.base_rates == {"no": 0.5, "yes": 0.5}


def test_a_seed_gives_the_same_interval_again_and_another_seed_nearly_it() -> None:
    first, again, other = (measure_agreement(A, B, clusters=range(50), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.kappa is not None
    assert other.kappa is not None
    assert first.kappa.low != other.kappa.low
    assert first.kappa.low == pytest.approx(other.kappa.low, abs=0.03)


def test_items_of_one_prompt_that_say_the_same_are_not_more_evidence() -> None:
    single = measure_agreement(A, B, clusters=range(50))
    copied = measure_agreement(A * 4, B * 4, clusters=list(range(50)) * 4)
    assert single.kappa is not None
    assert copied.kappa is not None
    assert (copied.kappa.mean, copied.kappa.n) == (pytest.approx(single.kappa.mean), 50)
    assert (copied.kappa.low, copied.kappa.high) == pytest.approx((single.kappa.low, single.kappa.high), abs=0.02)
    taken_alone = measure_agreement(A * 4, B * 4, clusters=range(200))
    assert taken_alone.kappa is not None
    assert taken_alone.kappa.high - taken_alone.kappa.low < 0.6 * (copied.kappa.high - copied.kappa.low)


def test_perfect_agreement_on_few_items_is_not_certain() -> None:
    agreement = measure_agreement("aabb", "aabb", clusters=range(4))
    assert agreement.kappa is not None
    assert (agreement.kappa.mean, agreement.kappa.high) == (1, 1)
    # the share's lower bound at the chance of one half
    assert agreement.kappa.low == pytest.approx((agreement.share.low - 0.5) / 0.5)
    assert agreement.kappa.low < 0.5


@pytest.mark.parametrize("num_prompts", [12, 40])
def test_the_interval_of_kappa_covers_the_true_one(num_prompts: int) -> None:
    """Two people read each item right with .8, three items to a prompt that is easy (.95) or hard (.65) for both."""
    generator = np.random.default_rng(5)
    covered, num_worlds = 0, 150
    # both right or both wrong: mean over easy and hard of r^2 + (1 - r)^2; chance one half.
    truth = ((0.95**2 + 0.05**2 + 0.65**2 + 0.35**2) / 2 - 0.5) / 0.5
    for world in range(num_worlds):
        skill = np.repeat(generator.choice([0.95, 0.65], num_prompts), 3)
        answer = generator.integers(0, 2, len(skill))
        a, b = (np.where(generator.random(len(skill)) < skill, answer, 1 - answer) for _ in range(2))
        clusters = np.repeat(np.arange(num_prompts), 3).tolist()
        kappa = measure_agreement([str(x) for x in a], [str(x) for x in b], clusters=clusters, seed=world).kappa
        covered += kappa is not None and kappa.low <= truth <= kappa.high
    # over 150 worlds a coverage of .95 shows at least .89 in 999 of 1000 cases
    assert covered / num_worlds >= 0.89


def test_series_of_different_lengths_and_no_items_are_refused() -> None:
    with pytest.raises(ValueError, match="2 choices beside 1"):
        measure_agreement("ab", "a", clusters=range(2))
    with pytest.raises(ValueError, match="no items"):
        measure_agreement([], [], clusters=[])


@settings(max_examples=examples(25))
@given(choice_lists, st.lists(st.integers(1, 4), min_size=30, max_size=30))
def test_an_item_of_weight_k_has_the_figures_of_k_items(pairs: list[tuple[str, str]], counts: list[int]) -> None:
    weights = counts[: len(pairs)]
    copies = [pair for pair, count in zip(pairs, weights, strict=True) for _ in range(count)]
    one = measure_agreement(*zip(*pairs, strict=True), clusters=range(len(pairs)), weights=weights)
    many = measure_agreement(*zip(*copies, strict=True), clusters=range(len(copies)))
    assert one.share.mean == pytest.approx(many.share.mean)
    assert one.base_rates == pytest.approx(many.base_rates)
    for a, b in ((one.kappa, many.kappa), (one.ac1, many.ac1)):
        assert (a is None) == (b is None)
        assert a is None or b is None or a.mean == pytest.approx(b.mean, abs=1e-9)
    judged, right = zip(*pairs, strict=True)
    quality = measure_quality(judged, right, clusters=range(len(pairs)), weights=weights)
    counted = measure_quality(*zip(*copies, strict=True), clusters=range(len(copies)))
    for name in ("accuracy", "precision", "recall", "f1"):
        assert getattr(quality, name).mean == pytest.approx(getattr(counted, name).mean)


def test_even_weights_change_no_figure() -> None:
    plain = measure_agreement(A, B, clusters=range(50))
    assert measure_agreement(A, B, clusters=range(50), weights=[0.3] * 50) == plain
    items = [[a, b] for a, b in zip(A, B, strict=True)]
    assert krippendorff_alpha(items, weights=[7.0] * 50) == krippendorff_alpha(items)


def test_alpha_leans_to_the_heavy_items() -> None:
    items = [["x", "x"], ["y", "y"], ["x", "y"], ["y", "x"]]
    light, heavy = krippendorff_alpha(items, weights=[1, 1, 5, 5]), krippendorff_alpha(items, weights=[5, 5, 1, 1])
    assert light is not None
    assert heavy is not None
    assert light.alpha.mean < 0 < heavy.alpha.mean
    assert heavy.num_choices == 8


Draw = tuple[list[str], list[str], list[int], list[float]]


def drawn_where_unsure(reps: int) -> Iterator[tuple[float, Draw]]:
    """The true agreement, and what people and judge say on 200 pairs.

    The judge is right on 95 % of the sure pairs and on 55 % of the unsure 30 %, which are drawn ten times as often.
    """
    rng = np.random.default_rng(3)
    unsure = rng.random(20_000) < 0.3
    right = np.where(unsure, rng.random(20_000) < 0.55, rng.random(20_000) < 0.95)
    first = rng.random(20_000) < 0.5
    probability = np.where(unsure, 1.0, 0.1)
    probability *= 200 / probability.sum()
    for _ in range(reps):
        at = np.flatnonzero(rng.random(20_000) < probability)
        people, judge = [str(c) for c in first[at]], [str(c) for c in first[at] == right[at]]
        yield float(right.mean()), (people, judge, at.tolist(), (1 / probability[at]).tolist())


def test_the_weighted_share_of_labels_drawn_where_the_judge_is_unsure_holds_the_truth() -> None:
    held = Counter[str]()
    for truth, (people, judge, at, weights) in drawn_where_unsure(400):
        same = [float(a == b) for a, b in zip(people, judge, strict=True)]
        for name, given_weights in (("weighted", weights), ("unweighted", None)):
            share = share_interval(same, clusters=at, weights=given_weights)
            assert share is not None
            held[name] += share.low <= truth <= share.high
    assert 0.92 <= held["weighted"] / 400 <= 0.98
    assert held["unweighted"] == 0


def test_draws_of_so_many_from_each_stratum_hold_the_truth_in_a_narrower_interval() -> None:
    rng = np.random.default_rng(5)
    right = {"sure": rng.random(14_000) < 0.95, "unsure": rng.random(6_000) < 0.55}
    truth = float(np.concatenate([*right.values()]).mean())
    sizes = {"sure": 88, "unsure": 112}  # each unsure pair is drawn three times as often
    held, widths = Counter[str](), Counter[str]()
    for _ in range(400):
        rows = [
            (float(same), len(all_pairs) / sizes[name], name)
            for name, all_pairs in right.items()
            for same in rng.choice(all_pairs, size=sizes[name], replace=False)
        ]
        same, weights, strata = (list(column) for column in zip(*rows, strict=True))
        for name, share in (
            ("strata", stratified_share(same, strata=strata, weights=weights)),
            ("weighted", share_interval(same, weights=weights)),
            ("unweighted", share_interval(same)),
        ):
            assert share is not None
            held[name] += share.low <= truth <= share.high
            widths[name] += share.high - share.low
    assert 0.92 <= held["strata"] / 400 <= 0.98, held
    assert widths["strata"] < widths["weighted"]
    assert held["unweighted"] < 40


@pytest.mark.heavy
def test_weighted_kappa_and_ac1_of_such_labels_hold_the_truth() -> None:
    held = Counter[str]()
    for truth, (people, judge, at, weights) in drawn_where_unsure(300):
        found = measure_agreement(people, judge, clusters=at, weights=weights)
        for name, estimate in (("kappa", found.kappa), ("ac1", found.ac1)):
            assert estimate is not None
            held[name] += estimate.low <= 2 * truth - 1 <= estimate.high  # both choices are as frequent
    assert all(0.91 <= count / 300 <= 0.99 for count in held.values()), held


@pytest.mark.parametrize(
    ("p_first", "band", "choice"),
    [(0.5, 0.01, "tie"), (0.51, 0.01, "tie"), (0.49, 0.01, "tie"), (0.511, 0.01, "first"), (0.489, 0.01, "second"),
     (0.5, 0.0, "tie"), (0.5 + 1e-12, 0.0, "tie"), (0.49999, 0.0, "second")],
)  # fmt: skip
def test_a_label_near_one_half_is_a_tie_where_somebody_ties(p_first: float, band: float, choice: str) -> None:
    assert choice_of(p_first, band=band) == choice
