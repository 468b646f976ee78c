"""A tokenizer's chat template -> the literal text around each message, found without showing it any message.

The template is rendered with one private code point in place of each stretch of text, then cut there. A second
rendering shows which characters the template strips from stretches. Knows no tokens and decides nothing about message
texts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from rlaif.errors import ModelError
from rlaif.models.tokens.template_process import TEMPLATES, Stopped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Shape = tuple[str | None, ...]
"""A message's content in parts. None is a stretch of text; a string is one that the template may search for."""

TEXT: Shape = (None,)
"""An ordinary content: one stretch of text."""

Structure = tuple[tuple[str, Shape], ...]
"""Role and shape of each message: templates ask for both."""

PINNED_DATE = datetime(2024, 7, 26)
"""The date that `strftime_now` gives to every template, so that a question has the same tokens on every day. It is
Llama 3's own default."""

_MAX_SOURCE = 128 << 10
"""Most characters of a template; those of known models have up to some 30,000."""
_MAX_WORDS = 2000
"""Most different strings in a template's code; those of known models have up to some 200."""
_SHOWN_ROLES = 8
"""Most roles that a message lists."""
_LIMITS = {
    "time": "does not come to an end in the time that it may take",
    "text": "writes more text than it may",
    "memory": "takes more memory than it may",
}
"""What a template did that went over its limits."""
_MOST_REPEATS = 16
"""How often a template may show the same text of a conversation."""
_FIRST_PLACEHOLDER = 0xF0000  # supplementary private use: no assigned character, 65 k of them
_LEFT_PADS = {"\n\v": "", "\v": "\n", "": None}
_RIGHT_PADS = {"\f\n": "", "\f": "\n", "": None}
# Put around the placeholder in the second rendering, to show changes of case and escaping of markup.
_LEFT_TEXT, _RIGHT_TEXT = 'aB<"&', '&">bA'


class Gap(NamedTuple):
    """The place of a stretch of text, and the characters that the template strips from it."""

    stretch: int
    """The stretch's number in the conversation, from 0."""
    strip_left: str | None
    """Characters to strip, as in `str.lstrip`: "" none, None all white space."""
    strip_right: str | None


class ChatParts(NamedTuple):
    """A conversation as literals[0], text of gaps[0], literals[1], ..., literals[-1]."""

    literals: tuple[str, ...]
    gaps: tuple[Gap, ...]


class LeftOut(ModelError):
    """The template has no place for a message."""

    def __init__(self, message: int, role: str, *, where: str) -> None:
        self.message = message
        super().__init__(
            f"the chat template leaves out message {message + 1} ({role})",
            where=where,
            fix="use a template that shows every message, or take the message out",
        )


class ChatTemplate:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.where = tokenizer.name_or_path or type(tokenizer).__name__
        if not tokenizer.chat_template:
            self._refuse("the tokenizer has no chat template")
        try:
            self._source = tokenizer.get_chat_template()
        except ValueError as cause:
            raise ModelError(
                "the tokenizer has several chat templates and none is the default one",
                where=self.where,
                fix="put the one to use into chat_template.jinja in the model folder",
            ) from cause
        self._broken: str | None = None
        self._number, words = self._compile()
        self.words = re.compile("|".join(map(re.escape, words)) or "(?!)")
        """Pattern of any string in the template's code: the template may search contents for it."""
        self._values = {name: _plain(value) for name, value in tokenizer.special_tokens_map.items()}

    def _compile(self) -> tuple[int, list[str]]:
        """The template's number in the process that renders it, and the strings in its code, the longest first."""
        if not isinstance(self._source, str):
            self._refuse("the chat template is not a text")
        if len(self._source) > _MAX_SOURCE:
            self._refuse(f"the chat template has {len(self._source)} characters; {_MAX_SOURCE} are allowed")
        try:
            number, answer = TEMPLATES.compile(self._source)
        except Stopped:
            self._refuse("the chat template cannot be read within the time that it may take")
        if "error" in answer:
            problem = answer.get("message", "it takes too much memory")
            self._refuse(f"the chat template cannot be read: {problem}")
        words = sorted((word for word in answer["words"] if len(word.strip()) > 1), key=len, reverse=True)
        if len(words) > _MAX_WORDS:
            self._refuse(f"the chat template has {len(words)} different strings; {_MAX_WORDS} are allowed")
        return number, words

    @cached_property
    def stand_in(self) -> str:
        """A character that is not in the template, to be shown in place of text."""
        return self._placeholders(1)[0]

    def split(self, structure: Structure, *, generation_prompt: bool = True) -> ChatParts:
        """The literal parts of a conversation of this structure."""
        stretches = [number for number, (_, shape) in enumerate(structure) for piece in shape if piece is None]
        marks = self._placeholders(len(stretches))
        plain = self.render(_fill(structure, marks), generation_prompt=generation_prompt)
        literals, order = _cut(plain, marks)
        if len(order) > _MOST_REPEATS * (len(marks) + 1):
            self._refuse(f"the chat template shows the same text more than {_MOST_REPEATS} times")
        for stretch, number in enumerate(stretches):
            role, shape = structure[number]
            if shape == TEXT and stretch not in order:
                raise LeftOut(number, role, where=self.where)
        padded = [f"\n\v{_LEFT_TEXT}{mark}{_RIGHT_TEXT}\f\n" for mark in marks]
        probe, probe_order = _cut(self.render(_fill(structure, padded), generation_prompt=generation_prompt), marks)
        if probe_order != order:
            self._refuse_rewriting(structure[stretches[order[0]]][0] if order else "")
        # pads[at]: the padding that is left after the gap before literal `at`, and before the next gap.
        pads = [
            self._match_pads(literal, seen, first=at == 0, last=at == len(order), structure=structure)
            for at, (literal, seen) in enumerate(zip(literals, probe, strict=True))
        ]
        gaps = tuple(
            Gap(stretch, _LEFT_PADS[pads[at][1]], _RIGHT_PADS[pads[at + 1][0]]) for at, stretch in enumerate(order)
        )
        return ChatParts(tuple(literals), gaps)

    def render(self, messages: list[dict[str, str]], *, generation_prompt: bool) -> str:
        """The template's rendering of a conversation, on the pinned date.

        A template that once went over its limits is not rendered any more: there may be thousands of conversations.
        """
        if self._broken is not None:
            self._refuse(self._broken)
        values = {
            **self._values, "messages": messages, "tools": None, "documents": None,
            "add_generation_prompt": generation_prompt,
        }  # fmt: skip
        roles = ", ".join([message["role"] for message in messages[:_SHOWN_ROLES]])
        roles += f" and {more} more" if (more := len(messages) - _SHOWN_ROLES) > 0 else ""
        try:
            answer = TEMPLATES.render(self._number, values=values, date=PINNED_DATE.isoformat())
        except Stopped:
            answer = {"error": "time"}
        if "text" in answer:
            return str(answer["text"])
        if answer["error"] in _LIMITS:
            self._broken = f"for a conversation of {roles}, the chat template {_LIMITS[answer['error']]}"
            self._refuse(self._broken)
        raise ModelError(
            f"the chat template refuses a conversation of {roles}: {answer['message']}",
            where=self.where,
            fix="give conversations that the model's template allows",
        )

    def _refuse(self, what: str) -> NoReturn:
        raise ModelError(
            what,
            where=self.where,
            fix="put the template of the model's family into chat_template.jinja in the model folder",
        )

    def _match_pads(self, literal: str, seen: str, *, first: bool, last: bool, structure: Structure) -> tuple[str, str]:
        """The padding that the second rendering left of the contents before and after a literal."""
        before = [""] if first else list(_RIGHT_PADS)
        after = [""] if last else list(_LEFT_PADS)
        start, end = ("" if first else _RIGHT_TEXT), ("" if last else _LEFT_TEXT)
        for right, left in itertools.product(before, after):
            if seen == start + right + literal + left + end:
                return right, left
        self._refuse_rewriting(structure[0][0])

    def _refuse_rewriting(self, role: str) -> NoReturn:
        raise ModelError(
            f"the chat template rewrites the content of messages (a conversation that begins with {role})",
            where=self.where,
            fix="use a template that shows contents as they are, apart from stripping white space",
        )

    def _placeholders(self, count: int) -> list[str]:
        codes = itertools.count(_FIRST_PLACEHOLDER)
        return list(itertools.islice((c for c in map(chr, codes) if c not in self._source), count))


def _fill(structure: Structure, stretches: Sequence[str]) -> list[dict[str, str]]:
    """Messages of this structure, each stretch of text in its place."""
    texts = iter(stretches)
    return [
        {"role": role, "content": "".join(next(texts) if piece is None else piece for piece in shape)}
        for role, shape in structure
    ]


def _plain(value: Any) -> str | list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else str(value)


def shared_start(one: str, other: str) -> str:
    """The longest text that both texts begin with."""
    at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return min(one, other, key=len) if at is None else one[:at]


def _cut(text: str, marks: Sequence[str]) -> tuple[list[str], list[int]]:
    """Literals and stretch numbers of a rendered conversation."""
    numbers = {mark: number for number, mark in enumerate(marks)}
    literals, order, start = [], [], 0
    for at, character in enumerate(text):
        if character in numbers:
            literals.append(text[start:at])
            order.append(numbers[character])
            start = at + 1
    return [*literals, text[start:]], order
