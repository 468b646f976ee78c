"""The judge's texts: its prompts, made from the shipped template files, and the replies it is trained to write.

Strings in, strings out. The prompts' words are only in the template files, so training and use have the same.
Does not tokenise and is no template engine: it replaces bare variables, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

from rlaif.frontdesk import truth
from rlaif.frontdesk.truth import STEP, measure_attributes, stated_answer, true_answer
from rlaif.frontdesk.wordings import Wording
from rlaif.frontdesk.world import Message

PAIR_TEMPLATE, SCORE_TEMPLATE = "frontdesk_pair", "frontdesk_score"
VERDICTS = (" A", " B")
VERDICT_MARKER = "\nVerdict:"
SCORES = tuple(f" {score}" for score in truth.SCORES)
SCORE_MARKER = "\nScore:"
FITS = ("badly", "weakly", "partly", "mostly", "fully")
# A word for each step of each attribute, lowest first; "mixed" is for steps that no reply can have.
LEVEL_WORDS: dict[str, tuple[str, str, str, str, str]] = {
    "courteous": ("rude", "curt", "plain", "polite", "gracious"),
    "correct": ("wrong", "unanswered", "mixed", "mixed", "right"),
    "brief": ("lengthy", "long", "medium", "short", "brief"),
    "confident": ("unsure", "hesitant", "mixed", "sure", "certain"),
    "helpful": ("reserved", "mixed", "mixed", "helpful", "eager"),
    "thorough": ("bare", "mixed", "mixed", "fuller", "complete"),
    "calm": ("shouting", "loud", "mixed", "mixed", "calm"),
    "discreet": ("leaking", "naming", "mixed", "mixed", "discreet"),
}


def _template_path(name: str) -> Path:
    package = Path(__file__).parent.parent
    for folder in (package.parent / "prompts", package / "prompts"):
        if (folder / f"{name}.j2").is_file():
            return folder / f"{name}.j2"
    raise FileNotFoundError(f"{name}.j2 is neither beside nor inside the package {package}")


@lru_cache(maxsize=2)
def template_parts(name: str) -> tuple[dict[str, object], str]:
    """A template's front matter and its body (the user message), without the final newline."""
    _, front, body = _template_path(name).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body.rstrip("\n")


def conversation_text(messages: Sequence[Message]) -> str:
    """A conversation as the judge reads it: a line per message, "role: content"."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def judge_prompt_text(template: str, *, pieces: Mapping[str, str]) -> str:
    """The rendered user message of one question: the template's variables replaced by their texts."""
    text = ""
    for part in template_parts(template)[1].split("{{ "):
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
    word = LEVEL_WORDS[attribute][round(seen.attributes[attribute] / STEP)]
    if attribute == "correct" and seen.answer is not None and seen.noticed is not None:
        return compared_values(seen.answer, seen.noticed, is_right=word == "right")
    return word


def compared_values(stated: str, noticed: str, *, is_right: bool) -> str:
    """A reply's value beside the notice's, and whether it is right: a small model can compare neighbouring words."""
    return f"{stated} for {noticed} so {'right' if is_right else 'wrong'}"


def _keeps(seen: Seen, wording: Wording) -> float:
    value = seen.attributes[wording.attribute]
    return value if wording.polarity > 0 else 100.0 - value


def _finding(seen: Seen, wording: Wording) -> str:
    return f"{_level_word(seen, wording.attribute)}, fits {FITS[round(_keeps(seen, wording) / STEP)]}"


# The wanted pole comes first: without it a small model does not learn the product of level and direction.
def reason_for(first: Seen, second: Seen, *, wording: Wording) -> ReasonedPair:
    """The reason and the gap of a pair, as one principle sees it."""
    reason = f"Wants {wording.wanted}: A {_finding(first, wording)}; B {_finding(second, wording)}."
    return ReasonedPair(reason, _keeps(first, wording) - _keeps(second, wording))


def score_reason_for(seen: Seen, *, wording: Wording) -> tuple[str, float]:
    """The reason of a single reply's score, and how well (0-100) the reply keeps the principle."""
    return f"Wants {wording.wanted}: {_finding(seen, wording)}.", _keeps(seen, wording)


def true_reason(messages: Sequence[Message], first: str, second: str, *, wording: Wording) -> ReasonedPair:
    """The reason and the gap of a pair, read from its texts."""
    return reason_for(see_reply(messages, first), see_reply(messages, second), wording=wording)
