"""Texts -> which of them are the same: but for case and spaces, or but for slips and a few words.

A row is several texts, compared part by part: two pairs are alike where their prompts, their better and their worse
responses are. Candidates come from MinHash (rensa), every one is then compared by its characters and words (rapidfuzz).
Paraphrases are not found. Decides nothing about rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, Levenshtein
from rensa import RMinHash, RMinHashLSH

from rlaif.records import digest_text

Words = tuple[str, ...]
Parts = tuple[str, ...]
"""A row's texts, in an order that every row of its kind has."""

NUM_PERMUTATIONS, NUM_BANDS = 120, 20
"""Of two texts that share .75 of their trigrams 98 % are candidates, of two that share .5 a quarter."""
SHINGLE = 3
WORDS_PER_REPLACED = 50
"""A longer text may have one other word for so many words; a shorter one none."""
WORDS_RARE, MIN_FREQUENT = 500, 5
"""A word is rare that at most one row in so many has, and frequent that one in a hundred has."""
SHINGLES_SHARED, MIN_SHARED, MIN_TELLING = 5, 20, 12
"""Trigrams that more than one row in five has are left out of the search for candidates, where enough others remain."""
SHORT = 3
"""In words of so few letters another letter makes another word, ten and tin, unless only one of them is known."""
LONG = 5
"""Longer words may have two slips."""
_HAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+(?:'[^\W{_HAN}]+)*")
"""Where words are not separated, each character is one."""
_NEGATIONS = frozenset(("not", "no", "never", "nicht", "kein", "keine", "ne", "pas", "non"))


def simplify(text: str) -> str:
    """The text in one case, with single spaces, and one spelling of each character."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Plain(NamedTuple):
    """A text as it is compared."""

    words: Words
    text: str

    @classmethod
    def of(cls, text: str) -> Plain:
        words = tuple(_WORD.findall(simplify(text).replace("\u2019", "'")))
        return cls(words, " ".join(words))


class Vocabulary:
    """How many rows have each word, and each trigram.

    A word that many rows have is a word, and not a slip of another. A trigram that very many have belongs to a template
    that they share, and tells none of them from the others.
    """

    def __init__(self, rows: Iterable[Parts]) -> None:
        words: Counter[str] = Counter()
        shingles: Counter[str] = Counter()
        num = 0
        for parts in rows:
            num += 1
            plain = [Plain.of(part) for part in parts]
            words.update({word for part in plain for word in part.words})
            shingles.update(_shingles(plain))
        rare, shared = max(1, num // WORDS_RARE), max(MIN_SHARED, num // SHINGLES_SHARED)
        self.common = frozenset(word for word, count in words.items() if count > rare)
        self.telling = frozenset(word for word in self.common if len(word) > SHORT)
        self.frequent = frozenset(word for word, count in words.items() if count >= max(MIN_FREQUENT, num // 100))
        self.shared = frozenset(shingle for shingle, count in shingles.items() if count > shared)


def are_near(one: Plain, other: Plain, *, similarity: float, vocabulary: Vocabulary) -> bool:
    """Whether two texts are equal but for punctuation, slips and a few words that one of them has more."""
    if one.words == other.words:
        return bool(one.words)
    most = min(len(one.words), len(other.words)) // WORDS_PER_REPLACED
    if not most and len(one.words) == len(other.words):  # quick: two different words that are no slips
        mine, theirs = set(one.words), set(other.words)
        if not vocabulary.telling.isdisjoint(mine - theirs) and not vocabulary.telling.isdisjoint(theirs - mine):
            return False
    if not fuzz.ratio(one.text, other.text, score_cutoff=100 * similarity):
        return False
    return _count_other_words(one.words, other.words, vocabulary=vocabulary) <= most


def _count_other_words(one: Words, other: Words, *, vocabulary: Vocabulary) -> int:
    """Words in whose place another one stands, and numbers and negations that one of the texts has more."""
    num = 0
    steps = Levenshtein.opcodes(one, other)
    for is_equal, together in groupby(steps, key=lambda step: step.tag == "equal"):
        block = list(together)
        old = one[block[0].src_start : block[-1].src_end]
        new = other[block[0].dest_start : block[-1].dest_end]
        if is_equal or _is_slip(old, new, vocabulary=vocabulary):
            continue
        for step in block:
            before, after = one[step.src_start : step.src_end], other[step.dest_start : step.dest_end]
            if step.tag == "replace":
                pairs = zip(before, after, strict=True)
                num += sum(not _is_slip((a,), (b,), vocabulary=vocabulary) for a, b in pairs)
            else:
                num += any(map(_changes_meaning, (*before, *after)))
    return num


def _is_slip(old: Words, new: Words, *, vocabulary: Vocabulary) -> bool:
    """Whether one of two words is the other one, mistyped; or of several words, where also a space may be elsewhere."""
    one, other = "".join(old), "".join(new)
    if one == other or (len(one) == len(other) < SHORT and one == other[::-1]):
        return True
    if not old or not new or any(map(_changes_meaning, (*old, *new))):
        return False
    if max(len(one), len(other)) < SHORT and (one in other or other in one):  # a letter of `at` or `is` left out
        return True
    rare = [all(word in vocabulary.common for word in words) for words in (old, new)].count(False)
    if not rare:
        return False
    if len(one) == len(other) <= SHORT and sorted(one) != sorted(other):
        return rare == 1 and not vocabulary.frequent.isdisjoint((*old, *new))
    return OSA.distance(one, other) <= (2 if min(len(one), len(other)) > LONG else 1)


def _changes_meaning(word: str) -> bool:
    return _has_digit(word) or word in _NEGATIONS or word.endswith("n't")


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def exact_key(parts: Parts) -> Hashable:
    """Equal for rows that are equal but for case, spaces and the spelling of characters."""
    return tuple(simplify(part) for part in parts)


class NearIndex:
    """Rows that can be asked for one that is near another. Each row has a number, given when it is added."""

    def __init__(self, *, similarity: float, vocabulary: Vocabulary) -> None:
        self._similarity, self._vocabulary = similarity, vocabulary
        self._candidates = RMinHashLSH(0.5, NUM_PERMUTATIONS, NUM_BANDS)
        self._rows: dict[int, list[Plain]] = {}

    def add(self, number: int, parts: Parts) -> None:
        plain = self._rows[number] = [Plain.of(part) for part in parts]
        self._candidates.insert(number, self._sketch(plain))

    def find(self, parts: Parts) -> int | None:
        """The row with the lowest number that is near these parts; None where there is none."""
        plain = [Plain.of(part) for part in parts]
        candidates: list[int] = self._candidates.query(self._sketch(plain))
        for number in sorted(set(candidates)):
            if self._are_near(plain, self._rows[number]):
                return number
        return None

    def _are_near(self, one: Sequence[Plain], other: Sequence[Plain]) -> bool:
        return len(one) == len(other) and all(
            a.words == b.words or are_near(a, b, similarity=self._similarity, vocabulary=self._vocabulary)
            for a, b in zip(one, other, strict=True)
        )

    def _sketch(self, parts: Sequence[Plain]) -> RMinHash:
        shingles = _shingles(parts)
        telling = shingles - self._vocabulary.shared
        sketch = RMinHash(NUM_PERMUTATIONS, 1)
        sketch.update(sorted(telling if len(telling) >= MIN_TELLING else shingles))
        return sketch


def _shingles(parts: Sequence[Plain]) -> set[str]:
    text = "\n".join(part.text for part in parts)
    return {text[at : at + SHINGLE] for at in range(max(1, len(text) - SHINGLE + 1))}


def find_twice(rows: Sequence[Parts], groups: Sequence[Hashable]) -> dict[int, int]:
    """Place of each row that is equal to an earlier one of its group -> the place of the first such row."""
    first: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    for place, (parts, group) in enumerate(zip(rows, groups, strict=True)):
        earlier = first.setdefault((group, digest_text(repr(exact_key(parts)))), place)
        if earlier != place:
            found[place] = earlier
    return found
