"""What a reviser learns from pairs."""

from __future__ import annotations

import math

from rlaif.policy.methods.revision_examples import Example, find_examples
from rlaif.policy.preference_items import Item
from rlaif.records import Message, Prompt

PROMPT = Prompt(messages=(Message(role="user", content="When do you open?"),))
OTHER = Prompt(messages=(Message(role="user", content="Where is it?"),))


def pair(first: str, second: str, label: float, *, prompt: Prompt = PROMPT, weight: float = 1.0) -> Item:
    return Item(prompt, (first, second), label=label, weight=weight)


def found(*pairs: Item, major_from: float = 0.9) -> list[Example]:
    return find_examples(pairs, major_from=major_from)


def test_of_a_pair_the_preferred_response_is_good_and_stays_as_it_is() -> None:
    examples = found(pair("At nine, dear visitor.", "Nine.", 0.95))
    assert examples == [
        Example(PROMPT, "At nine, dear visitor.", "GOOD", "At nine, dear visitor."),
        Example(PROMPT, "Nine.", "MAJOR", "At nine, dear visitor."),
    ]


def test_a_label_of_a_second_response_counts_for_it() -> None:
    assert [(one.response, one.tag) for one in found(pair("a", "b", 0.3))] == [("a", "MINOR"), ("b", "GOOD")]


def test_a_response_that_is_nearly_as_good_is_revised_to_the_nearest_better_one() -> None:
    best, near, worse = "Welcome, it opens at nine.", "It opens at nine!", "It opens at nine"
    ranked = [pair(best, near, 0.7), pair(best, worse, 0.8), pair(near, worse, 0.7)]
    assert [(one.response, one.tag, one.better) for one in found(*ranked)] == [
        (best, "GOOD", best),
        (near, "MINOR", best),
        (worse, "MINOR", near),
    ]
    major = found(*ranked, major_from=0.8)
    assert (major[2].tag, major[2].better) == ("MAJOR", best)


def test_without_a_pair_of_the_two_the_probability_is_that_of_their_strengths() -> None:
    # strengths: a log 9, b (-log 9 + log 4) / 2, c -log 4: half the difference of a and c is log 6, whose p is 6 / 7
    chain = [pair("a", "b", 0.9), pair("b", "c", 0.8)]
    gap = 1 / (1 + math.exp(-(math.log(9) + math.log(4)) / 2))
    assert abs(gap - 6 / 7) < 1e-12
    assert {one.response: one.tag for one in found(*chain, major_from=0.85)} == {
        "a": "GOOD",
        "b": "MAJOR",
        "c": "MAJOR",
    }
    assert {one.response: one.tag for one in found(*chain, major_from=0.86)}["c"] == "MINOR"


def test_prompts_are_not_mixed_and_ties_teach_nothing() -> None:
    examples = found(pair("a", "b", 0.95), pair("b", "a", 0.95, prompt=OTHER))
    assert {(one.prompt.id, one.response, one.better) for one in examples if one.tag == "MAJOR"} == {
        (PROMPT.id, "b", "a"),
        (OTHER.id, "a", "b"),
    }
    assert found(pair("same", "other", 0.5)) == []
    assert found(pair("a", "a", 0.9)) == []


def test_a_pair_that_weighs_more_decides_more() -> None:
    twice = [pair("a", "b", 0.8, weight=3.0), pair("b", "a", 0.8, weight=1.0)]
    assert [one.response for one in found(*twice) if one.tag == "GOOD"] == ["a"]
