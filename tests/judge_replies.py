"""Judges' replies of known meaning, drawn from a seed: clear, broken, quoting their instruction, cut off anywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from rlaif.models.interface import ScoreRequest

LETTERS = "ABCDEFGH"
REQUESTS = {
    "pair": ScoreRequest("Verdict:", (" A", " B"), 160),
    "pair alone": ScoreRequest("Verdict:", (" A", " B"), 0),
    "pair of the front desk": ScoreRequest("\nVerdict:", (" A", " B"), 48),
    "tie": ScoreRequest("Verdict:", (" A", " B", " C"), 160),
    "tie in words": ScoreRequest("Verdict:", (" first", " second", " tie"), 160),
    "tie in brackets": ScoreRequest("[[", ("A", "B", "C"), 1024),
    "in brackets": ScoreRequest("The answer is: (", ("A", "B"), 512),
    "small letters": ScoreRequest("Output (", ("a", "b"), 0),
    "numbers": ScoreRequest("Preferred response=", ("1", "2"), 512),
    "score to 9": ScoreRequest("Score:", tuple(f" {n}" for n in range(1, 10)), 160),
    "score to 10": ScoreRequest("\nScore:", tuple(f" {n}" for n in range(1, 11)), 32),
    "ranking": ScoreRequest("Best:", tuple(f" {letter}" for letter in LETTERS), 160),
}  # fmt: skip

REASONS = (
    "The first reply greets the visitor.", "B is friendly, but A answers the question.", "A and B are much alike",
    "It gives 8.5 hours where 9 were meant!", "**Both** are `polite`:", "- A: short\n- B: long",
    "Die zweite Antwort ist höflicher – deutlich.", "两个回答都很礼貌。", "Reply A wins 3:1 here.",
    "> said the visitor", "I am not sure\u00a0yet…",
    "My verdict will follow.", "Compare 1) tone, 2) facts.", "A.", "B", "# Comparison", "```\nlet a = b;\n```",
)  # fmt: skip
SECOND_THOUGHTS = ("On reflection I was wrong about that.", "No, wait: the facts count more.", "But B greets by name.")
AFTERWARDS = ("The other one is too long.", "I hope this helps!", "Reason: it is shorter.", "---", "")
MARKED = (
    "{m}{c}", "{m} {c}", "{m}  {c}", "**{m}** {c}", "**{m}{c}**", "**{M}**{rest} {c}", "*{m}* **{c}**", "__{m}__ {c}",
    "### {m} {c}", "- {m} {c}", "> {m} {c}", "* {m} {c}", "1. {m} {c}", "`{m} {c}`", '"{m} {c}"', "“{m} {c}”",
    '{m} "{c}"', "{m} `{c}`", "{m} **{c}**.", "{m} {c}.", "{m} {c}。", "{m} [{c}]", "{m} ({c})", "{m}\n{c}",
    "{m}\n\n**{c}**", "{m}\u00a0{c}", "{m}\u3000{c}", "{m}\u200b {c}\u200b", "  {m}\t{c}  ", "{m} {c}\r", "{upper} {c}",
    "{lower} {c}", "{wide} {c}", "{spaced} {c}", "\ufeff{m} {c}", "{m} $\\boxed{{{c}}}$",
)  # fmt: skip
COLONS = (":", "：", " :", "\u00a0:", "\u202f:", "﹕", "∶", "꞉", "︓")
BROKEN = (
    "/{o}", " / {o}", " or {o}", " and {o} are equally good.", ", {o}", " is better than {o}", " is worse than {o}",
    " (or {o})", "{o}", "1", "0", ".5", ",5", "/10", " out of 10", "-{o}", " – {o}", "+", "*", "'", "?", "…", "...",
    " > {o}", " = {o}", " ≈ {o}", ", but only slightly", " because it is kind", " tie", "%", "²", "\u0301", " & {o}",
    " und {o}", " {o}", "; {o}", ": {o}", " vs. {o}", "<{o}", "|{o}", "_{o}", "\\{o}", "’s reply", " ~ {o}", "→{o}",
)  # fmt: skip
BEFORE = ("not ", "neither ", "-", "~", "≥", "maybe ", "Reply ", "0", "1", "either ", "between ", "не ", "½", "А")
QUOTES = (
    'I must end with one line, exactly "{m}{c}" or "{m}{o}". So', "I will write {m}{c} or {m}{o} below.",
    '"{m}{c}" or "{m}{o}"', "- {m}{c}\n- {m}{o}", "Options:\n{m}{c}\n{m}{o}\n", '"{m}{c}"\n"{m}{o}"',
    "One of\n{m}{c}\nor\n{m}{o}\nis expected.", "> ends with {m}{c}", "{m} <letter>", "{m} ...", "{m}", "so {m}{c}",
    '{{"verdict": "{c}"}}', "Final {m}{c}", "{m}{c}/{o}",
)  # fmt: skip


_CLOSING = ' \t\r\n*`_.。)]}$"”\u200b'


class Reply(NamedTuple):
    text: str
    is_cut_off: bool
    request: ScoreRequest
    allowed: frozenset[int | None]
    """What a parser may find: the number of a choice, or None for a failure."""
    is_clear: bool
    """True where a person sees one answer at once; a parser must then find it."""


class _Draft(NamedTuple):
    text: str
    meaning: int | None
    ends: tuple[tuple[int, int], ...] = ()
    """For each choice after a marker: where it ends in the text, and the choice's number."""
    is_clear: bool = False


def make_replies(number: int, *, seed: str = "replies") -> Iterator[Reply]:
    rng = random.Random(seed)
    requests = list(REQUESTS.values())
    for _ in range(number):
        request = rng.choice(requests)
        draft = rng.choice((_clear, _clear, _clear, _two, _broken, _negated, _quoted, _none))(rng, request)
        thought = _think(rng, request) if rng.random() < 0.15 else ""
        ends = tuple((at + len(thought), choice) for at, choice in draft.ends)
        text = thought + draft.text
        if rng.random() < 0.3:
            yield _cut(rng.randrange(len(text) + 1), text, ends, request)
        else:
            yield Reply(text, False, request, frozenset([draft.meaning]), draft.is_clear)


def _cut(at: int, text: str, ends: tuple[tuple[int, int], ...], request: ScoreRequest) -> Reply:
    """The reply cut off at a place. A verdict counts if only decoration follows it, and a number not at the cut itself,
    because more digits might have followed."""
    at_end = {choice for end, choice in ends if end <= at and not text[end:at].removesuffix("</s>").strip(_CLOSING)}
    open_numbers = {choice for end, choice in ends if end == at and request.choices[choice][-1:].isdigit()}
    return Reply(text[:at], True, request, frozenset({None} | (at_end - open_numbers)), False)


def _clear(rng: random.Random, request: ScoreRequest) -> _Draft:
    before, choice = _reason(rng, request), rng.randrange(len(request.choices))
    if not request.max_reason_tokens and rng.random() < 0.3:
        written = rng.choice(("{c}", " {c}", "**{c}**", "{c}.", "({c})", '"{c}"', "{c})")).format(
            c=_word(request, choice)
        )
        at = written.index(_word(request, choice)) + len(_word(request, choice))
        return _Draft(written, choice, ((at, choice),), True)
    line, end = _line(rng, request, choice)
    after = f"\n{rng.choice(AFTERWARDS)}" if rng.random() < 0.15 else rng.choice(("", "", "\n", "\n\n", "</s>"))
    return _Draft(before + line + after, choice, ((len(before) + end, choice),), True)


def _two(rng: random.Random, request: ScoreRequest) -> _Draft:
    first, second = (rng.randrange(len(request.choices)) for _ in range(2))
    before = _reason(rng, request)
    line, end = _line(rng, request, first, dressed=False)
    between = f"\n{rng.choice(SECOND_THOUGHTS)}\n"
    last, last_end = _line(rng, request, second, dressed=False)
    start = len(before + line + between)
    ends = ((len(before) + end, first), (start + last_end, second))
    return _Draft(before + line + between + last, second, ends, True)


def _broken(rng: random.Random, request: ScoreRequest) -> _Draft:
    """A choice, and after it something that makes it another answer, or none."""
    choice, other = rng.sample(range(len(request.choices)), 2)
    before, (line, end) = _reason(rng, request), _line(rng, request, choice, dressed=False, closed=False)
    tail = rng.choice(BROKEN).format(o=_word(request, other))
    written = _word(request, choice) + tail
    if written in [one.strip() for one in request.choices]:  # "1" and "0"
        return _none(rng, request)
    close = _close(request) if rng.random() < 0.5 else ""
    return _Draft(f"{before}{line}{tail}{close}", None, ((len(before) + end, choice),))


def _negated(rng: random.Random, request: ScoreRequest) -> _Draft:
    choice, word = rng.randrange(len(request.choices)), rng.choice(BEFORE)
    before, written = _reason(rng, request), f"{word}{_word(request, choice)}"
    if written in [one.strip() for one in request.choices]:
        return _none(rng, request)
    starts = [n for n, one in enumerate(request.choices) if written.startswith(one.strip())]  # "1" of "18"
    at = len(before + request.marker.strip()) + 1
    ends = tuple((at + len(_word(request, n)), n) for n in starts)
    return _Draft(f"{before}{request.marker.strip()} {written}{_close(request)}", None, ends)


def _quoted(rng: random.Random, request: ScoreRequest) -> _Draft:
    """A reply that repeats the instruction and has no verdict."""
    choice, other = rng.sample(range(len(request.choices)), 2)
    before = _reason(rng, request)
    marker = request.marker.strip() + ("" if _close(request) else " ")
    words = [f"{_word(request, n)}{_close(request)}" for n in (choice, other)]
    quote = rng.choice(QUOTES).format(m=marker, c=words[0], o=words[1])
    text = before + quote + rng.choice(("", "", " The first reply greets and", "\nThe first reply is kind."))
    ends = []
    for n in (choice, other):
        written, at = f"{marker}{_word(request, n)}", 0
        while (at := text.find(written, at)) >= 0:
            at += len(written)
            ends.append((at, n))
    return _Draft(text, None, tuple(ends))


def _none(rng: random.Random, request: ScoreRequest) -> _Draft:
    return _Draft(_reason(rng, request, least=2).strip(), None)


def _reason(rng: random.Random, request: ScoreRequest, *, least: int = 0) -> str:
    """Lines of prose; some hold the marker and a choice in their middle."""
    lines = [rng.choice(REASONS) for _ in range(rng.randint(least, 4))]
    if lines and rng.random() < 0.2:
        marker, word = request.marker.strip(), _word(request, rng.randrange(len(request.choices)))
        lines.insert(0, f'I could say "{marker} {word}{_close(request)}" but let us see.')
    return "".join(line + rng.choice(("\n", "\n\n")) for line in lines)


def _think(rng: random.Random, request: ScoreRequest) -> str:
    word = _word(request, rng.randrange(len(request.choices)))
    return f"<think>\n{rng.choice(REASONS)}\n{request.marker.strip()} {word}{_close(request)}\n</think>\n\n"


def _line(
    rng: random.Random, request: ScoreRequest, choice: int, *, dressed: bool = True, closed: bool = True
) -> tuple[str, int]:
    """A line with a verdict, and the place in the line where the choice ends."""
    marker, word = request.marker.strip(), _word(request, choice)
    close = _close(request) if closed else ""
    if not dressed or _close(request):
        shape = rng.choice(("{m}{c}", "**{m}{c}**", "{m}{c}.") if dressed else ("{m}{c}",))
        line = shape.format(m=marker, c=f" {word}" if marker.endswith(":") else word + close)
        return line, line.rindex(word) + len(word)
    name = marker[:-1]
    colon = rng.choice(COLONS) if marker.endswith(":") else marker[-1]
    values = {
        "m": marker, "c": word, "M": name, "rest": colon, "upper": marker.upper(), "lower": marker.lower(),
        "wide": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in marker),
        "spaced": f"{name} {marker[-1]}",
    }  # fmt: skip
    line = rng.choice(MARKED).format(**values)
    return line, line.rindex(word) + len(word)


def _word(request: ScoreRequest, choice: int) -> str:
    return request.choices[choice].strip()


def _close(request: ScoreRequest) -> str:
    opening = request.marker.strip()
    return "]]" if opening.endswith("[[") else ")" if opening.endswith("(") else ""
