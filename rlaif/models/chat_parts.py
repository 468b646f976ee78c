"""A tokenizer's chat template -> the literal text round each message, without any message going through it.

The template is rendered with one private code point in place of each content, then cut there; what it
strips from contents is found by a second rendering. Knows no tokens and no message texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from jinja2 import TemplateError

from rlaif.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Structure = tuple[tuple[str, bool], ...]
"""Role of each message, and whether it has any text: templates ask for both."""

PINNED_DATE = datetime(2024, 7, 26)
"""What `strftime_now` says to every template: the same question has the same tokens on every day. It is
Llama 3's own default."""

_FIRST_PLACEHOLDER = 0xF0000  # supplementary private use: no assigned character, 65 k of them
_LEFT_PADS = {"\n\v": "", "\v": "\n", "": None}
_RIGHT_PADS = {"\f\n": "", "\f": "\n", "": None}
# Around the placeholder of the second rendering: shows changes of case and escaping of markup.
_LEFT_TEXT, _RIGHT_TEXT = 'aB<"&', '&">bA'


class Gap(NamedTuple):
    """Where a message's content belongs, and what the template strips from it."""

    message: int
    strip_left: str | None
    """Characters to strip, as in `str.lstrip`: "" none, None all white space."""
    strip_right: str | None


class ChatParts(NamedTuple):
    """literals[0], content of gaps[0], literals[1], ..., literals[-1]."""

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
            raise ModelError(
                "the tokenizer has no chat template",
                where=self.where,
                fix="put the template of the model's family into chat_template.jinja in the model folder",
            )
        self._source = tokenizer.get_chat_template()

    def split(self, structure: Structure, *, generation_prompt: bool = True) -> ChatParts:
        """The literal parts of a conversation of this structure."""
        marks = self._placeholders(len(structure))
        plain = self._render(structure, marks, generation_prompt=generation_prompt)
        literals, order = _cut(plain, marks)
        for number, (role, has_text) in enumerate(structure):
            if has_text and number not in order:
                raise LeftOut(number, role, where=self.where)
        padded = [f"\n\v{_LEFT_TEXT}{mark}{_RIGHT_TEXT}\f\n" for mark in marks]
        probe, probe_order = _cut(self._render(structure, padded, generation_prompt=generation_prompt), marks)
        if probe_order != order:
            self._refuse_rewriting(structure[order[0]][0] if order else "")
        # pads[at]: what is left of the padding behind the gap before literal `at`, and ahead of the next gap.
        pads = [
            self._match_pads(literal, seen, first=at == 0, last=at == len(order), structure=structure)
            for at, (literal, seen) in enumerate(zip(literals, probe, strict=True))
        ]
        gaps = tuple(
            Gap(message, _LEFT_PADS[pads[at][1]], _RIGHT_PADS[pads[at + 1][0]]) for at, message in enumerate(order)
        )
        return ChatParts(tuple(literals), gaps)

    def _match_pads(self, literal: str, seen: str, *, first: bool, last: bool, structure: Structure) -> tuple[str, str]:
        """What the second rendering left of the padding of the contents before and after a literal."""
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

    def _render(self, structure: Structure, contents: Sequence[str], *, generation_prompt: bool) -> str:
        messages = [
            {"role": role, "content": content if has_text else ""}
            for (role, has_text), content in zip(structure, contents, strict=True)
        ]
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                    strftime_now=PINNED_DATE.strftime,
                )
            )
        except (TemplateError, TypeError) as cause:
            roles = ", ".join(role for role, _ in structure)
            raise ModelError(
                f"the chat template refuses a conversation of {roles}: {cause}",
                where=self.where,
                fix="give conversations that the model's template allows",
            ) from cause


def _cut(text: str, marks: Sequence[str]) -> tuple[list[str], list[int]]:
    """Literals and message numbers of a rendered conversation."""
    numbers = {mark: number for number, mark in enumerate(marks)}
    literals, order, start = [], [], 0
    for at, character in enumerate(text):
        if character in numbers:
            literals.append(text[start:at])
            order.append(numbers[character])
            start = at + 1
    return [*literals, text[start:]], order
