"""People's labels beside a judge's: reliability, the accuracy that people would find, what a calibration changes."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.calibration.judged import FittedItems, JudgedPair, fit_items
from rlaif.calibration.spot_check import ItemKey
from rlaif.evaluation.people import (
    PredictedPair,
    compare_predictors,
    compare_reliability,
    describe_effect,
    estimate_accuracy,
    estimate_win_rate,
)
from rlaif.evaluation.policy import PolicyPair
from rlaif.records import CalibrationMap, HumanLabel, PartMap, Sample, SamplingParams, Verdict
from rlaif.stats.logits import sigmoid

TEXTS = {"a": "one two three four", "b": "one", "c": "one two", "d": "one two"}


def key_of(n: int) -> ItemKey:
    return (f"a{n}", f"b{n}"), "overall"


def label_of(n: int, choice: Verdict, *, probability: float | None = 0.5, annotator: str = "ann") -> HumanLabel:
    return HumanLabel(
        annotator=annotator,
        prompt_id=f"p{n}",
        sample_ids=key_of(n)[0],
        choice=choice,
        inclusion_probability=probability,
    )


def judged_items(size: int) -> dict[ItemKey, JudgedPair]:
    """Log-odds of 1, 2 or 3 for the first response."""
    return {key_of(n): JudgedPair(sigmoid(1.0 + n % 3), 1.0 + n % 3) for n in range(size)}


def fitted(labels: list[HumanLabel], judged: dict[ItemKey, JudgedPair]) -> FittedItems:
    texts = {sample_id: "word" for pair, _ in judged for sample_id in pair}
    found = fit_items(labels, judged, texts=texts, is_scaled=True)
    assert found is not None
    return found


def test_the_accuracy_is_about_all_items_and_people_alone_stand_beside_it() -> None:
    rng, judged = random.Random(1), judged_items(300)
    right = {n: rng.random() < judged[key_of(n)].p_first for n in range(300)}
    labels = [label_of(n, "first" if right[n] else "second", probability=0.3) for n in range(90)]
    drawable = {key_of(n): f"p{n}" for n in range(300)}
    rate = estimate_accuracy(fitted(labels, judged), judged=judged, drawable=drawable)
    assert rate is not None
    assert rate.uses_judge
    assert (rate.num_labels, rate.num_items) == (90, 300)
    assert rate.people.mean == pytest.approx(sum(right[n] for n in range(90)) / 90)
    truth = sum(right.values()) / 300
    assert rate.estimate.low < truth < rate.estimate.high


def test_items_count_one_over_the_probability_with_which_they_were_drawn() -> None:
    judged = judged_items(40)
    labels = [label_of(n, "first", probability=0.25) for n in range(20)]
    labels += [label_of(n, "second", probability=0.5) for n in range(20, 40)]
    drawable = {key_of(n): f"p{n}" for n in range(40)}
    rate = estimate_accuracy(fitted(labels, judged), judged=judged, drawable=drawable)
    assert rate is not None
    assert rate.people.mean == pytest.approx(80 / 120)


def test_with_few_labels_of_the_rarer_answer_people_alone_give_the_accuracy() -> None:
    judged = judged_items(60)
    labels = [label_of(n, "second" if n < 5 else "first") for n in range(60)]
    rate = estimate_accuracy(fitted(labels, judged), judged=judged, drawable={})
    assert rate is not None
    assert not rate.uses_judge
    assert rate.estimate == rate.people


def test_without_draw_probabilities_there_is_no_accuracy_over_all_items() -> None:
    judged = judged_items(60)
    labels = [label_of(n, "first", probability=None) for n in range(60)]
    assert estimate_accuracy(fitted(labels, judged), judged=judged, drawable={}) is None


def test_the_reliability_before_is_of_the_judges_own_labels_and_the_one_after_of_out_of_fold_ones() -> None:
    judged = {key_of(n): JudgedPair(sigmoid(4.0), 4.0) for n in range(100)}
    labels = [label_of(n, "first" if n % 10 < 7 else "second") for n in range(100)]
    before, after = compare_reliability(fitted(labels, judged))
    assert before is not None
    assert after is not None
    assert before.gap == pytest.approx(sigmoid(4.0) - 0.7)
    assert after.gap < 0.1
    assert before.num_pairs == after.num_pairs == 100


def test_a_calibration_that_takes_length_away_turns_pairs_and_lowers_the_longer_one() -> None:
    judged = {
        (("a", "b"), "overall"): JudgedPair(sigmoid(1.0), 1.0),
        (("c", "d"), "overall"): JudgedPair(sigmoid(1.0), 1.0),
        (("a", "b"), "polite"): JudgedPair(sigmoid(1.0), 1.0),
    }
    map = CalibrationMap(kind="temperature_length", slope=1.0, length=-2.0, length_sd=3.0)
    effect = describe_effect(map, judged, items=dict.fromkeys(judged, "p"), texts=TEXTS)
    assert (effect.num_pairs, effect.num_turned, effect.by_principle) == (2, 1, {})
    assert effect.longer is not None
    assert effect.longer.mean_before == pytest.approx(sigmoid(1.0))
    assert effect.longer.mean_after == pytest.approx(sigmoid(-1.0))
    pooled = map.model_copy(update={"kind": "pooled", "by_principle": (PartMap(name="polite", slope=1.0, length=-2),)})
    judged = {key: found._replace(parts=()) for key, found in judged.items()}
    assert describe_effect(pooled, judged, items=dict.fromkeys(judged, "p"), texts=TEXTS).by_principle == {
        "polite": (1, 1)
    }


def test_predictors_are_compared_on_the_same_pairs_and_no_side_is_half_right() -> None:
    pairs = [
        PredictedPair("p1", 1.0, {"judge": 2.0, "model": 0.0}),
        PredictedPair("p2", 0.0, {"judge": 2.0, "model": -1.0}),
        PredictedPair("p3", 0.5, {"judge": 0.0, "model": 0.0}),
    ]
    judge, model = compare_predictors(pairs)
    assert judge.accuracy is not None
    assert model.accuracy is not None
    assert (judge.name, judge.accuracy.mean, model.accuracy.mean) == ("judge", 0.5, 0.75)
    assert judge.log_loss is not None
    losses = math.log1p(math.exp(-2.0)), 2.0 + math.log1p(math.exp(-2.0)), math.log(2)
    assert judge.log_loss.mean == pytest.approx(sum(losses) / 3)
    assert compare_predictors([]) == ()


def pair_of_policies(n: int, *, is_same: bool = False) -> PolicyPair:
    start, trained = (
        Sample(
            prompt_id=f"p{n}", policy_id=policy, params=SamplingParams(), finish_reason="stop", token_count=1, text=text
        )
        for policy, text in (("start", "one"), ("trained", "one" if is_same else "two"))
    )
    return PolicyPair(start, trained)


def ids(pair: PolicyPair) -> tuple[str, str]:
    return pair.start.id, pair.trained.id


def test_the_win_rate_by_people_counts_one_text_twice_as_half_and_leaves_out_what_the_judge_failed_on() -> None:
    pairs = [pair_of_policies(n, is_same=n >= 60) for n in range(80)]
    p_after = {ids(pair): 0.9 if n % 2 else 0.2 for n, pair in enumerate(pairs[:79])}
    chosen = {ids(pair): (float(n % 4 > 0), 0.5) for n, pair in enumerate(pairs[:60])}
    rate = estimate_win_rate(pairs, p_after=p_after, chosen=chosen)
    assert rate is not None
    assert rate.uses_judge
    assert (rate.num_labels, rate.num_items) == (60, 79)
    assert rate.people.mean == pytest.approx((60 * 0.75 + 19 * 0.5) / 79)
    assert rate.estimate.mean == pytest.approx(rate.people.mean)  # all pairs are labelled: there is nothing to correct
    assert 0.5 < rate.estimate.low < rate.estimate.mean < rate.estimate.high


def test_people_who_disagree_with_the_judge_correct_its_win_rate() -> None:
    """The judge likes the trained policy in all pairs, people in half of those that they labelled."""
    pairs = [pair_of_policies(n) for n in range(200)]
    p_after = {ids(pair): 0.9 for pair in pairs}
    chosen = {ids(pair): (float(n % 2), 0.3) for n, pair in enumerate(pairs[:60])}
    rate = estimate_win_rate(pairs, p_after=p_after, chosen=chosen)
    assert rate is not None
    assert rate.estimate.mean == pytest.approx(0.5, abs=0.01)


def test_without_labels_there_is_no_win_rate_by_people() -> None:
    pairs = [pair_of_policies(n) for n in range(20)]
    assert estimate_win_rate(pairs, p_after={ids(pair): 0.9 for pair in pairs}, chosen={}) is None
    assert estimate_win_rate([pair_of_policies(1, is_same=True)], p_after={}, chosen={}) is None
