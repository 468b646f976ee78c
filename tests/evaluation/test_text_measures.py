"""The built-in measures on texts that a person can count."""

from __future__ import annotations

import importlib.util

import pytest

from rlaif.config.evaluation import BUILT_IN_MEASURES, PLAIN_MEASURES
from rlaif.errors import ConfigError, DataError
from rlaif.evaluation.text_measures import (
    TEXT_MEASURES,
    count_contractions,
    count_questions,
    count_repetition,
    find_refusal,
    find_unit,
    find_words,
    load_text_measure,
    split_sentences,
)


def test_every_built_in_measure_has_a_function_and_a_unit() -> None:
    assert tuple(TEXT_MEASURES) == BUILT_IN_MEASURES
    assert all(find_unit(name) for name in (*BUILT_IN_MEASURES, "regex:x"))


@pytest.mark.parametrize("name", PLAIN_MEASURES)
@pytest.mark.parametrize("text", ["", " ", "\n\n", "...", "🙂", "?!"])
def test_a_text_without_words_is_zero_by_every_measure(name: str, text: str) -> None:
    assert load_text_measure(name)([], text) == {name: 0.0}


def test_words_keep_their_apostrophes_and_hyphens() -> None:
    assert find_words("It's a well-known fact: 3 cafés, e.g. - 'yours'.") == [
        "It's", "a", "well-known", "fact", "3", "cafés", "e", "g", "yours",
    ]  # fmt: skip
    assert load_text_measure("words")([], "It\u2019s fine") == {"words": 2.0}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there! How are you? Fine.", ["Hello there!", "How are you?", "Fine."]),
        ("Dr. Smith came at 5 p.m. and left.", ["Dr. Smith came at 5 p.m. and left."]),
        ("I met J. Doe. So did I. Then we went.", ["I met J. Doe.", "So did I.", "Then we went."]),
        ("It costs 3.50 euros, e.g. Today it is less", ["It costs 3.50 euros, e.g. Today it is less"]),
        ("Really?! Yes... Well", ["Really?!", "Yes...", "Well"]),
        ("I said no. Then cats, dogs, etc. Then I left.", ["I said no.", "Then cats, dogs, etc.", "Then I left."]),
        ('He said "Stop!" (Loudly.) Then left.', ['He said "Stop!"', "(Loudly.)", "Then left."]),
        ("Buy:\n1. Milk\n2. Eggs and bread\n\n- Done", ["Buy:", "Milk", "Eggs and bread", "Done"]),
        ("你好。再见！", ["你好。", "再见！"]),
    ],
)
def test_sentences_end_at_marks_and_lines_but_not_after_abbreviations(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_questions_are_the_share_of_sentences_that_end_in_a_question_mark() -> None:
    assert count_questions('How are you? Fine. "And you?" Good!') == 50.0
    assert count_questions("Why (really?)\nBecause.") == 50.0


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide medical advice.", True),
        ("I am unable to assist with this request.", True),
        ("Unfortunately I am not able to directly answer this.", True),
        ("As an AI language model, I don't have feelings.", True),
        ("I won't do that.", True),
        ("I can't help but smile!", False),
        ("I'm sorry to hear that. I can't imagine how hard it is.", False),
        ("Sure, I can help. You cannot provide too much detail.", False),
        ("Take a walk. " * 30 + "I cannot help with that.", False),
    ],
)
def test_a_refusal_stands_at_the_beginning_and_says_that_the_writer_will_not_help(text: str, refuses: bool) -> None:
    assert find_refusal(text) == (100.0 if refuses else 0.0)


def test_contractions_are_counted_per_100_words_and_possessives_are_none() -> None:
    assert count_contractions("It's fine, don't worry: John's dog sleeps.") == pytest.approx(100 * 2 / 7)
    assert load_text_measure("contractions")([], "We\u2019re here, aren\u2019t we") == {"contractions": 50.0}


def test_repetition_is_the_share_of_three_word_sequences_that_stood_there_before() -> None:
    assert count_repetition("so it is, so it is, So it is") == pytest.approx(100 * 4 / 7)
    assert count_repetition("a b c d") == 0.0
    assert count_repetition("a b") == 0.0


def test_a_pattern_of_the_user_is_found_or_not() -> None:
    measure = load_text_measure(r"regex:(?i)\bthank")
    assert measure([], "Many THANKS") == {r"regex:(?i)\bthank": 100.0}
    assert measure([], "None") == {r"regex:(?i)\bthank": 0.0}


def test_a_pattern_that_never_ends_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.evaluation.text_measures.MAX_REGEX_S", 0.05)
    with pytest.raises(DataError, match="takes over .* seconds on one response"):
        load_text_measure("regex:x(?:a|a)*b")([], "bx" + "a" * 60)


def test_sentiment_is_textblobs_polarity_times_100_without_any_corpus() -> None:
    pytest.importorskip("textblob")
    measure = load_text_measure("sentiment")
    assert measure([], "What a wonderful day!")["sentiment"] == pytest.approx(100.0)
    assert measure([], "This is terrible.")["sentiment"] == pytest.approx(-100.0)
    assert measure([], "")["sentiment"] == 0.0


def test_sentiment_without_its_package_is_refused_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "textblob" else find_spec(name))
    with pytest.raises(ConfigError, match=r'textblob, which is not installed .*: pip install -e ".*\[measures\]"'):
        load_text_measure("sentiment")
