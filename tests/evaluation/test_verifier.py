"""Which answer a response gives, and whether it is the known one."""

from __future__ import annotations

import pytest
from answer_finders import halves, last_word, lists, reverses, three_digits

from rlaif.config.verifier import VerifierConfig
from rlaif.errors import ConfigError, DataError
from rlaif.evaluation.verifier import Checked, Verifier, load_verifier
from rlaif.records import Message, Prompt


def asked(question: str, reference: str | None = None) -> Prompt:
    return Prompt(messages=(Message(role="user", content=question),), reference=reference)


@pytest.mark.parametrize(
    ("answer", "other", "same"),
    [
        ("4", "4.0", True),
        ("4", "4.01", True),
        ("4", "4.02", False),
        ("1,200", "1200", True),
        ("Nine", " nine ", True),
        ("nine", "ten", False),
        ("4", "four", False),
        ("nan", "nan", True),
        ("inf", "1e999", False),
    ],
)
def test_answers_are_the_same_as_numbers_within_the_tolerance_or_as_text(answer: str, other: str, same: bool) -> None:
    assert Verifier(last_word, tolerance=0.0101).is_same(answer, other) == same


def test_a_response_is_right_whose_answer_is_the_known_one() -> None:
    verifier = Verifier(last_word)
    assert verifier.check(asked("Two and two?", "4"), "I think 4") == Checked("4", is_right=True)
    assert verifier.check(asked("Two and two?", "4"), "I think 5") == Checked("5", is_right=False)
    assert verifier.check(asked("Two and two?", "4"), "...") == Checked(None, is_right=False)
    assert verifier.check(asked("Two and two?"), "I think 4") == Checked("4", is_right=False)
    assert Verifier(lambda prompt, response: 4.0).check(asked("?", "4"), "").is_right
    assert Verifier(lambda prompt, response: "  ").check(asked("?", "4"), "") == Checked(None, is_right=False)


def test_a_function_that_verifies_decides_in_the_place_of_the_known_answer() -> None:
    verifier = Verifier(three_digits, reverses)
    assert verifier.check(asked("314", "999"), "413") == Checked("413", is_right=True)
    assert verifier.check(asked("314", "999"), "999") == Checked("999", is_right=False)
    assert verifier.check(asked("314"), "41") == Checked(None, is_right=False)


def test_functions_that_return_something_else_are_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match=r"the function that finds answers returned \['4'\]"):
        Verifier(lists).check(asked("?", "4"), "4")
    with pytest.raises(DataError, match=r"the function that verifies answers returned 0\.5"):
        Verifier(last_word, halves).check(asked("?", "4"), "4")


def test_a_verifier_is_loaded_by_the_names_of_its_functions() -> None:
    loaded = load_verifier(VerifierConfig(answer="answer_finders:last_word", tolerance=0.5))
    assert loaded.check(asked("?", "4"), "It is 4.4").answer == "4"
    assert (loaded.tolerance, loaded.correct) == (0.5, None)
    with pytest.raises(ConfigError, match='the verifier "answer_finders:last_word" is called with prompt, response, r'):
        load_verifier(VerifierConfig(answer="answer_finders:last_word", correct="answer_finders:last_word"))
