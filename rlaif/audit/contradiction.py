"""A judge's reasons beside its verdicts -> where a reason argues for the reply that the judge did not choose.

The rules read plain English statements and nothing else: a false alarm costs a reader's trust, a miss costs little.

1. A reason concludes for a reply where a sentence says that it is better, wins, is preferred or keeps the principle
   better (or the other one is worse). A reply is named as the judge's prompt names it (A, reply B, the first, response
   2), or by quoted words that it alone has. It contradicts the verdict where every conclusion of the reason is for one
   reply and the verdict is for the other.
2. The reasons of two orders contradict each other where both compare one trait ("A is shorter than B") and say the
   opposite of the same two replies.

A sentence with a condition, a contrast or a negation (if, but, although, not, ...) or a question says nothing; so do
reasons that conclude for both replies, ties, and words within quotation marks. Knows no ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from rlaif.audit.quotes import QUOTED
from rlaif.records import Verdict

MAX_READ = 4000
"""Characters of a reason that are read."""
_HEDGES = re.compile(
    r"\b(?:if|unless|although|though|while|whereas|whilst|despite|but|however|yet|except|even|rather|instead|otherwise"
    r"|would|could|might|may|must|should|can|not|never|neither|nor|no|hardly|barely|cannot|claims?|claimed|says|said"
    r"|tells|asks|asked|states|argues|pretends|thinks|whether|suppose|or|either|equally|both)\b|n't|\?",
    re.IGNORECASE,
)
_NOUN = r"(?:reply|response|answer|assistant|option|candidate|message|output)"
_NAME = (
    rf"(?:(?:the\s+)?{_NOUN}\s+(?P<n{{0}}>A|B|1|2|one|two)\b"
    rf"|(?:the\s+)(?P<o{{0}}>first|second)(?:\s+(?:{_NOUN}|one))?\b"
    r"|\b(?P<l{0}>(?-i:[AB]))\b|(?P<q{0}>[\ue000\ue001]))"
)
"""A reply as a prompt names it; a quote of one reply alone is one character by now."""
_ADVERBS = r"(?:(?:clearly|slightly|much|far|therefore|thus|so|still|also|a\s+little|somewhat|\w+ly)\s+)*"
_END = r"(?=\s*(?:[,:)\u2014]|-\s|$|overall\b|because\b|since\b|here\b|as\s+it\b|by\s+far\b))"
_THAN = rf"(?:\s+than\s+{_NAME.format(2)})?"
_KEEPS = r"(?:follows|keeps|fits|meets|satisfies|honou?rs|obeys|matches|respects)"
_BETTER = (
    rf"{_NAME.format(1)}\s+(?:is|was)\s+{_ADVERBS}(?:the\s+)?(?:better|best|preferable|preferred|superior|winner)"
    rf"(?:\s+(?:{_NOUN}|one|choice))?{_THAN}{_END}",
    rf"{_NAME.format(1)}\s+{_ADVERBS}wins{_END}",
    rf"\bI\s+{_ADVERBS}(?:prefer|choose|pick|favou?r|select)\s+{_NAME.format(1)}{_END}",
    rf"\bthe\s+(?:better|best|winning|preferred)\s+(?:{_NOUN}|one)\s+is\s+{_NAME.format(1)}{_END}",
    rf"{_NAME.format(1)}\s+{_ADVERBS}{_KEEPS}\s+(?:the|this)\s+principle\s+{_ADVERBS}(?:better|best|more\s+closely)"
    rf"{_THAN}{_END}",
)
_WORSE = (
    rf"{_NAME.format(1)}\s+(?:is|was)\s+{_ADVERBS}(?:the\s+)?(?:worse|worst|inferior)(?:\s+(?:{_NOUN}|one))?"
    rf"{_THAN}{_END}",
)
_CONCLUSIONS = [(re.compile(one, re.IGNORECASE), True) for one in _BETTER]
_CONCLUSIONS += [(re.compile(one, re.IGNORECASE), False) for one in _WORSE]
_COMPARED = re.compile(
    rf"{_NAME.format(1)}\s+(?:is|was)\s+{_ADVERBS}(?P<trait>(?:more|less)\s+\w+|\w{{2,}}er)\s+than\s+{_NAME.format(2)}{_END}",
    re.IGNORECASE,
)
_FIRST = {"a", "1", "one", "first", "\ue000"}


class Argued(NamedTuple):
    """A reason as a judge gave it, and what it is about."""

    reason: str
    verdict: Verdict | None
    replies: tuple[str, str]
    """Texts in the order in which the judge saw them."""
    shown: tuple[str, str]
    """What a reader calls them, in that order."""


class Claim(NamedTuple):
    """What a sentence of a reason says."""

    place: int
    """0: of the reply shown first; 1: of the other one."""
    words: str
    trait: str = ""
    """Empty: that it is the better one."""


def find_contradictions(orders: Sequence[Argued]) -> list[str]:
    """A sentence for each contradiction; none where the reasons are of one mind with the verdicts."""
    return [*_against_verdicts(orders), *_between_orders(orders)]


def read_claims(argued: Argued) -> list[Claim]:
    """All that a reason says plainly of one of the replies."""
    return [claim for sentence in _read_sentences(argued) for claim in _read_sentence(*sentence)]


def _against_verdicts(orders: Sequence[Argued]) -> Iterator[str]:
    for number, argued in enumerate(orders, start=1):
        chosen = {"first": 0, "second": 1}.get(argued.verdict or "")
        concluded = [claim for claim in read_claims(argued) if not claim.trait]
        if chosen is not None and concluded and all(claim.place != chosen for claim in concluded):
            other = argued.shown[1 - chosen]
            yield (
                f"The reason of question {number} argues for {other}, and its verdict is {argued.shown[chosen]}. "
                f"In the names of its own prompt it says: {concluded[-1].words}"
            )


def _between_orders(orders: Sequence[Argued]) -> Iterator[str]:
    read = [{claim.trait: claim for claim in read_claims(argued) if claim.trait} for argued in orders]
    for (i, one), (j, other) in combinations(enumerate(read), 2):
        for trait in one.keys() & other.keys():
            sides = [orders[i].shown[one[trait].place], orders[j].shown[other[trait].place]]
            if sides[0] != sides[1]:
                yield (
                    f"The reasons contradict each other: that of question {i + 1} calls {sides[0]} {trait}, that of "
                    f"question {j + 1} calls {sides[1]} {trait}."
                )


def _read_sentences(argued: Argued) -> Iterator[tuple[str, str]]:
    """Each sentence that says something plainly: with quotes as single characters, and as it was written."""
    reason = argued.reason[:MAX_READ].replace("\ue000", " ").replace("\ue001", " ")
    quoted: list[str] = []

    def name(match: re.Match[str]) -> str:
        quoted.append(match[0])
        words = match.group(match.lastindex or 0).strip().rstrip(".,;:!")
        places = [place for place, reply in enumerate(argued.replies) if words and words in reply]
        return chr(0xE000 + places[0]) if len(places) == 1 else "\ue002"

    marked = QUOTED.sub(name, reason)
    rest = iter(quoted)
    for sentence in re.split(r"(?<=[.!?;])\s+|\n", marked):
        words = re.sub("[\ue000-\ue002]", lambda _: next(rest), sentence).strip()
        if not _HEDGES.search(sentence):
            yield sentence.strip().rstrip(".!;"), words


def _read_sentence(sentence: str, words: str) -> Iterator[Claim]:
    for pattern, is_praise in _CONCLUSIONS:
        for match in pattern.finditer(sentence):
            place = _place(match, 1)
            if "n2" in match.groupdict() and any(match[f"{kind}2"] for kind in "nolq") and _place(match, 2) == place:
                continue
            yield Claim(place if is_praise else 1 - place, words)
    for match in _COMPARED.finditer(sentence):
        place, other = _place(match, 1), _place(match, 2)
        how, _, trait = match["trait"].casefold().rpartition(" ")
        if place != other and trait not in ("better", "worse", "other", "rather"):
            yield Claim(other if how == "less" else place, words, f"more {trait}" if how else trait)


def _place(match: re.Match[str], number: int) -> int:
    named = next(found for kind in "nolq" if (found := match[f"{kind}{number}"]))
    return 0 if named.casefold() in _FIRST else 1
