"""Built-in measures for ordinary English text: a response -> one number, by rules that docs/measures.md lists.

Each measure has its name as its only value. Reads no prompt, loads no model, and needs no data of another package;
`sentiment` needs the package TextBlob.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import regex  # type: ignore[import-untyped] # its types are a package of their own

from rlaif.config.evaluation import REGEX, SENTIMENT
from rlaif.errors import ConfigError, DataError
from rlaif.models.install import extra_line

MAX_REGEX_S = 2.0
"""Longest time that a pattern may take on one response."""
REFUSAL_CHARACTERS = 300
"""A refusal is looked for in so many characters at the beginning."""
SEQUENCE = 3
"""Words in a sequence that counts as repeated."""

UNITS: Mapping[str, str] = {
    "words": "per response", "sentences": "per response", "questions": "% of sentences",
    "refusals": "% of responses", "contractions": "per 100 words", "repetition": "% of three-word sequences",
    "sentiment": "from \N{MINUS SIGN}100 to 100",
}  # fmt: skip

_WORD = re.compile(r"\w+(?:['-]\w+)*")
_LIST_MARK = re.compile(r"^\s*(?:[-*+\u2022#>]+|\d+[.)])\s+")
_END = re.compile(r"[.!?\u2026]+[\"')\]*_\u201d\u00bb]*(?=\s|$)|[\u3002\uff01\uff1f]+[\u300d\u300f]*")
_ABBREVIATED = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e)|(?:^|[\s(])(?!i\b)[a-z])$", re.IGNORECASE)
_CONTRACTION = re.compile(
    r"\b\w+n't\b|\b\w+'(?:m|re|ve|ll|d)\b"
    r"|\b(?:it|that|this|there|here|what|who|where|when|how|why|he|she|let|(?:every|some|any|no)(?:one|body|thing))'s\b"
)
_CANNOT = r"(?:can(?:not| not|'t)|could(?: not|n't)|(?:am|'m) (?:unable|not able) to|will not|won't|must decline to)"
_DO = (
    r"(?:help(?! but\b| myself\b| it\b| \w+ing\b)|assist|provide|answer|comply|fulfil+|support|discuss|create|generate"
    r"|engage|participate|do (?:that|this|so)\b)"
)
_REFUSAL = re.compile(
    rf"\bi(?:'m| am) (?:so |very |really )?(?:sorry|afraid)\b[,.]? (?:but )?i ?{_CANNOT}"
    rf"|\bi ?{_CANNOT} (?:\w+ )?{_DO}"
    rf"|\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b[^.!?]{{0,60}}(?:{_CANNOT}|don't|do not)"
)


def load_text_measure(name: str) -> Callable[[Sequence[Mapping[str, str]], str], dict[str, float]]:
    """The built-in measure of this name, as a function of (prompt, response)."""
    if name.startswith(REGEX):
        return partial(_measure, name=name, function=partial(_find_pattern, pattern=name.removeprefix(REGEX)))
    if name == SENTIMENT:
        require_textblob()
    return partial(_measure, name=name, function=TEXT_MEASURES[name])


def _measure(
    prompt: Sequence[Mapping[str, str]], response: str, *, name: str, function: Callable[[str], float]
) -> dict[str, float]:
    return {name: function(response.replace("\u2019", "'"))}


def find_unit(name: str) -> str:
    """What the number of a built-in measure counts."""
    return UNITS["refusals"] if name.startswith(REGEX) else UNITS[name]


def require_textblob() -> None:
    """Refuse the sentiment where its package is missing, with the line that installs it."""
    if importlib.util.find_spec("textblob") is None:
        raise ConfigError(
            "the measure sentiment needs the package textblob, which is not installed",
            where="evaluation.measures",
            fix=extra_line("measures"),
        )


def find_words(text: str) -> list[str]:
    """Runs of letters and digits, with the apostrophes and hyphens inside them."""
    return _WORD.findall(text)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text.

    A sentence ends at . ! ? or an ellipsis before a space or the end of a line, and at the end of each line. A single
    full stop ends none after an abbreviation (Dr., e.g.) or an initial, nor before a small letter.
    """
    found: list[str] = []
    for line in text.splitlines():
        line = _LIST_MARK.sub("", line)
        start = 0
        for end in _END.finditer(line):
            if _ends_sentence(line, end):
                found.append(line[start : end.end()].strip())
                start = end.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if _WORD.search(sentence)]


def _ends_sentence(line: str, end: re.Match[str]) -> bool:
    if end.group() != ".":
        return True
    return not (_ABBREVIATED.search(line[: end.start()]) or line[end.end() :].lstrip()[:1].islower())


def count_questions(text: str) -> float:
    """Percent of the sentences that end in a question mark."""
    sentences = split_sentences(text)
    asked = sum(bool(re.search(r"[?\uff1f]\W*$", sentence)) for sentence in sentences)
    return _percent(asked, len(sentences))


def find_refusal(text: str) -> float:
    """100 where the beginning of the text says that its writer cannot or will not help, else 0."""
    beginning = " ".join(text.lower()[:REFUSAL_CHARACTERS].split())
    return 100.0 if _REFUSAL.search(beginning) else 0.0


def count_contractions(text: str) -> float:
    """Contracted forms such as don't and it's, per 100 words."""
    return _percent(len(_CONTRACTION.findall(text.lower())), len(find_words(text)))


def count_repetition(text: str) -> float:
    """Percent of the sequences of three words that occurred earlier in the text."""
    words = find_words(text.lower())
    sequences = [tuple(words[k : k + SEQUENCE]) for k in range(len(words) - SEQUENCE + 1)]
    return _percent(len(sequences) - len(set(sequences)), len(sequences))


def find_sentiment(text: str) -> float:
    """TextBlob's polarity by its lexicon, times 100: from -100 (bad) to 100 (good); 0 where it knows no word."""
    from textblob import TextBlob

    return 100.0 * float(TextBlob(text).sentiment.polarity)


def _find_pattern(text: str, *, pattern: str) -> float:
    try:
        return 100.0 if regex.search(pattern, text, timeout=MAX_REGEX_S) else 0.0
    except TimeoutError as error:
        raise DataError(
            f'the pattern "{pattern}" takes over {MAX_REGEX_S:g} seconds on one response',
            where="evaluation.measures",
            fix="write a pattern with fewer repetitions inside repetitions",
        ) from error


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


TEXT_MEASURES: Mapping[str, Callable[[str], float]] = {
    "words": lambda text: float(len(find_words(text))),
    "sentences": lambda text: float(len(split_sentences(text))),
    "questions": count_questions,
    "refusals": find_refusal,
    "contractions": count_contractions,
    "repetition": count_repetition,
    SENTIMENT: find_sentiment,
}
