"""A prompt's responses ranked by Bradley-Terry on soft wins, and the preferences that follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.config.generate import PreferencesConfig
from rlaif.preferences.pairing import pair_comparisons
from rlaif.preferences.ranked import SUREST, fit_utilities, label_by_utility
from rlaif.records import Comparison, Constitution, Principle, Sample

Compare = Callable[..., Comparison]
RANKING = PreferencesConfig(kind="ranking")
COURTEOUS = Constitution(
    name="c", principles=(Principle(id="courteous", text="Prefer the more courteous reply."),), source=""
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


utilities = st.lists(st.floats(-3, 3), min_size=2, max_size=5)


def test_utilities_that_differ_by_rounding_are_a_tie() -> None:
    assert label_by_utility({"a": 0.3, "b": 0.1 + 0.2}, ("a", "b")) == 0.5
    assert label_by_utility({"a": 0.3, "b": 0.3001}, ("a", "b")) < 0.5


@given(utilities)
def test_labels_that_come_of_utilities_give_them_back(true):
    names = "abcde"[: len(true)]
    labels = {(a, b): sigmoid(true[names.index(a)] - true[names.index(b)]) for a, b in combinations(names, 2)}
    [found] = fit_utilities(labels)
    mean = math.fsum(true) / len(true)
    assert found == pytest.approx({name: u - mean for name, u in zip(names, true, strict=True)}, abs=1e-6)


def test_a_chain_of_judged_pairs_tells_the_pairs_between_its_ends():
    [found] = fit_utilities({("a", "b"): sigmoid(1.0), ("b", "c"): sigmoid(0.5)})
    assert label_by_utility(found, ("a", "c")) == pytest.approx(sigmoid(1.5))
    assert label_by_utility(found, ("a", "c")) + label_by_utility(found, ("c", "a")) == 1


def test_two_responses_keep_the_label_of_their_pair_and_a_certain_one_stays_finite():
    [found] = fit_utilities({("a", "b"): 0.7})
    assert label_by_utility(found, ("a", "b")) == pytest.approx(0.7)
    [certain] = fit_utilities({("a", "b"): 1.0, ("b", "c"): 1.0, ("a", "c"): 1.0})
    assert certain["a"] > certain["b"] > certain["c"]
    [two] = fit_utilities({("a", "b"): 1.0})
    assert label_by_utility(two, ("a", "b")) == pytest.approx(SUREST)


def test_a_circle_of_equal_wins_leaves_all_equal():
    [found] = fit_utilities({("a", "b"): 0.8, ("b", "c"): 0.8, ("c", "a"): 0.8})
    assert found == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0}, abs=1e-9)


def test_responses_that_nothing_joins_are_ranked_apart():
    groups = fit_utilities({("a", "b"): 0.6, ("c", "d"): 0.9})
    assert [sorted(group) for group in groups] == [["a", "b"], ["c", "d"]]


def test_every_pair_of_ranked_responses_becomes_a_preference_with_all_its_evidence(compare: Compare) -> None:
    comparisons = [
        compare("courteous", sigmoid(x), logit=x, ids=ids) for ids, x in ((("a", "b"), 1.0), (("b", "c"), 0.5))
    ]
    pairing = pair_comparisons(comparisons, constitution=COURTEOUS, config=RANKING, round=0)
    labels = {preference.sample_ids: preference.label for preference in pairing.preferences}
    expected = {("a", "b"): sigmoid(1.0), ("a", "c"): sigmoid(1.5), ("b", "c"): sigmoid(0.5)}
    assert labels == pytest.approx(expected)
    assert {preference.evidence_ids for preference in pairing.preferences} == {tuple(c.id for c in comparisons)}
    assert {preference.kind for preference in pairing.preferences} == {"pair"}
    assert str(pairing.tally) == "in 3, kept 3, dropped 0"


def test_pairs_across_what_is_not_connected_and_those_of_one_text_are_dropped_and_counted(
    constitution: Constitution, compare: Compare
) -> None:
    texts = {"a": "one", "b": "two", "c": "one", "d": "four", "e": "five", "f": "six"}
    asked = [("a", "b"), ("b", "c"), ("d", "e"), ("e", "f")]
    samples = {
        name: Sample(prompt_id="prompt", policy_id="p", index=n, finish_reason="stop", text=text)
        for n, (name, text) in enumerate(texts.items())
    }
    ids = {name: sample.id for name, sample in samples.items()}
    one = Constitution(name="c", principles=constitution.principles[:1], source="")
    comparisons = []
    for first, second in asked[:3]:  # the last failed
        pair = tuple(sorted((ids[first], ids[second])))
        comparisons.append(compare("courteous", 0.7, logit=math.log(7 / 3), ids=pair, prompt_id="prompt"))
    pairing = pair_comparisons(
        comparisons, constitution=one, config=RANKING, round=0, pairs=[(samples[a], samples[b]) for a, b in asked]
    )
    kept = {frozenset(preference.sample_ids) for preference in pairing.preferences}
    assert kept == {frozenset((ids[a], ids[b])) for a, b in (("a", "b"), ("b", "c"), ("d", "e"))}
    # 15 pairs of six: three kept, a and c are one text, e and f failed, and ten lie across what nothing joins.
    assert str(pairing.tally) == "in 15, kept 3, dropped 12 (not_connected 10, failed_judgement 1, identical 1)"
