"""A judge's text -> the one answer that it gives, or None. The grammar is described in docs/judging.md.

The same reader serves every engine, live, batch and recorded replies, and every kind of template. It reads whole lines:
a line that is not wholly one of the allowed answers is no answer. Knows no log-probabilities and runs no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.typography import INVISIBLE, as_read

_QUOTES = "\"'“”‘’‚„«»‹›「」『』"
_OPENING, _CLOSING = "([{【〔《〈", ")]}】〕》〉"
_QUOTE, _OPENS, _CLOSES = (re.compile(f"[{re.escape(characters)}]") for characters in (_QUOTES, _OPENING, _CLOSING))
_BLANK = f" \t{INVISIBLE}"
_EMPHASIS = f"*_`{INVISIBLE}"
_OWN = f"{_BLANK}*_`#"
"""Characters that may precede the marker on a line that is surely the judge's own: emphasis or a heading."""
_LEAD = rf"(?:[{re.escape(_QUOTES + _OPENING)}>+•◦‣▪·–—\-{_OWN}]|\d{{1,3}}[.)])*?"
"""Pattern of what may precede any marker: also a bullet, a number or quotes. Such a line may quote the prompt."""
_ANY_LEAD = re.compile(_LEAD.removesuffix("?"))
_WITHOUT_DRESS = re.compile(f"[{_BLANK}*_`]")
_GAP = rf"(?:[{_BLANK}\n*_`$:{re.escape(_QUOTES + _OPENING)}]|\\(?:boxed|text|textbf|mathbf)\{{)*"
_AFTER = rf"[{_BLANK}*_`${re.escape(_QUOTES + _CLOSING)}]*"
_THINKING_ENDS = re.compile(r"</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_THINKING_BEGINS = re.compile(r"^[ \t]*(?:<think(?:ing)?>|\[THINK\]|<\|channel\|>analysis)", re.IGNORECASE | re.M)
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|</s>|<eos>|<end_of_turn>))+\s*\Z")
_END_TOKENS_REACH = 200
"""How many characters at the end of a text are searched for end tokens."""
_FENCE = " \t\n`" + INVISIBLE
"""Characters that may follow the last answer in a reply, such as the end of a block of code."""
_TWO_WORDS = re.compile(r"\w\W+\w")
_CONDITION = re.compile(r"\b(?:if|when|or|either|otherwise|else)\b", re.IGNORECASE)


class FoundVerdict(NamedTuple):
    """The answer in a reply."""

    choice: int
    at: int
    """Place in the text of the answer's first character."""
    marker_at: int
    """Place where the marker's line begins; the text before it is the reason."""


def find_answer_start(content: str) -> int:
    """Place in a reply where the answer begins: after the thinking, or at the end where the thinking did not end."""
    if "<" not in content and "[" not in content:
        return 0
    start = max((match.end() for match in _THINKING_ENDS.finditer(content)), default=0)
    return len(content) if _THINKING_BEGINS.search(content, start) else start


def find_verdict(answer: str, *, request: ScoreRequest, is_cut_off: bool = False) -> FoundVerdict | None:
    """The answer that a reply without its thinking gives; None where it does not give exactly one.

    is_cut_off: a limit ended the reply, so an answer counts only where it is the very last thing in the text.
    """
    reader = reader_for(request.marker, request.choices)
    return reader.find(answer, is_cut_off=is_cut_off, may_be_bare=not request.max_reason_tokens)


@lru_cache(maxsize=64)
def reader_for(marker: str, choices: tuple[str, ...]) -> VerdictReader:
    return VerdictReader(marker, choices)


class _Answer(NamedTuple):
    """A marker with one whole answer after it, or an answer alone."""

    found: FoundVerdict
    end: int
    is_listed: bool
    """True where a list's bullet or a quote precedes the marker."""
    is_closed: bool
    """True where no continuation could make it another answer, even if the reply was cut off right after it."""


class VerdictReader:
    """The grammar for one marker and its choices."""

    def __init__(self, marker: str, choices: Sequence[str]) -> None:
        """marker: of a marker with several lines, the last line counts."""
        lines = [line.strip() for line in as_read(marker).split("\n") if line.strip()]
        self.marker_text = lines[-1] if lines else marker
        self._choices = [" ".join(as_read(choice).split()) for choice in choices]
        folded = [choice.casefold() for choice in self._choices]
        self._ignores_case = len(set(folded)) == len(set(self._choices))
        self._can_grow = [
            one[-1:].isdigit() or any(other != one and other.startswith(one) for other in folded) for one in folded
        ]
        # A text that looks like two choices names neither.
        self._number_of = {
            self._key(choice): n for n, choice in enumerate(self._choices) if self._choices.count(choice) == 1
        }
        pattern, choice = _marker_pattern(self.marker_text), self._choice_pattern()
        self._marker = re.compile(pattern)
        self._marker_line = re.compile(f"(?P<lead>{_LEAD}){pattern}")
        self._before_choice = re.compile(f"{_LEAD}{pattern}{_GAP}")
        self._answer = re.compile(rf"{_GAP}{choice}(?P<tail>{_AFTER}(?:\.{_AFTER})?)(?=\n|\Z)")
        # "A or" and "A/" offer a choice where they stand, and repeat none
        self._again = re.compile(rf"{_GAP}{choice}(?!\w)(?![{_BLANK}]*(?:[/|]|(?i:or)\b))")

    def find(self, answer: str, *, is_cut_off: bool, may_be_bare: bool) -> FoundVerdict | None:
        text = _without_end_tokens(as_read(answer))
        markers = self._find_marker_lines(text)
        if not markers:
            return self._find_bare(text) if may_be_bare and not is_cut_off else None
        answers = [line for match in markers if (line := self._read_line(text, match)) is not None]
        if not answers or answers[-1].found.marker_at != markers[-1].start():
            return None  # no single answer follows the last marker
        last = answers[-1]
        rest = text[last.end :]
        is_last = not rest.strip(_FENCE)
        differ = any(answer.found.choice != last.found.choice for answer in answers)
        if self._names_another(rest, last.found.choice):
            return None
        if is_cut_off and (differ or last.is_listed or not is_last or not (last.is_closed or rest)):
            return None
        if differ and not (is_last and _is_second_thought(text[answers[-2].end : last.found.marker_at], answers[-2:])):
            return None
        return last.found

    def holds_own_verdict(self, line: str) -> bool:
        """Whether a line gives one answer and surely quotes nothing."""
        match = self._marker_line.match(line)
        answer = None if match is None else self._read_line(line, match)
        return answer is not None and not answer.is_listed

    def awaits_choice(self, line: str) -> bool:
        """Whether a line ends where the choice is to be written."""
        return self._before_choice.fullmatch(line) is not None

    def may_begin_with_marker(self, line: str, *, longest_lead: int) -> bool:
        """Whether a line that is being written begins with the marker, or may still do so."""
        if self._marker_line.match(line) is not None:
            return True
        begun, marker = (_WITHOUT_DRESS.sub("", text).casefold() for text in (line, self.marker_text))
        lead = _ANY_LEAD.match(begun)
        places = range(lead.end() + 1 if lead is not None else 1)
        return len(places) <= longest_lead and any(marker.startswith(begun[place:]) for place in places)

    def reason_before(self, text: str) -> str:
        """The text before the line of the last marker, in a text that ends with that marker."""
        markers = self._find_marker_lines(as_read(text))
        return text[: markers[-1].start()] if markers else text

    def _find_marker_lines(self, text: str) -> list[re.Match[str]]:
        found, start = [], 0
        for line in text.split("\n"):
            if (match := self._marker_line.match(text, start)) is not None:
                found.append(match)
            start += len(line) + 1
        return found

    def _read_line(self, text: str, marker: re.Match[str]) -> _Answer | None:
        answer = self._answer.match(text, marker.end())
        if answer is None:
            return None
        lead, head = marker["lead"], text[marker.end("lead") : answer.start("choice")]
        return self._read_answer(answer, lead=lead, head=head, marker_at=marker.start())

    def _find_bare(self, text: str) -> FoundVerdict | None:
        """The answer of a reply that is a choice and nothing else."""
        match = self._answer.fullmatch(text.rstrip())
        answer = None if match is None else self._read_answer(match, lead="", head=text[: match.start("choice")])
        return None if answer is None else answer.found

    def _read_answer(self, match: re.Match[str], *, lead: str, head: str, marker_at: int = 0) -> _Answer | None:
        """The answer at a match of the marker; head: the text from the marker up to the choice."""
        written, tail = " ".join(match["choice"].split()), match["tail"]
        choice = self._choice_in(match)
        opened, closed = len(_OPENS.findall(lead + head)) - len(_CLOSES.findall(head)), len(_CLOSES.findall(tail))
        # A lone ")" may close "A)".
        if choice is None or not _is_balanced(lead + head, tail) or closed - (tail.count(")") == 1) > max(opened, 0):
            return None
        is_closed = bool(tail.strip(_BLANK + ".")) or (written == self._choices[choice] and not self._can_grow[choice])
        return _Answer(
            FoundVerdict(choice, match.start("choice"), marker_at),
            match.end(),
            is_listed=bool(lead.strip(_OWN)),
            is_closed=is_closed and opened <= closed,
        )

    def _names_another(self, rest: str, choice: int) -> bool:
        """Whether the marker comes again with anything but the same choice, or another choice has a line to itself."""
        for match in self._marker.finditer(rest):
            again = self._again.match(rest, match.end())
            before = rest[rest.rfind("\n", 0, match.start()) + 1 : match.start()]
            if again is None or self._choice_in(again) != choice or " or " in before:
                return True
        alone = (self._answer.fullmatch(line) for line in rest.split("\n") if line.strip()) if rest.strip() else ()
        return any(match is not None and self._choice_in(match) != choice for match in alone)

    def _choice_in(self, match: re.Match[str]) -> int | None:
        return self._number_of.get(self._key(" ".join(match["choice"].split())))

    def _key(self, written: str) -> str:
        return written.casefold() if self._ignores_case else written

    def _choice_pattern(self) -> str:
        """Pattern of any of the choices, the longest first."""
        written = sorted({choice for choice in self._choices if choice}, key=len, reverse=True)
        any_of = "|".join(f"[{_BLANK}]+".join(map(re.escape, choice.split(" "))) for choice in written)
        return f"(?P<choice>(?{'i' if self._ignores_case else ''}:{any_of or '(?!)'}))"


def _marker_pattern(marker: str) -> str:
    """Pattern of the marker in any case, with emphasis and invisible characters in it, and blanks beside its marks."""
    shown = "".join(c for c in marker if c not in _EMPHASIS).strip() or marker
    pattern = re.escape(shown[0])
    for before, character in pairwise(shown):
        if character.isspace():
            pattern += "" if before.isspace() else f"[{_BLANK}*_`]+"
        elif before.isspace():
            pattern += re.escape(character)
        else:
            between = _EMPHASIS if before.isalnum() and character.isalnum() else f"{_BLANK}*_`"
            pattern += f"[{between}]*{re.escape(character)}"
    return f"(?i:{pattern})"


def _is_second_thought(between: str, answers: Sequence[_Answer]) -> bool:
    """Whether the last of several different answers is the one meant: words lead to it, and they name no condition.

    A list of the allowed answers has no such words.
    """
    before, last = answers
    leads_over = _TWO_WORDS.search(between) is not None and _CONDITION.search(between) is None
    return not last.is_listed and (before.found.choice == last.found.choice or leads_over)


def _is_balanced(head: str, tail: str) -> bool:
    """Whether emphasis and quotes after a choice began before it: "A*" and "A'" are not "A"."""
    begun, ended = len(_QUOTE.findall(head)), len(_QUOTE.findall(tail))
    return tail.count("*") <= head.count("*") and ended <= begun and (begun + ended) % 2 == 0


def _without_end_tokens(text: str) -> str:
    """The text without the token that ended the reply, which some servers leave in it."""
    match = _END_TOKENS.search(text, max(0, len(text) - _END_TOKENS_REACH)) if text.rstrip().endswith(">") else None
    return text if match is None else text[: match.start()]
