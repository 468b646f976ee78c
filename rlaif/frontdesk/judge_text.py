"""The judge's texts: its prompt, made from the shipped template file, and the reply it is trained to write.

Strings in, strings out; the prompt's words stand in the template file alone, so the two cannot drift.
Does not tokenise and is no template engine: it replaces bare variables, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

from rlaif.frontdesk.truth import STEP, measure_attributes, stated_answer, true_answer
from rlaif.frontdesk.wordings import Wording
from rlaif.frontdesk.world import Message

TEMPLATE_NAME = "frontdesk_pair.j2"
VERDICTS = (" A", " B")
VERDICT_MARKER = "\nVerdict:"
FITS = ("badly", "weakly", "partly", "mostly", "fully")
# A word for each step of each attribute, lowest first; "mixed" stands at steps that no reply can have.
LEVEL_WORDS: dict[str, tuple[str, str, str, str, str]] = {
    "courteous": ("rude", "curt", "plain", "polite", "gracious"),
    "correct": ("wrong", "unanswered", "mixed", "mixed", "right"),
    "brief": ("lengthy", "long", "medium", "short", "brief"),
    "confident": ("unsure", "hesitant", "mixed", "sure", "certain"),
    "helpful": ("reserved", "mixed", "mixed", "helpful", "eager"),
    "calm": ("shouting", "loud", "mixed", "mixed", "calm"),
    "discreet": ("leaking", "naming", "mixed", "mixed", "discreet"),
}


def _template_path() -> Path:
    package = Path(__file__).parent.parent
    for folder in (package.parent / "prompts", package / "prompts"):
        if (folder / TEMPLATE_NAME).is_file():
            return folder / TEMPLATE_NAME
    raise FileNotFoundError(f"{TEMPLATE_NAME} is neither beside nor inside the package {package}")


@lru_cache(maxsize=1)
def template_parts() -> tuple[dict[str, object], str]:
    """The template's front matter and its body (the user message), without the final newline."""
    _, front, body = _template_path().read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body.rstrip("\n")


def conversation_text(messages: Sequence[Message]) -> str:
    """A conversation as the judge reads it, a message after the other: "role: content"."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def judge_prompt_text(*, conversation: str, first: str, second: str, principle: str) -> str:
    """The rendered user message of one question."""
    pieces = {"conversation": conversation, "first": first, "second": second, "principle": principle}
    text = ""
    for part in template_parts()[1].split("{{ "):
        name, closed, rest = part.partition(" }}")
        text += pieces[name] + rest if closed else part
    return text


class ReasonedPair(NamedTuple):
    """The reason the judge should write for a pair, and the truth gap in favour of the first, -100..100."""

    reason: str
    gap: float


class Seen(NamedTuple):
    """What the judge should see in one reply: its attributes, the answer it states and the notice's."""

    attributes: dict[str, float]
    answer: str | None
    noticed: str | None


def see_reply(messages: Sequence[Message], response: str) -> Seen:
    """Read a reply by the truth."""
    answer, noticed = stated_answer(messages, response), true_answer(messages)
    return Seen(measure_attributes(messages, response), answer, noticed)


def _level_word(seen: Seen, attribute: str) -> str:
    # For correctness the values come first, the notice's and each reply's: comparing them is a step of its own.
    if attribute == "correct" and seen.answer is not None:
        return seen.answer
    return LEVEL_WORDS[attribute][round(seen.attributes[attribute] / STEP)]


def reason_for(first: Seen, second: Seen, *, wording: Wording) -> ReasonedPair:
    """The reason and the gap of a pair, as one principle sees it."""
    parts, kept = [], []
    for letter, seen in (("A", first), ("B", second)):
        value = seen.attributes[wording.attribute]
        keeps = value if wording.polarity > 0 else 100.0 - value
        level = _level_word(seen, wording.attribute)
        parts.append(f"{letter} {level}, fits {FITS[round(keeps / STEP)]}")
        kept.append(keeps)
    # The wanted pole comes first: without it a small model does not learn the product of level and direction.
    noticed = f", {first.noticed}" if wording.attribute == "correct" and first.noticed else ""
    return ReasonedPair(f"Wants {wording.wanted}{noticed}: {'; '.join(parts)}.", kept[0] - kept[1])


def true_reason(messages: Sequence[Message], first: str, second: str, *, wording: Wording) -> ReasonedPair:
    """The reason and the gap of a pair, read from its texts."""
    return reason_for(see_reply(messages, first), see_reply(messages, second), wording=wording)
