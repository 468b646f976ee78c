"""Which texts are the same: case, spaces, punctuation, slips and added words do not matter; words and numbers do."""

from __future__ import annotations

import pytest

from rlaif.cleaning.alike import NearIndex, Plain, Vocabulary, are_near, exact_key, find_twice

ROWS = [(f"The {place} opens at {hour} and closes at five.",) for hour in ("eight", "nine", "ten") for place in (
    "museum", "library", "bakery", "cinema", "school", "chapel", "gallery"
)]  # fmt: skip
WORDS = Vocabulary(ROWS)


@pytest.mark.parametrize(
    "other",
    [
        "the museum opens at nine and closes at five",
        "The musuem opens at nine, and closes at five!",
        "Hello. The museum opens at nine and closes at five.",
        "The museum opens at nine and closes five.",
        "The museumopens at nine and closes at five.",
        "The museum opens at nine andcloses at fivee.",
    ],
)
def test_slips_and_added_words_leave_a_text_the_same(other: str) -> None:
    one = Plain.of("The museum opens at nine and closes at five.")
    assert are_near(one, Plain.of(other), similarity=0.8, vocabulary=WORDS)
    assert are_near(Plain.of(other), one, similarity=0.8, vocabulary=WORDS)


@pytest.mark.parametrize(
    "other",
    [
        "The museum opens at ten and closes at five.",
        "The library opens at nine and closes at five.",
        "The museum opens at nine and not closes at five.",
        "The museum 2 opens at nine and closes at five.",
        "Something else entirely.",
        "",
    ],
)
def test_another_word_or_number_or_a_negation_makes_another_text(other: str) -> None:
    one = Plain.of("The museum opens at nine and closes at five.")
    assert not are_near(one, Plain.of(other), similarity=0.8, vocabulary=WORDS)


def test_of_a_long_text_one_word_in_fifty_may_be_another() -> None:
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(120)]
    long, changed = " ".join(words), " ".join([*words[:30], "different", *words[31:]])
    assert are_near(Plain.of(long), Plain.of(changed), similarity=0.8, vocabulary=WORDS)
    assert not are_near(
        Plain.of(" ".join(words[:40])), Plain.of(changed[: changed.index(words[40])]), similarity=0.8, vocabulary=WORDS
    )


def test_where_words_are_not_separated_one_character_more_is_a_word_and_another_is_another() -> None:
    words = Vocabulary([("図書館は九時に開きます",), ("図書館は八時に開きます",)] * 2)
    one = Plain.of("図書館は九時に開きます。")
    assert are_near(one, Plain.of("図書館は九時に開きます"), similarity=0.8, vocabulary=words)
    assert not are_near(one, Plain.of("図書館は八時に開きます"), similarity=0.8, vocabulary=words)


def test_equal_rows_differ_in_case_spaces_and_the_spelling_of_characters_alone() -> None:
    assert exact_key(("Caf\u0065\u0301  au LAIT",)) == exact_key((" café au lait\n",))
    assert exact_key(("a", "b")) != exact_key(("a b",))
    assert find_twice([("a",), ("A ",), ("b",), ("a",), ("a",)], [0, 0, 0, 1, 0]) == {1: 0, 4: 0}


def test_the_index_finds_the_first_row_that_is_near_in_every_part() -> None:
    index = NearIndex(similarity=0.8, vocabulary=WORDS)
    for number, (row,) in enumerate(ROWS):
        index.add(number, (row, "yes"))
    assert index.find(("the bakery opens at ten, and closes at five", "Yes!")) == ROWS.index(
        ("The bakery opens at ten and closes at five.",)
    )
    assert index.find(("the bakery opens at ten, and closes at five", "no")) is None
    assert index.find(("the bakery opens at ten, and closes at five",)) is None
