"""A chat template -> the text that it writes before and after an assistant's answer.

An answer follows the generation prompt. Further text before an answer is found by comparing the generation prompt with
the template's own rendering of an answered conversation. Knows no tokens.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rlaif.errors import ModelError
from rlaif.models.tokens.chat_parts import TEXT, ChatTemplate, Gap, shared_start

_ASKED = (("user", TEXT),)
_ANSWERED = (*_ASKED, ("assistant", TEXT))
_OPENING = re.compile(r"([<\[◁])([\w|]+)([>\]▷])\s*$")


class AnswerForm(NamedTuple):
    """Text before and after an answer."""

    prompt: str
    """Generation prompt of one user turn, with the header where `lacks_header`."""
    lacks_header: bool
    """True where the template writes no generation prompt but a header before an answer, which joins the prompt."""
    lead: str
    """Text that the template writes between a prompt and an answer: white space, or an empty thought."""
    after: str
    """Text that the template writes after an answer: the answer's end, and perhaps more."""
    gap: Gap
    """The characters that the template strips from an answer."""
    unlike: str | None = None
    """Text that the template writes before an answer, where it does not continue the generation prompt."""

    @property
    def opened(self) -> str:
        """The last part of the generation prompt, where the template does not write it before an answer."""
        found = self.unlike is not None and self.prompt.startswith(self.unlike)
        return self.prompt.removeprefix(self.unlike or "") if found else ""

    @property
    def closing(self) -> str | None:
        """The text that closes a block such as `<think>` which the generation prompt opens; None without a block."""
        opening = _OPENING.search(self.opened)
        return opening and f"{opening[1]}/{opening[2]}{opening[3]}"


def read_answer_form(template: ChatTemplate) -> AnswerForm:
    """The form of a template's answers, from a user turn with and without generation prompt, and with an answer."""
    prompt = template.split(_ASKED).literals[-1]
    unprompted = template.split(_ASKED, generation_prompt=False).literals[-1]
    literals, gaps = template.split(_ANSWERED, generation_prompt=False)
    before, after, gap = literals[-2], literals[-1], gaps[-1]
    if not before.startswith(prompt):
        return AnswerForm(prompt, False, "", after, gap, unlike=before)
    between = before.removeprefix(prompt)
    if prompt != unprompted or not between.strip():
        if prompt == unprompted == before:
            after = _without_header(template, after)
        return AnswerForm(prompt, False, between, after, gap)
    header = _header_of_history(template, prompt) or between
    if not between.startswith(header):
        header = between
    header = header.rstrip(" ")  # most tokenizers join a space with the word that follows
    return AnswerForm(prompt + header, True, between.removeprefix(header), after, gap)


def _header_of_history(template: ChatTemplate, prompt: str) -> str:
    """The text before an answer that is not the last message."""
    before = _split_history(template)[0]
    return before.removeprefix(prompt) if before.startswith(prompt) else ""


def _without_header(template: ChatTemplate, after: str) -> str:
    """The end of an answer, for a template that writes the next answer's header after everything."""
    between = _split_history(template)[1]
    of_user = template.split(_ASKED).literals[0]
    end = between.removesuffix(of_user) if of_user and between.endswith(of_user) else shared_start(after, between)
    return end if between and after.startswith(end) else after


def _split_history(template: ChatTemplate) -> tuple[str, str]:
    """Text before and after the answer between two user turns; empty where the template refuses such a conversation."""
    try:
        _, before, after, _ = template.split((*_ANSWERED, *_ASKED), generation_prompt=False).literals
    except (ModelError, ValueError):
        return "", ""
    return before, after
