"""Two replies -> what a page shows of them: folded at one place, and with the words marked that only one of them has.

Says nothing of their lengths. Texts stay texts: the template makes them harmless. Knows no sheet and no server.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

FOLD_AT = 2400
"""Characters of a text that are shown before its rest is unfolded."""
FOLD_LINES = 40
"""Lines, likewise."""
SLACK = 1.25
"""A text that is only so much longer is shown whole."""
MAX_WORDS = 1500
"""Words of a reply up to which both are compared word by word; beyond, it would take long."""
_WORD = re.compile(r"\S+\s*|\s+")


class Piece(NamedTuple):
    """Some words of a reply."""

    text: str
    is_own: bool
    """The other reply does not have them at this place."""


class Folded(NamedTuple):
    """A text in two parts, the second of which is folded away at first."""

    head: str
    rest: str


class Reply(NamedTuple):
    head: tuple[Piece, ...]
    rest: tuple[Piece, ...]


class Replies(NamedTuple):
    """Both, in the order shown."""

    both: tuple[Reply, Reply]
    is_folded: bool
    is_compared: bool


def fold(text: str) -> Folded:
    """A text of the conversation."""
    return cut(text, find_fold(text))


def find_fold(*texts: str) -> int | None:
    """Characters after which all these texts are folded; None where none of them is long."""
    limits = [limit for text in texts if (limit := _find_limit(text)) is not None]
    return min(limits, default=None)


def _find_limit(text: str) -> int | None:
    last_line = next(islice(re.finditer("\n", text), FOLD_LINES - 1, None), None)
    limit = min(FOLD_AT, len(text) if last_line is None else last_line.end())
    is_long = len(text) > FOLD_AT * SLACK or text.count("\n") + 1 > FOLD_LINES * SLACK
    return limit if is_long else None


def cut(text: str, at: int | None) -> Folded:
    """The text up to the last space before `at`, and the rest; whole where `at` is None."""
    if at is None or len(text) <= at:
        return Folded(text, "")
    space = re.search(r"\s(?=\S*\Z)", text[max(0, at - 80) : at])
    cut_at = at if space is None else max(0, at - 80) + space.end()
    return Folded(text[:cut_at], text[cut_at:])


@lru_cache(maxsize=64)
def show_replies(first: str, second: str) -> Replies:
    """Both replies, as a page shows them."""
    at = find_fold(first, second)
    pieces = compare(first, second)
    is_compared = pieces is not None
    found = pieces or ((Piece(first, False),), (Piece(second, False),))
    both = [_fold_pieces(given, len(cut(text, at).head)) for text, given in zip((first, second), found, strict=True)]
    return Replies((both[0], both[1]), is_folded=at is not None, is_compared=is_compared)


def compare(first: str, second: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]] | None:
    """Both texts in pieces, their own words apart; None where they are too long to be compared."""
    words = [_WORD.findall(text) for text in (first, second)]  # each with the space after it
    if max(map(len, words)) > MAX_WORDS:
        return None
    if first == second:  # the matcher knows no words that come often, so that "a a a" would equal nothing
        return (Piece(first, False),), (Piece(second, False),)
    keys = [[word.strip() for word in side] for side in words]
    matcher = SequenceMatcher(None, keys[0], keys[1])
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for what, *places in matcher.get_opcodes():
        for side, (begin, end) in enumerate((places[:2], places[2:])):
            if begin < end:
                pieces[side].append(Piece("".join(words[side][begin:end]), what != "equal"))
    return tuple(pieces[0]), tuple(pieces[1])


def _fold_pieces(pieces: tuple[Piece, ...], at: int) -> Reply:
    """The pieces up to the character `at`, and the others."""
    head, rest = list[Piece](), list[Piece]()
    for piece in pieces:
        room = max(0, at - sum(len(one.text) for one in head))
        for part, where in ((piece.text[:room], head), (piece.text[room:], rest)):
            if part:
                where.append(Piece(part, piece.is_own))
    return Reply(tuple(head), tuple(rest))
