"""A judge that likes length by a known amount, and responses that are better where they are longer."""

from __future__ import annotations

import random

import pytest

from rlaif.judge_health.length_effect import OVERALL, LengthEffect, PairFacts, compute_length_effect
from rlaif.records import Comparison, PrincipleKey

BIAS = 0.8
"""Planted, logits per standard deviation of length."""


class World:
    """Pairs whose worth goes with length; the judge sees the worth and likes length besides."""

    def __init__(self, *, worth_by_length: float, noise: float = 1.0, n: int = 300) -> None:
        rng = random.Random(0)
        self.texts: dict[str, str] = {}
        self.worth: dict[tuple[str, str], float] = {}
        self.comparisons: list[Comparison] = []
        for k in range(n):
            first, second = f"{k}a", f"{k}b"
            for name in (first, second):
                words = rng.randrange(5, 35)
                self.texts[name] = "word " * words
                self.worth[name, "kind"] = worth_by_length * words / 8.7 + noise * rng.gauss(0, 1)
            longer = (len(self.texts[first].split()) - len(self.texts[second].split())) / 8.7
            longer = max(-2.0, min(2.0, longer))
            logit = self.worth[first, "kind"] - self.worth[second, "kind"] + BIAS * longer + rng.gauss(0, 0.3)
            self.comparisons.append(
                Comparison(
                    prompt_id=f"p{k // 2}", sample_ids=(first, second), judge_id="j", judgement_ids=("x", "y"),
                    principle=PrincipleKey(id="kind", text_digest="t"), p_first=0.5, logit=logit, debiased=True,
                )
            )  # fmt: skip

    def effect(self, **facts: object) -> LengthEffect:
        found = compute_length_effect(self.comparisons, facts=PairFacts(texts=self.texts, **facts))  # type: ignore[arg-type]
        assert found is not None
        return found


def test_without_labels_or_a_measure_the_slope_is_an_association_and_no_bias() -> None:
    found = World(worth_by_length=1.0).effect()
    assert found.association is not None
    assert found.association.low > BIAS + 0.5, "the responses' worth is in it"
    assert (found.bias, found.biases, found.not_separable) == (None, {}, ())
    assert found.association.n == 150


def test_beside_a_measure_the_planted_bias_comes_out() -> None:
    world = World(worth_by_length=1.0)
    found = world.effect(measured=world.worth, is_simulated=True)
    assert found.bias is not None
    assert found.bias.low < BIAS < found.bias.high
    assert found.bias.mean == pytest.approx(BIAS, abs=0.1)
    assert found.biases["kind"].source == "measure"
    assert found.is_simulated


def test_labels_of_a_principle_stand_before_its_measure_and_labels_of_the_whole_before_nothing() -> None:
    world = World(worth_by_length=0.5)
    gaps = {c.sample_ids: world.worth[c.sample_ids[0], "kind"] - world.worth[c.sample_ids[1], "kind"]
            for c in world.comparisons}  # fmt: skip
    labelled = {(pair, "kind"): gap for pair, gap in list(gaps.items())[:200]}
    wrong = {key: -worth for key, worth in world.worth.items()}
    found = world.effect(labelled=labelled, measured=wrong)
    assert (found.biases["kind"].source, found.biases["kind"].num_comparisons) == ("labels", 200)
    assert found.biases["kind"].slope.mean == pytest.approx(BIAS, abs=0.1)
    overall = {c.sample_ids: (c.prompt_id, c.logit or 0.0) for c in world.comparisons}
    whole = world.effect(labelled={(pair, OVERALL): gap for pair, gap in gaps.items()}, overall=overall)
    assert list(whole.biases) == [OVERALL]
    assert whole.biases[OVERALL].slope.mean == pytest.approx(BIAS, abs=0.1)


def test_worth_that_is_length_cannot_be_told_from_it() -> None:
    world = World(worth_by_length=1.0, noise=0.0)
    found = world.effect(measured=world.worth)
    assert (found.biases, found.bias, found.not_separable) == ({}, None, ("kind",))


def test_swapping_the_two_responses_of_a_pair_changes_nothing() -> None:
    world = World(worth_by_length=1.0, n=40)
    before = world.effect(measured=world.worth)
    world.comparisons = [
        c.changed(sample_ids=c.sample_ids[::-1], logit=-(c.logit or 0.0)) if k % 3 else c
        for k, c in enumerate(world.comparisons)
    ]
    after = world.effect(measured=world.worth)
    assert before.bias is not None
    assert after.bias is not None
    assert after.bias.model_dump() == pytest.approx(before.bias.model_dump())
    assert [found.count for found in after.bins] == [found.count for found in before.bins]


def test_the_bins_look_from_the_longer_responses_side() -> None:
    found = World(worth_by_length=0.0, noise=0.2).effect()
    assert len(found.bins) == 5
    assert [one.longer for one in found.bins] == sorted(one.longer for one in found.bins)
    assert found.bins[-1].logit.low > found.bins[0].logit.high
    assert found.bins[-1].logit.mean == pytest.approx(2 * BIAS, abs=0.2)


def test_equal_lengths_or_bare_verdicts_tell_nothing() -> None:
    world = World(worth_by_length=0.0, n=4)
    world.comparisons = [c.changed(logit=None) for c in world.comparisons]
    assert compute_length_effect(world.comparisons, facts=PairFacts(texts=world.texts)) is None
    same = dict.fromkeys(world.texts, "two words")
    assert compute_length_effect(world.comparisons, facts=PairFacts(texts=same)) is None


def test_labels_that_were_drawn_unequally_are_weighted() -> None:
    world = World(worth_by_length=0.5)
    # Only where the first response is the longer one do people like it less than it is worth: half of the pairs.
    labelled, weights = {}, {}
    for c in world.comparisons[:200]:
        first, second = c.sample_ids
        twisted = int(first[:-1]) % 2 == 0
        gap = world.worth[first, "kind"] - world.worth[second, "kind"]
        longer = (len(world.texts[first].split()) - len(world.texts[second].split())) / 8.7
        labelled[c.sample_ids, "kind"] = gap - (2 * longer if twisted else 0)
        weights[c.sample_ids, "kind"] = 1e-6 if twisted else 1.0
    plain, weighted = (world.effect(labelled=labelled, label_weights=given) for given in ({}, weights))
    assert plain.bias is not None
    assert weighted.bias is not None
    assert plain.bias.mean > BIAS + 0.4
    assert weighted.bias.mean == pytest.approx(BIAS, abs=0.1)
    assert weighted.biases["kind"].slope.mean == pytest.approx(BIAS, abs=0.1)
