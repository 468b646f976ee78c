"""A dialogue in one text, as in Anthropic's HH-RLHF data -> its messages.

Such a text begins with a blank line and "Human:"; each turn begins in this way, or with "Assistant:". Any other text
is no transcript. Does not decide which turns are the prompt and which is the response.
"""

from __future__ import annotations

import re

from rlaif.records import Message
from rlaif.records.prompt import Role

OPENING = "\n\nHuman:"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def is_transcript(value: object) -> bool:
    """Whether a cell holds a dialogue in one text."""
    return isinstance(value, str) and value.startswith(OPENING)


def read_transcript(text: str) -> tuple[Message, ...]:
    """The turns of a transcript, without the space after the colon.

    Two turns of one speaker in a row are one turn in two paragraphs, as chat templates want speakers to alternate.
    """
    _, *parts = _TURN.split(text)
    messages: list[Message] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = _ROLES[speaker], said.removeprefix(" ")
        if messages and messages[-1].role == role:
            content = f"{messages.pop().content}\n\n{content}"
        messages.append(Message(role=role, content=content))
    return tuple(messages)
