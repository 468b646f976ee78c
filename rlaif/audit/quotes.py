"""What a judge's reason quotes of the replies -> the same texts cut into pieces, with the quoted ones marked.

Compares letters alone: it does not know whether a quote supports what the reason says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

QUOTED = re.compile(r'"([^"\n]{4,300})"|\u201c([^\u201d\n]{4,300})\u201d|\u00ab([^\u00bb\n]{4,300})\u00bb')
"""Text between quotation marks; shorter ones are in every text."""


class Piece(NamedTuple):
    """A part of a text."""

    text: str
    is_quoted: bool


class Quotes(NamedTuple):
    """A reason and the replies that it is about, in pieces."""

    reason: tuple[Piece, ...]
    """Marked where a reply has the quoted words."""
    replies: tuple[tuple[Piece, ...], ...]
    """In the order given, marked where the reason quotes them."""


def mark_quotes(reasons: Sequence[str], replies: Sequence[str]) -> list[Quotes]:
    """Each reason with the quotes that a reply really has, and the replies with what that reason quotes of them."""
    return [_mark(reason, replies) for reason in reasons]


def _mark(reason: str, replies: Sequence[str]) -> Quotes:
    found = [match for match in QUOTED.finditer(reason) if any(_quote(match) in reply for reply in replies)]
    quoted = list(dict.fromkeys(_quote(match) for match in found))
    spans = [(match.start(match.lastindex or 0), match.end(match.lastindex or 0)) for match in found]
    return Quotes(cut(reason, spans), tuple(cut(reply, _find_all(reply, quoted)) for reply in replies))


def _quote(match: re.Match[str]) -> str:
    return match.group(match.lastindex or 0)


def _find_all(text: str, quoted: Sequence[str]) -> list[tuple[int, int]]:
    """The first place of each quote, without those inside another."""
    spans = sorted((text.find(quote), text.find(quote) + len(quote)) for quote in quoted if quote in text)
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def cut(text: str, spans: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """The text in pieces, those of the spans marked; spans in order, none within another."""
    pieces: list[Piece] = []
    at = 0
    for start, end in spans:
        if start > at:
            pieces.append(Piece(text[at:start], is_quoted=False))
        pieces.append(Piece(text[start:end], is_quoted=True))
        at = end
    if at < len(text) or not pieces:
        pieces.append(Piece(text[at:], is_quoted=False))
    return tuple(pieces)
