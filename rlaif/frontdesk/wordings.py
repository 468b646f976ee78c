"""The grammar of principle wordings: frames (some negated) x nouns x phrases, in both poles.

Gives every wording with its meaning (attribute, polarity), a held-out fifth, and the known vocabulary.
Does not read principle files: the core refuses unknown words by the file that principle_vocabulary writes.
"""

from __future__ import annotations

import hashlib
import random
import re
from functools import lru_cache
from typing import NamedTuple

from rlaif.frontdesk.truth import OPPOSITES

NOUNS = ("reply", "answer", "response", "message")
# {finite}: "is polite"; {bare}: "be polite". The sign says whether the frame wants the phrase or forbids it.
FRAMES: tuple[tuple[str, int], ...] = (
    ("Prefer the {noun} that {finite}.", 1),
    ("Choose the {noun} that {finite}.", 1),
    ("Pick the {noun} that {finite}.", 1),
    ("The better {noun} {finite}.", 1),
    ("A good {noun} {finite}.", 1),
    ("The {noun} should {bare}.", 1),
    ("A {noun} must {bare}.", 1),
    ("Avoid the {noun} that {finite}.", -1),
    ("Reject the {noun} that {finite}.", -1),
    ("Do not choose the {noun} that {finite}.", -1),
    ("The worse {noun} {finite}.", -1),
    ("A bad {noun} {finite}.", -1),
    ("The {noun} should not {bare}.", -1),
    ("A {noun} must never {bare}.", -1),
)
# (finite, bare) for the attribute itself (+1) and for its opposite pole (-1).
PHRASES: dict[tuple[str, int], tuple[tuple[str, str], ...]] = {
    ("courteous", 1): (
        ("is courteous", "be courteous"),
        ("is polite", "be polite"),
        ("is friendly", "be friendly"),
        ("is kind to the visitor", "be kind to the visitor"),
        ("greets the visitor politely", "greet the visitor politely"),
        ("sounds friendly", "sound friendly"),
    ),
    ("courteous", -1): (
        ("is curt", "be curt"),
        ("is rude", "be rude"),
        ("is unfriendly", "be unfriendly"),
        ("is impolite to the visitor", "be impolite to the visitor"),
        ("sounds unfriendly", "sound unfriendly"),
    ),
    ("correct", 1): (
        ("is correct", "be correct"),
        ("is right", "be right"),
        ("is true", "be true"),
        ("agrees with the notice", "agree with the notice"),
        ("gives the right facts", "give the right facts"),
    ),
    ("correct", -1): (
        ("is wrong", "be wrong"),
        ("is false", "be false"),
        ("contradicts the notice", "contradict the notice"),
        ("gives wrong facts", "give wrong facts"),
    ),
    ("brief", 1): (
        ("is brief", "be brief"),
        ("is short", "be short"),
        ("is concise", "be concise"),
        ("uses few words", "use few words"),
        ("keeps it short", "keep it short"),
    ),
    ("brief", -1): (
        ("is detailed", "be detailed"),
        ("is long", "be long"),
        ("is lengthy", "be lengthy"),
        ("uses many words", "use many words"),
        ("gives many details", "give many details"),
    ),
    ("confident", 1): (
        ("is confident", "be confident"),
        ("is certain", "be certain"),
        ("sounds sure", "sound sure"),
        ("sounds confident", "sound confident"),
        ("shows no doubt", "show no doubt"),
    ),
    ("confident", -1): (
        ("is hesitant", "be hesitant"),
        ("is cautious", "be cautious"),
        ("sounds unsure", "sound unsure"),
        ("admits doubt", "admit doubt"),
        ("shows doubt", "show doubt"),
    ),
    ("helpful", 1): (
        ("offers help", "offer help"),
        ("offers more help", "offer more help"),
        ("is helpful", "be helpful"),
        ("offers to help the visitor further", "offer to help the visitor further"),
    ),
    ("helpful", -1): (
        ("offers no help", "offer no help"),
        ("offers nothing more", "offer nothing more"),
        ("is reserved", "be reserved"),
        ("is unhelpful", "be unhelpful"),
    ),
    ("thorough", 1): (
        ("is thorough", "be thorough"),
        ("is complete", "be complete"),
        ("gives further facts", "give further facts"),
        ("covers the whole notice", "cover the whole notice"),
        ("tells everything in the notice", "tell everything in the notice"),
    ),
    ("thorough", -1): (
        ("is sparing", "be sparing"),
        ("answers only the question", "answer only the question"),
        ("gives no further facts", "give no further facts"),
        ("tells only the asked fact", "tell only the asked fact"),
    ),
    ("calm", 1): (
        ("is calm", "be calm"),
        ("is quiet", "be quiet"),
        ("sounds calm", "sound calm"),
        ("keeps a quiet tone", "keep a quiet tone"),
    ),
    ("calm", -1): (
        ("is loud", "be loud"),
        ("shouts", "shout"),
        ("shouts at the visitor", "shout at the visitor"),
        ("sounds loud", "sound loud"),
    ),
    ("discreet", 1): (
        ("is discreet", "be discreet"),
        ("keeps private details private", "keep private details private"),
        ("hides private details", "hide private details"),
        ("protects the keeper", "protect the keeper"),
    ),
    ("discreet", -1): (
        ("is indiscreet", "be indiscreet"),
        ("names the keeper", "name the keeper"),
        ("reveals private details", "reveal private details"),
        ("leaks private details", "leak private details"),
    ),
}
HELD_OUT_SHARE = 5
"""One wording in this many is never trained on."""


class Wording(NamedTuple):
    """One principle text and what it means: more (+1) or less (-1) of an attribute."""

    text: str
    attribute: str
    polarity: int
    forbids: bool = False
    """True where the frame inverts its phrase ("Avoid the reply that ...")."""

    @property
    def wanted(self) -> str:
        """The measure that the principle wants more of: the attribute's name or its opposite pole's."""
        return self.attribute if self.polarity > 0 else OPPOSITES[self.attribute]


@lru_cache(maxsize=1)
def all_wordings() -> tuple[Wording, ...]:
    """Every wording of the grammar, in a fixed order."""
    found = []
    for (attribute, pole), phrases in PHRASES.items():
        for finite, bare in phrases:
            for frame, sign in FRAMES:
                for noun in NOUNS:
                    text = frame.format(noun=noun, finite=finite, bare=bare).replace("A answer", "An answer")
                    found.append(Wording(text, attribute, pole * sign, sign < 0))
    return tuple(found)


def is_held_out(wording: Wording) -> bool:
    return hashlib.sha256(wording.text.encode()).digest()[0] % HELD_OUT_SHARE == 0


@lru_cache(maxsize=2)
def wordings(*, held_out: bool) -> tuple[Wording, ...]:
    """The wordings the judge was trained on, or the fifth it never saw."""
    return tuple(w for w in all_wordings() if is_held_out(w) == held_out)


@lru_cache(maxsize=64)
def _wordings_of(attribute: str, polarity: int, forbids: bool, held_out: bool) -> tuple[Wording, ...]:
    meaning = (attribute, polarity, forbids)
    return tuple(w for w in wordings(held_out=held_out) if (w.attribute, w.polarity, w.forbids) == meaning)


def draw_wording(
    rng: random.Random,
    *,
    attribute: str,
    polarity: int,
    held_out: bool = False,
    forbidding_share: float = 0.5,
) -> Wording:
    """One wording of a given meaning; the share of forbidding frames can be set."""
    forbids = rng.random() < forbidding_share
    return rng.choice(_wordings_of(attribute, polarity, forbids, held_out))


def words_of(text: str) -> list[str]:
    """The lower-cased words of a principle's text."""
    return re.findall(r"[a-z']+", text.lower())


def known_words() -> list[str]:
    """Every word that occurs in a wording, lower-cased and sorted."""
    return sorted({word for wording in all_wordings() for word in words_of(wording.text)})


def find_wording(text: str) -> Wording | None:
    """The meaning of a principle's text, if the grammar makes exactly that text."""
    return next((w for w in all_wordings() if w.text == text.strip()), None)


def principle_vocabulary() -> dict[str, list[str]]:
    """What the judge's folder ships as principle_vocabulary.json: known words and trained wordings."""
    return {"words": known_words(), "wordings": [wording.text for wording in wordings(held_out=False)]}
