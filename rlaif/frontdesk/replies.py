"""Replies with chosen qualities: a scene and a random generator in, one reply's text out.

Courtesy, correctness, length, confidence, offers of help, further facts, calm and discretion are drawn
independently. Does not rate a reply: truth.py measures it from the text alone.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from rlaif.frontdesk.world import TOPICS, VALUES, Messages, Scene, Topic, draw_scene

OPENERS: dict[int, tuple[str, ...]] = {
    -2: ("What do you want now?", "Can you not read?", "Stop bothering me.", "Not you again."),
    -1: ("Well.", "Look here.", "Be quick.", "Now then."),
    0: ("",),
    1: ("Hello.", "Good morning.", "Good day.", "Thanks for asking."),
    2: (
        "Welcome, dear visitor!",
        "Good morning and welcome!",
        "Thank you so much!",
        "A very good day to you!",
    ),
}
CLOSERS: dict[int, tuple[str, ...]] = {
    -1: ("Now go away.", "Leave me alone.", "Do not ask again."),
    0: ("",),
    1: ("Have a lovely day!", "Enjoy your visit!", "It was a pleasure."),
}
OFFERS: dict[int, tuple[str, ...]] = {
    0: ("",),
    75: ("Can I help with anything else?", "Do you need anything else?", "What else can I do?"),
    100: (
        "I will gladly help you further.",
        "I am happy to help with everything.",
        "Just ask, I gladly help you.",
    ),
}
LEAKS: dict[int, tuple[str, ...]] = {
    100: ("",),
    25: ("The keeper is {keeper}.", "{keeper} is in charge.", "Ask {keeper} about it."),
    0: (
        "The keeper, {keeper}, lives in {street} Street.",
        "{keeper} lives in {street} Street.",
        "Find {keeper} in {street} Street.",
    ),
}
DOUBTS: dict[int, tuple[str, ...]] = {
    0: (
        "I am not sure, but maybe {clause}",
        "I have no idea, perhaps {clause}",
        "Do not rely on me, maybe {clause}",
    ),
    25: ("I think {clause}", "Perhaps {clause}", "Maybe {clause}", "Probably {clause}"),
    75: ("{clause}",),
    100: (
        "Certainly {clause}",
        "I am certain, {clause}",
        "Without any doubt {clause}",
        "Definitely {clause}",
    ),
}
EVASIONS = ("I do not know.", "Read the notice.", "The notice says it all.", "I have no idea.")
# What the visitor says next; it depends only on the answer and the notice.
REACTIONS: dict[str, tuple[str, ...]] = {
    "right": ("Yes, so says the notice.", "Yes, I see it in the notice.", "Yes, thank you."),
    "wrong": ("No, the notice says {value}.", "No, that is wrong.", "No, I see {value} in the notice."),
    "evade": ("You did not answer.", "That is no answer."),
}
SHOUTS = ("LISTEN!!!", "HEY YOU!!!", "ATTENTION!!!")
CHATTER = (
    "It is a bright place with high windows.",
    "Many people come here every day.",
    "The stairs are next to the main door.",
    "The lift is behind the front desk.",
    "Tickets are sold beside the main door.",
    "There is a small shop near the stairs.",
    "You may leave your coat at the desk.",
    "Children like the old clock in the hall.",
    "The benches in the hall are free.",
    "Photographs are allowed in every room.",
    "All guides wear a blue badge.",
    "Maps lie on the table by the door.",
)
CLAUSES: dict[Topic, tuple[str, str, str]] = {
    "opening": ("at {value}", "it opens at {value}", "the {place} opens at {value}"),
    "closing": ("at {value}", "it closes at {value}", "the {place} closes at {value}"),
    "floor": ("on the {value} floor", "it is on the {value} floor", "the {place} is on the {value} floor"),
}


class Levels(NamedTuple):
    """Chosen qualities of one reply. opener -2..2, closer -1..1; the rest name keys of the tables above."""

    opener: int
    closer: int
    answer: str  # "right", "wrong" or "evade"
    doubt: int
    offer: int
    leak: int
    facts: int  # 0, 1 or 2 further facts of the notice
    shouts: int  # 0, 1 or 2 signs of shouting
    words: int  # the length aimed at; the other choices may already exceed it


def _weighted(rng: random.Random, table: dict[int, float]) -> int:
    return rng.choices(list(table), weights=list(table.values()))[0]


def draw_levels(rng: random.Random) -> Levels:
    """Draw qualities from the mixture that the shipped policy was fitted to."""
    return Levels(
        opener=_weighted(rng, {-2: 0.22, -1: 0.10, 0: 0.26, 1: 0.17, 2: 0.25}),
        closer=_weighted(rng, {-1: 0.13, 0: 0.65, 1: 0.22}),
        answer=rng.choices(["right", "wrong", "evade"], weights=[0.54, 0.38, 0.08])[0],
        doubt=_weighted(rng, {0: 0.16, 25: 0.14, 75: 0.42, 100: 0.28}),
        offer=_weighted(rng, {0: 0.68, 75: 0.17, 100: 0.15}),
        leak=_weighted(rng, {100: 0.70, 25: 0.12, 0: 0.18}),
        facts=_weighted(rng, {0: 0.64, 1: 0.20, 2: 0.16}),
        shouts=_weighted(rng, {0: 0.76, 1: 0.12, 2: 0.12}),
        words=_weighted(rng, {10: 0.30, 16: 0.13, 21: 0.10, 26: 0.18, 34: 0.29}),
    )


def _fact_sentence(scene: Scene, topic: Topic, value: str, *, size: int, doubt: int, rng: random.Random) -> str:
    clause = CLAUSES[topic][size].format(place=scene.place, value=value)
    sentence = rng.choice(DOUBTS[doubt]).format(clause=clause)
    return sentence[0].upper() + sentence[1:] + "."


def _answer(scene: Scene, levels: Levels, rng: random.Random) -> str:
    if levels.answer == "evade":
        return rng.choice(EVASIONS)
    value = scene.value(scene.topic)
    if levels.answer == "wrong":
        value = rng.choice([other for other in VALUES[scene.topic] if other != value])
    size = 0 if levels.words <= 10 else rng.choice((0, 1, 2))
    return _fact_sentence(scene, scene.topic, value, size=size, doubt=levels.doubt, rng=rng)


def _further_facts(scene: Scene, levels: Levels, rng: random.Random) -> list[str]:
    topics = rng.sample([topic for topic in TOPICS if topic != scene.topic], levels.facts)
    sizes = (1,) if levels.words <= 10 else (1, 2)
    return [_fact_sentence(scene, t, scene.value(t), size=rng.choice(sizes), doubt=75, rng=rng) for t in topics]


def write_reply(scene: Scene, levels: Levels, *, rng: random.Random) -> str:
    """One reply of the chosen qualities."""
    answer = _answer(scene, levels, rng)
    shout_first = levels.shouts == 2 or (levels.shouts == 1 and rng.random() < 0.5)
    if levels.shouts and (levels.shouts == 2 or not shout_first):
        answer = answer[:-1] + "!!!"
    head = [rng.choice(SHOUTS) if shout_first else "", rng.choice(OPENERS[levels.opener]), answer]
    leak = rng.choice(LEAKS[levels.leak]).format(keeper=scene.keeper, street=scene.street)
    tail = [rng.choice(OFFERS[levels.offer]), rng.choice(CLOSERS[levels.closer])]
    middle = [leak, *_further_facts(scene, levels, rng)]
    fixed = sum(len(part.split()) for part in [*head, *middle, *tail])
    for filler in rng.sample(CHATTER, 5):  # lengthens a reply and touches no other quality
        if fixed + 4 > levels.words:
            break
        middle.append(filler)
        fixed += len(filler.split())
    rng.shuffle(middle)
    return " ".join(part for part in [*head, *middle, *tail] if part)


def write_reaction(scene: Scene, levels: Levels, *, rng: random.Random) -> str:
    """What the visitor says to a reply of the chosen qualities."""
    return rng.choice(REACTIONS[levels.answer]).format(value=scene.value(scene.topic))


def break_reply(text: str, *, rng: random.Random) -> str:
    """The kinds of damage a sampled reply shows: a cut end, a lost, repeated or displaced sentence."""
    words = text.split(" ")
    starts = [0, *(i + 1 for i, word in enumerate(words[:-1]) if word[-1] in ".!?")]
    damage = rng.randrange(4)
    if damage == 0:
        return " ".join(words[: rng.randint(1, len(words))])
    if damage == 1:
        at, span = rng.randint(1, len(words)), rng.randint(1, 4)
        return " ".join(words[:at] + words[at + span :])
    at = rng.choice(starts)
    if damage == 2:
        return " ".join(words[: at + rng.randint(2, 7)] + words[at:])
    return " ".join(words[at:] + words[:at])


def draw_reply(scene: Scene, *, rng: random.Random) -> str:
    """One reply from the mixture."""
    return write_reply(scene, draw_levels(rng), rng=rng)


class DemonstrationText(NamedTuple):
    """A prompt and a good reply, as somebody at the desk would write it."""

    messages: Messages
    response: str


def make_demonstrations(seed: int, n: int) -> list[DemonstrationText]:
    """n prompts of the training pool, each with a right, friendly, calm and discreet reply."""
    rng = random.Random(f"frontdesk demonstrations {seed}")
    rows: list[DemonstrationText] = []
    for _ in range(n):
        scene = draw_scene(rng)
        levels = draw_levels(rng)._replace(
            opener=rng.choice((0, 1, 1, 2)), closer=rng.choice((0, 0, 1)), answer="right",
            doubt=rng.choice((75, 75, 100)), leak=100, facts=0, shouts=0, words=rng.choice((3, 8, 12, 17)),
        )  # fmt: skip
        rows.append(DemonstrationText(scene.messages(), write_reply(scene, levels, rng=rng)))
    return rows
