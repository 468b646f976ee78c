"""Measures: found by name, checked at every response, compared before and after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlaif.config.evaluation import EvaluationConfig
from rlaif.errors import ConfigError, DataError
from rlaif.evaluation.measures import (
    COUNT_WORDS,
    check_measures,
    compute_measures,
    count_words,
    find_falls,
    find_wanted,
    load_measure,
)
from rlaif.evaluation.policy import PolicyPair
from rlaif.records import Message, Prompt, Sample


@pytest.fixture
def prompt() -> Prompt:
    return Prompt(messages=(Message(role="user", content="How long?"),))


@pytest.fixture
def pairs(prompt: Prompt, sample_of: Callable[..., Sample]) -> list[PolicyPair]:
    return [
        PolicyPair(sample_of(prompt.id, "a b c d", policy="s"), sample_of(prompt.id, "a b", policy="t")),
        PolicyPair(sample_of(prompt.id, "a b c", policy="s", index=1), sample_of(prompt.id, "a", policy="t", index=1)),
    ]


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_world.py").write_text(
        "def words(prompt, response):\n    return {'words': len(response.split())}\n\nanswer = 42\n"
    )
    (tmp_path / "my_broken_world.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_world", None)


@pytest.mark.usefixtures("own_module")
def test_a_measure_in_the_working_directory_is_found() -> None:
    assert load_measure("my_world:words")([], "one two") == {"words": 2}


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("my_wold:words", 'the module "my_wold" of measure'),
        ("my_world:wrds", 'no function "wrds"'),
        ("my_world:answer", 'no function "answer"'),
        ("my_broken_world:words", "not_there_at_all"),
        ("my_world", "names no measure"),
    ],
)
def test_a_measure_that_does_not_exist_is_refused_in_a_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_measure(spec)


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        (("a.b.c",), '"a.b.c" is no measure: write module:function, regex:PATTERN or a built-in one'),
        (("sentimnt",), 'did you mean "sentiment"'),
        (("regex:(",), r'"\(" is no regular expression: missing \) at position 1'),
        (("regex:",), "regex: has no pattern"),
        (("words", "words"), 'the measure "words" stands there twice'),
    ],
)
def test_the_configuration_refuses_what_is_no_measure(measures: tuple[str, ...], sentence: str) -> None:
    accepted = ("a.b:c", "words", "sentiment", "regex:(?i)thanks?")
    assert EvaluationConfig(measures=accepted).measures == accepted
    with pytest.raises(ValueError, match=sentence):
        EvaluationConfig(measures=measures)


def test_two_of_rlaifs_own_measures_with_one_name_are_refused_before_anything_is_measured() -> None:
    check_measures(["words", "sentences", "regex:words"])
    with pytest.raises(ConfigError, match='two measures return the name "words"'):
        check_measures(["words", COUNT_WORDS])


def test_a_tag_names_a_measure_and_with_a_minus_sign_less_of_it() -> None:
    assert find_wanted("words", {"words": 1}) == ("words", 1)
    assert find_wanted("-words", {"words": 1}) == ("words", -1)
    assert find_wanted("-words", {"words": 1, "-words": 1}) == ("-words", 1)
    assert find_wanted("word", {"words": 1}) is None


def test_a_measure_sees_the_prompt_as_role_and_content(prompt: Prompt, pairs: list[PolicyPair]) -> None:
    seen: list[list[dict[str, str]]] = []

    def look(messages: list[dict[str, str]], response: str) -> dict[str, float]:
        seen.append(messages)
        return {"x": 1}

    compute_measures(pairs[:1], prompts={prompt.id: prompt}, measures={"look": look})
    assert seen == [[{"role": "user", "content": "How long?"}]] * 2


def test_measures_are_compared_before_and_after(prompt: Prompt, pairs: list[PolicyPair]) -> None:
    changes = compute_measures(
        pairs,
        prompts={prompt.id: prompt},
        measures={"w": lambda _, response: {"words": len(response.split())}},
    )
    assert (changes["words"].mean_before, changes["words"].mean_after) == (3.5, 1.5)
    # both pairs come from one prompt, and one prompt tells no spread
    assert changes["words"].change is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "3", None])
def test_a_value_that_is_no_finite_number_is_refused(prompt: Prompt, pairs: list[PolicyPair], value: object) -> None:
    with pytest.raises(DataError, match='for "x"'):
        compute_measures(pairs, prompts={prompt.id: prompt}, measures={"m": lambda p, r: {"x": value}})  # type: ignore[dict-item]


def test_a_measure_that_names_a_number_only_sometimes_is_refused(prompt: Prompt, pairs: list[PolicyPair]) -> None:
    with pytest.raises(DataError, match='"c" for some responses only'):
        compute_measures(
            pairs,
            prompts={prompt.id: prompt},
            measures={"m": lambda p, r: {word: 1.0 for word in "abc" if word in r}},
        )


def test_two_measures_with_one_name_are_refused(prompt: Prompt, pairs: list[PolicyPair]) -> None:
    with pytest.raises(ConfigError, match='the name "x"'):
        compute_measures(
            pairs,
            prompts={prompt.id: prompt},
            measures={"m": lambda p, r: {"x": 1}, "n": lambda p, r: {"x": 2}},
        )


def test_count_words_is_found_by_the_name_that_the_page_gives_and_counts_words() -> None:
    assert load_measure("rlaif.evaluation.measures:count_words") is count_words
    assert count_words([], " One  word\none ") == {"words": 3.0, "different words": 2.0}
    assert count_words([], "") == {"words": 0.0, "different words": 0.0}


def test_a_fall_is_marked_from_half_of_the_range_on(prompt: Prompt, sample_of: Callable[..., Sample]) -> None:
    texts = [("a b c d e", "a"), ("a b c", "a"), ("a b", "a"), ("a", "a b c d"), ("a b", "a b")]
    pairs = [
        PolicyPair(sample_of(prompt.id, one, policy="s", index=k), sample_of(prompt.id, two, policy="t", index=k))
        for k, (one, two) in enumerate(texts)
    ]
    falls = find_falls(pairs, prompts={prompt.id: prompt}, measures={"w": count_words})
    assert [fall["words"] for fall in falls.values()] == [(5.0, 1.0), (3.0, 1.0)]
    assert find_falls(pairs, prompts={prompt.id: prompt}, measures={}) == {}
