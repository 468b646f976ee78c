"""Two replies as a page shows them: where they are folded, and which words are marked."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.audit.web.label_view import FOLD_AT, FOLD_LINES, Piece, Reply, compare, cut, find_fold, fold, show_replies

TEXTS = st.text(alphabet="ab \n\u202e", max_size=60)


def text_of(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


def own_words(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text.strip() for piece in pieces if piece.is_own]


def test_the_words_that_only_one_reply_has_are_its_own():
    first, second = compare("the cat sat on the mat", "the big dog sat on  the mat") or ((), ())
    assert own_words(first) == ["cat"]
    assert own_words(second) == ["big dog"]


def test_equal_texts_have_no_words_of_their_own_even_where_one_word_is_all_they_have():
    for piece in sum(compare("a " * 1000, "a " * 1000) or (), ()):
        assert not piece.is_own


def test_texts_that_are_too_long_to_be_compared_are_shown_without_marks():
    replies = show_replies("word " * 1600, "other")
    assert not replies.is_compared
    assert text_of(replies.both[1].head) == "other"


def test_a_short_pair_is_not_folded():
    assert not show_replies("short " * 20, "a" * FOLD_AT).is_folded


def test_where_one_reply_is_long_both_are_folded_at_the_same_place():
    replies = show_replies("ten letter " * 400, "8 letters" * 10)
    assert replies.is_folded
    assert replies.both[1].rest == ()
    assert 0 <= FOLD_AT - len(text_of(replies.both[0].head)) < 80
    assert text_of(replies.both[0].head).endswith(" ")
    both = show_replies("ten letter " * 400, "one more word " * 300).both
    assert abs(len(text_of(both[0].head)) - len(text_of(both[1].head))) < 20


def test_many_short_lines_are_folded_too():
    assert len(fold("a\n" * 60).head.splitlines()) == FOLD_LINES
    assert fold("a\n" * (FOLD_LINES - 1)).rest == ""


def test_a_text_that_is_little_longer_than_the_fold_is_shown_whole():
    assert find_fold("a" * int(FOLD_AT * 1.2)) is None


def test_a_text_without_spaces_is_cut_where_the_fold_is():
    assert cut("a" * 300, 100) == ("a" * 100, "a" * 200)


@settings(max_examples=examples(25))
@given(TEXTS, TEXTS)
def test_no_character_of_either_reply_is_lost_or_added(first: str, second: str):
    replies = show_replies(first * 60, second * 60).both
    shown = [text_of(reply.head) + text_of(reply.rest) for reply in replies]
    assert shown == [first * 60, second * 60]
    assert isinstance(replies[0], Reply)


def test_a_hostile_pair_takes_no_long_time_to_compare():
    began = time.process_time()
    for first, second in (("a b " * 700, "b a " * 700), ("a " * 1400, "a " * 1399), ("a" * 10**6, "\n" * 10**6)):
        show_replies(first, second)
    assert time.process_time() - began < 2
