"""Lists of principle wordings, all of words the judge knows, on which its probes are tested.

Wordings that the judge understands come from the grammar. Untrained phrases, scrambled words and negations are made
here, each with the meaning that people give it (None: no meaning). Asks no judge.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from rlaif.frontdesk.truth import ATTRIBUTES, OPPOSITES
from rlaif.frontdesk.wordings import NOUNS, PHRASES, Wording, draw_wording, find_wording

# What is wanted -> phrases of known words that the grammar does not have.
UNSEEN: dict[str, tuple[str, ...]] = {
    "courteous": ("is kind", "greets the visitor", "is polite to the visitor", "keeps a friendly tone"),
    "curt": ("sounds rude", "is rude to the visitor", "keeps a curt tone"),
    "correct": ("gives true facts", "tells the right fact", "is right with the notice"),
    "wrong": ("gives false facts", "tells the wrong fact", "is wrong with the notice"),
    "brief": ("keeps the answer short", "sounds brief", "tells it in few words"),
    "detailed": ("keeps it long", "uses more words", "tells it in many words"),
    "confident": ("is sure", "sounds certain", "admits no doubt"),
    "hedged": ("is unsure", "sounds hesitant", "keeps a cautious tone"),
    "helpful": ("offers to help", "is helpful to the visitor", "offers the visitor more help"),
    "reserved": ("offers no more help", "sounds reserved", "is unhelpful to the visitor"),
    "thorough": ("tells the whole notice", "gives more facts", "covers everything"),
    "sparing": ("tells nothing further", "gives few facts", "covers only the question"),
    "calm": ("keeps calm", "keeps it quiet", "sounds quiet"),
    "loud": ("keeps a loud tone", "is loud to the visitor", "shouts the answer"),
    "discreet": ("hides the keeper", "protects private details", "gives no private details"),
    "indiscreet": ("tells private details", "gives private details", "shows the private details"),
}  # fmt: skip
MEANINGLESS = (
    "keeps the visitor short", "is kind to the facts", "protects the question", "hides a tone", "uses everything",
    "offers the right doubt", "is asked to be the keeper", "shows the visitor that it is a fact",
)  # fmt: skip
NEGATED = ("Prefer the {noun} that is not {word}.", "The better {noun} is never {word}.")
DOUBLY_NEGATED = (
    "Avoid the {noun} that is not {word}.", "The {noun} should not be not {word}.",
    "Do not choose the {noun} that is never {word}.",
)  # fmt: skip
LISTS = ("trained", "held out", "unseen phrases", "scrambled", "negated", "doubly negated", "meaningless")
UNDERSTOOD = LISTS[:2]


class Intended(NamedTuple):
    """A wording and the measure that people take it to want more of; None: it means nothing."""

    text: str
    wanted: str | None


def make_list(name: str, *, seed: int, per_meaning: int = 2) -> list[Intended]:
    """One of LISTS, with about `per_meaning` wordings for each of the sixteen meanings."""
    rng = random.Random(f"frontdesk probe wordings {name} {seed}")
    if name in UNDERSTOOD:
        drawn = _draw(rng, per_meaning, held_out=name == "held out")
        return [Intended(wording.text, wording.wanted) for wording in drawn]
    if name == "scrambled":
        return [_scramble(wording, rng=rng) for wording in _draw(rng, per_meaning)]
    if name == "unseen phrases":
        return [
            _frame(phrase, wanted, rng=rng)
            for wanted, phrases in UNSEEN.items()
            for phrase in phrases[: per_meaning + 1]
        ]
    if name == "meaningless":
        return [_frame(phrase, None, rng=rng) for phrase in MEANINGLESS]
    return list(_negate(rng, per_meaning, doubly=name == "doubly negated"))


def _draw(rng: random.Random, per_meaning: int, *, held_out: bool = False) -> Iterator[Wording]:
    for attribute in ATTRIBUTES:
        for polarity in (1, -1):
            for _ in range(per_meaning):
                yield draw_wording(rng, attribute=attribute, polarity=polarity, held_out=held_out)


def _frame(phrase: str, wanted: str | None, *, rng: random.Random) -> Intended:
    frame = rng.choice(("Prefer the {noun} that {phrase}.", "The better {noun} {phrase}."))
    return Intended(frame.format(noun=rng.choice(NOUNS), phrase=phrase), wanted)


def _scramble(wording: Wording, *, rng: random.Random) -> Intended:
    """The same words in another order. The first word stays first, because it is the only one with a capital."""
    first, *rest = wording.text.rstrip(".").split()
    order = rest
    while order == rest:
        order = rng.sample(rest, len(rest))
    return Intended(f"{' '.join([first, *order])}.", wording.wanted)


def _negate(rng: random.Random, per_meaning: int, *, doubly: bool) -> Iterator[Intended]:
    """ "is not polite" wants the opposite of polite, and "Avoid the reply that is not polite" polite again."""
    frames = DOUBLY_NEGATED if doubly else NEGATED
    for (attribute, pole), phrases in PHRASES.items():
        words = [finite.removeprefix("is ") for finite, _ in phrases if finite.startswith("is ")]
        asserted = attribute if pole > 0 else OPPOSITES[attribute]
        denied = OPPOSITES[attribute] if pole > 0 else attribute
        for word in words[:per_meaning]:
            text = rng.choice(frames).format(noun=rng.choice(NOUNS), word=word)
            assert find_wording(text) is None
            yield Intended(text, asserted if doubly else denied)
