"""Segmented chat messages -> the text that the chat template writes for them, in segments.

Each conversation is laid out by its structure alone and compared with the template's own rendering. They differ where
the template searches contents for a string such as `</think>`; then the layout is made with that string in its place.
A conversation that still differs is refused. Inside a question of ours the template never sees text of a model or a
data set, so such text cannot change the question. Knows no tokens.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from rlaif.errors import ModelError
from rlaif.models.interface import Chat
from rlaif.models.tokens.chat_parts import TEXT, ChatParts, ChatTemplate, Gap, LeftOut, Shape, Structure, shared_start
from rlaif.records import Segment, SegmentedMessage

_CACHE_SIZE = 4096
_MOST_STRETCHES = 4096
"""The most stretches of text into which a conversation is cut at the template's strings."""
_NUM_SHOWN = 48
"""Characters of a text that a message about a difference quotes."""


class LaidOut(NamedTuple):
    """A conversation as its template writes it."""

    segments: list[Segment]
    """The text in order; the template's own text is trusted."""
    is_followed: bool = False
    """True where the template did more to the contents than strip white space from their ends."""
    is_whole: bool = True
    """True where every stretch of text appears."""


class _Layout(NamedTuple):
    """How conversations of one structure are laid out."""

    folded: bool
    """True where the template has no system role, so that the system text goes into the first user turn."""
    parts: ChatParts


class _Message(NamedTuple):
    """A message, and how much of it the template is shown."""

    role: str
    segments: Sequence[Segment]
    is_mixed: bool
    """True for a text of ours that holds text of others, which the template is not shown."""


class ChatLayout:
    """Lays out conversations as one chat template does."""

    def __init__(self, template: ChatTemplate, *, special: Sequence[str] = ()) -> None:
        """special: control tokens that no content may bring into a prompt."""
        self._template, self.where = template, template.where
        self._special = re.compile("|".join(map(re.escape, special)) or "(?!)")
        self._layouts: dict[tuple[Structure, bool], _Layout] = {}
        self._headers: dict[Structure, str] = {}
        self._followed: dict[tuple[Structure, bool], ChatParts] = {}
        self._as_laid_out: set[tuple[bool, tuple[tuple[str, str], ...]]] = set()

    def lay_out(self, chat: Chat, *, generation_prompt: bool = True) -> LaidOut:
        """The conversation's text as the template writes it; refused where the template cannot be followed."""
        layout = self._find(chat, generation_prompt=generation_prompt)
        mixed = [_is_mixed(message) for message in chat]
        laid, mixed = _fold_system(chat, mixed) if layout.folded else (chat, mixed)
        messages = [_Message(m.role, m.segments, is_mixed) for m, is_mixed in zip(laid, mixed, strict=True)]
        stretches = [message.segments for message in messages if _has_text(message)]
        shown = tuple([(message.role, self._shown(message)) for message in messages])
        key = (generation_prompt, shown)
        if key in self._as_laid_out:
            return LaidOut(_lay(layout.parts, stretches))
        theirs = self.render(shown, generation_prompt=generation_prompt)
        ours = _text(_lay(layout.parts, [self._masked(m) for m in messages if _has_text(m)]))
        if ours != theirs:
            return self._follow(messages, layout.parts, theirs=theirs, ours=ours, generation_prompt=generation_prompt)
        if len(self._as_laid_out) >= _CACHE_SIZE:
            self._as_laid_out.clear()
        self._as_laid_out.add(key)
        return LaidOut(_lay(layout.parts, stretches))

    def render(self, chat: Sequence[tuple[str, str]], *, generation_prompt: bool = True) -> str:
        """The template's own rendering of roles and contents."""
        messages = [{"role": role, "content": content} for role, content in chat]
        return self._template.render(messages, generation_prompt=generation_prompt)

    def find_header(self, chat: Chat) -> str:
        """The template's text between this conversation, without generation prompt, and an answer to it."""
        found = self._headers.get(_structure(chat))
        if found is None:
            found = self._headers[_structure(chat)] = self._find_header(chat)
        return found

    def _find_header(self, chat: Chat) -> str:
        layout = self._find(chat, generation_prompt=True)
        structure = _structure(_fold_system(chat, [False] * len(chat))[0] if layout.folded else chat)
        answered = self._template.split((*structure, ("assistant", TEXT)), generation_prompt=False)
        prompt, before = layout.parts.literals[-1], answered.literals[-2]
        if len(answered.gaps) != len(layout.parts.gaps) + 1 or not before.startswith(prompt):
            raise ModelError(
                "the chat template writes no header for an answer, and the place of one cannot be found: a prompt"
                f" ends with {_quote(prompt)}, and an answer stands after {_quote(before)}",
                where=self.where,
                fix="write the assistant's header in chat_template.jinja where `add_generation_prompt` is true",
            )
        return before.removeprefix(prompt)

    def _find(self, chat: Chat, *, generation_prompt: bool) -> _Layout:
        if not chat:
            raise ModelError("a conversation has no messages", where=self.where, fix="give at least one message")
        key = (_structure(chat), generation_prompt)
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts[key] = self._find_layout(chat, generation_prompt=generation_prompt)
        return found

    def _find_layout(self, chat: Chat, *, generation_prompt: bool) -> _Layout:
        try:
            return _Layout(False, self._template.split(_structure(chat), generation_prompt=generation_prompt))
        except ModelError as cause:
            if chat[0].role != "system" or (isinstance(cause, LeftOut) and cause.message != 0):
                raise
            folded = _structure(_fold_system(chat, [False] * len(chat))[0])
            return _Layout(True, self._template.split(folded, generation_prompt=generation_prompt))

    def _follow(
        self, messages: Sequence[_Message], plain: ChatParts, *, theirs: str, ours: str, generation_prompt: bool
    ) -> LaidOut:
        """The layout with every string in its place that the template might look for."""
        for with_special in (False, True):
            cut = [list(self._cut(message, with_special=with_special)) for message in messages]
            structure = tuple(
                (message.role, tuple([piece if isinstance(piece, str) else None for piece in pieces]))
                for message, pieces in zip(messages, cut, strict=True)
            )
            kept = [
                message._replace(segments=piece)
                for message, pieces in zip(messages, cut, strict=True)
                for piece in pieces
                if not isinstance(piece, str)
            ]
            few = len(kept) <= _MOST_STRETCHES
            parts = self._split(structure, generation_prompt=generation_prompt) if few else None
            if (
                parts is not None
                and _text(_lay(parts, [self._masked(piece) for piece in kept])) == theirs
                and self._count(parts) == self._count(plain)
            ):
                is_whole = len({gap.stretch for gap in parts.gaps}) == len(kept)
                return LaidOut(_lay(parts, [piece.segments for piece in kept]), True, is_whole)
        self._refuse(ours, theirs)

    def _split(self, structure: Structure, *, generation_prompt: bool) -> ChatParts | None:
        key = (structure, generation_prompt)
        if key not in self._followed:
            if len(self._followed) >= _CACHE_SIZE:
                self._followed.clear()
            try:
                self._followed[key] = self._template.split(structure, generation_prompt=generation_prompt)
            except ModelError:
                return None
        return self._followed[key]

    def _cut(self, message: _Message, *, with_special: bool) -> Iterator[str | Sequence[Segment]]:
        """The content cut at each string that the template has; white space between two cuts is a cut too."""
        mask = self._template.stand_in
        text = "".join(mask * len(s.text) if message.is_mixed and not s.trusted else s.text for s in message.segments)
        found = [m for m in self._template.words.finditer(text) if with_special or not self._special.search(m[0])]
        places = [0, *(at for match in found for at in match.span()), len(text)]
        for number, (start, end) in enumerate(itertools.pairwise(places)):
            if start < end:
                is_word = number % 2 == 1 or not text[start:end].strip()
                yield text[start:end] if is_word else list(_slice(message.segments, start, end))

    def _masked(self, message: _Message) -> Sequence[Segment]:
        if not message.is_mixed:
            return message.segments
        return [s if s.trusted else Segment(self._template.stand_in, False) for s in message.segments if s.text]

    def _shown(self, message: _Message) -> str:
        return _text(self._masked(message))

    def _count(self, parts: ChatParts) -> Counter[str]:
        return Counter(self._special.findall("\0".join(parts.literals)))

    def _refuse(self, ours: str, theirs: str) -> NoReturn:
        at = len(shared_start(ours, theirs))
        raise ModelError(
            f"the chat template rewrites the content of messages: it writes {_quote(theirs, at)} where the conversation"
            f" has {_quote(ours, at)}",
            where=self.where,
            fix="take that text out of the conversation, or let chat_template.jinja show contents as they are",
        )


def _quote(text: str, at: int = 0) -> str:
    start = max(0, at - 8)
    piece = text[start : start + _NUM_SHOWN]
    return ("..." if start else "") + repr(piece) + ("..." if start + _NUM_SHOWN < len(text) else "")


def _text(segments: Sequence[Segment]) -> str:
    return segments[0].text if len(segments) == 1 else "".join([segment.text for segment in segments])


def _has_text(message: SegmentedMessage | _Message) -> bool:
    return any(segment.text for segment in message.segments)


def _is_mixed(message: SegmentedMessage) -> bool:
    if len(message.segments) < 2:
        return False
    trust = {segment.trusted for segment in message.segments if segment.text and not segment.text.isspace()}
    return len(trust) > 1


def _structure(chat: Chat) -> Structure:
    nothing: Shape = ()
    return tuple([(message.role, TEXT if _has_text(message) else nothing) for message in chat])


def _fold_system(chat: Chat, mixed: Sequence[bool]) -> tuple[list[SegmentedMessage], list[bool]]:
    """The messages with the system text at the head of the first user turn, before a blank line."""
    system, *rest = chat
    are_mixed = list(mixed[1:])
    at = next((number for number, message in enumerate(rest) if message.role == "user"), None)
    if at is None:
        return [SegmentedMessage("user", system.segments), *rest], list(mixed)
    if system.text:
        rest[at] = SegmentedMessage("user", (*system.segments, Segment("\n\n", True), *rest[at].segments))
        are_mixed[at] = are_mixed[at] or mixed[0]
    return rest, are_mixed


def _lay(parts: ChatParts, stretches: Sequence[Sequence[Segment]]) -> list[Segment]:
    segments = []
    for literal, gap in zip(parts.literals, parts.gaps, strict=False):
        segments.append(Segment(literal, True))
        segments += strip_segments(stretches[gap.stretch], gap)
    segments.append(Segment(parts.literals[-1], True))
    return segments


def _slice(segments: Sequence[Segment], start: int, end: int) -> Iterator[Segment]:
    """The segments between two places of their joined text."""
    at = 0
    for segment in segments:
        piece = segment.text[max(0, start - at) : max(0, end - at)]
        if piece:
            yield Segment(piece, segment.trusted)
        at += len(segment.text)


def strip_segments(segments: Sequence[Segment], gap: Gap) -> Sequence[Segment]:
    """The segments, stripped at either end as the template strips their joined text."""
    if gap.strip_left == "" and gap.strip_right == "":
        return segments
    kept = list(segments)
    while kept and not (text := kept[0].text.lstrip(gap.strip_left)):
        del kept[0]
    if kept:
        kept[0] = Segment(text, kept[0].trusted)
    while kept and not (text := kept[-1].text.rstrip(gap.strip_right)):
        del kept[-1]
    if kept:
        kept[-1] = Segment(text, kept[-1].trusted)
    return kept
