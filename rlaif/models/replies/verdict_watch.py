"""A reply that is written token by token: when the choice may come next, and when its verdict has been given.

Serves engines that end a judge's reply themselves. verdict_text.py decides from the whole text what the verdict is.
Runs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.typography import as_read
from rlaif.models.replies.verdict_text import find_answer_start, find_verdict, reader_for

_LONGEST_LEAD = 40
"""A line that begins with more bullets, quotes and marks than this holds no marker."""


class WatchedReply:
    """One reply. `append` its tokens until it `is_over`; then `choice_place` gives the place of its verdict."""

    def __init__(
        self, *, marker: str, choice_ids: Sequence[int], piece: Callable[[int], str], stop_ids: Collection[int],
        max_new_tokens: int,
    ) -> None:  # fmt: skip
        """piece: the text of a token in the middle of a reply. max_new_tokens: the marker must end within so many."""
        self._ends_at_choice = ends_at_choice(marker)
        self.tokens_behind = 1 if self._ends_at_choice else 2
        """Tokens beyond `max_new_tokens`: a marker that just fits still gets its choice and the end of its line."""
        self.ids: list[int] = []
        self.is_finished = False
        """True where a stop token or a verdict ended the reply."""
        self.is_at_choice = False
        """True where the next token may be the choice."""
        self._piece, self._choice_ids, self._stop_ids = piece, tuple(choice_ids), stop_ids
        self._limit = max_new_tokens
        self._request = ScoreRequest(marker, tuple(piece(token) for token in choice_ids), max_new_tokens)
        self._reader = reader_for(self._request.marker, self._request.choices)
        self._line, self._is_other = "", False
        self._has_verdict = False

    @property
    def is_over(self) -> bool:
        if self.is_finished or len(self.ids) < self._limit:
            return self.is_finished
        is_open = self.is_at_choice or self._reader.holds_own_verdict(self._line)
        return len(self.ids) >= self._limit + (self.tokens_behind if is_open else 0)

    def append(self, token: int) -> None:
        self.ids.append(token)
        is_choice, self.is_at_choice = self.is_at_choice and token in self._choice_ids, False
        if token in self._stop_ids:
            self.is_finished = True
            return
        if is_choice and self._ends_at_choice:
            self.is_finished = True
            return
        text = self._piece(token)
        if self._is_other and text.isascii() and "\n" not in text and "\r" not in text:
            return  # within a line that holds no marker
        begun, *lines = as_read(text).split("\n")
        self._extend(begun)
        for line in lines:
            self._end_line()
            self._extend(line)
        self.is_at_choice = not self._is_other and self._reader.awaits_choice(self._line)

    def _extend(self, text: str) -> None:
        if self._is_other:
            return
        self._line += text
        self._is_other = not self._reader.may_begin_with_marker(self._line, longest_lead=_LONGEST_LEAD)
        # A list of the allowed answers fills lines in a row; other words after a verdict show that it is no such list.
        self.is_finished = self.is_finished or (self._has_verdict and self._is_other)

    def _end_line(self) -> None:
        if not self._is_other and self._reader.awaits_choice(self._line):
            self._line += "\n"  # the choice may stand on the next line
            return
        is_blank = not self._line.strip()
        self.is_finished = self.is_finished or (self._has_verdict and is_blank)
        if not is_blank:
            self._has_verdict = not self._is_other and self._reader.holds_own_verdict(self._line)
        self._line, self._is_other = "", False

    def choice_place(self) -> int | None:
        """The number of tokens before the choice that the reply gives; None where it gives none."""
        pieces = [self._piece(token) for token in self.ids if token not in self._stop_ids]
        text = "".join(pieces)
        start = find_answer_start(text)
        found = find_verdict(text[start:], request=self._request, is_cut_off=not self.is_finished)
        if found is None:
            return None
        at, place = start + found.at, 0
        while at >= len(pieces[place]):
            at -= len(pieces[place])
            place += 1
        # Log-probabilities are known for the choices' own tokens only.
        return place if self.ids[place] == self._choice_ids[found.choice] else None


def ends_at_choice(marker: str) -> bool:
    """Whether a reply ends with its choice, without waiting for what the judge would write after it.

    A template whose marker begins with a line break is made for a judge that was trained to end there.
    """
    return marker.startswith("\n")


def stop_after(marker: str, choice: str) -> str:
    """Text after which a reply is surely over, for engines that stop at a text."""
    return f"{marker}{choice}" if ends_at_choice(marker) else f"\n{marker}{choice}\n\n"
