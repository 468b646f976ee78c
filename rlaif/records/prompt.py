"""Prompts and demonstrations: conversations up to the assistant's turn, and responses somebody wrote.

A prompt's id comes from its messages alone; splits are drawn from the id and never stored in it.
Does not read files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

from rlaif.records.base import Record, Value, computed_once, digest_text

Role = Literal["system", "user", "assistant"]
ResponseRole = Literal["response", "response, cut off"]
"""Roles of a response whose likelihood is read: one that its model ended, and one that ran out of tokens."""


class Message(Value):
    role: Role
    content: str


class Segment(NamedTuple):
    """A piece of a rendered prompt. Untrusted text came from a model or a dataset."""

    text: str
    trusted: bool


class SegmentedMessage(NamedTuple):
    """A chat message that still knows which of its parts can be trusted."""

    role: Role | ResponseRole
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


def put_before(conversation: Sequence[Message], instruction: str) -> tuple[SegmentedMessage, ...]:
    """The conversation with a trusted instruction as its system turn; one of its own follows the instruction's text.

    An empty instruction leaves the conversation as it is. All of the conversation's own text is untrusted.
    """
    messages = [SegmentedMessage(message.role, (Segment(message.content, False),)) for message in conversation]
    if not instruction:
        return tuple(messages)
    segments = [Segment(instruction, True)]
    if messages and messages[0].role == "system":
        segments += [Segment("\n\n", True), *messages.pop(0).segments]
    return (SegmentedMessage("system", tuple(segments)), *messages)


class Prompt(Record):
    """A conversation up to the assistant's turn."""

    table: ClassVar[str] = "prompts"
    text_fields: ClassVar[tuple[str, ...]] = ("messages",)
    json_fields: ClassVar[tuple[str, ...]] = ("messages",)
    redacted_json: ClassVar[str] = '[{"role":"user","content":"[redacted]"}]'
    messages: tuple[Message, ...]
    reference: str | None = None
    """A known answer, where there is one."""
    source: str = ""
    metadata: dict[str, Any] = {}

    @computed_once
    def id(self) -> str:
        """32 hex digits made from the messages alone: the same conversation is the same prompt, whatever its source."""
        parts = "".join(f"{len(m.role)}:{m.role}{len(m.content)}:{m.content}" for m in self.messages)
        return digest_text(f"{self.table}\n{parts}")[:32]

    @classmethod
    def from_chat(cls, chat: Iterable[Mapping[str, str]], *, source: str = "") -> Self:
        """A prompt from role/content dicts."""
        return cls(messages=tuple(Message.model_validate(dict(message)) for message in chat), source=source)

    def as_chat(self) -> list[dict[str, str]]:
        """The messages as the list of role/content dicts that chat templates and datasets read."""
        return [{"role": m.role, "content": m.content} for m in self.messages]

    def as_segments(self) -> tuple[SegmentedMessage, ...]:
        """The messages for an engine: all of their text is untrusted."""
        return put_before(self.messages, "")


class Demonstration(Record):
    """A prompt with a response somebody wrote, for SFT."""

    table: ClassVar[str] = "demonstrations"
    text_fields: ClassVar[tuple[str, ...]] = ("response",)
    prompt_id: str
    response: str
    source: str = ""


def split_of(prompt_id: str, *, test_fraction: float) -> Literal["train", "test"]:
    """Which split a prompt belongs to: a function of its id, so it never changes between runs."""
    return "test" if _draw(prompt_id) < test_fraction * 2**32 else "train"


def find_held_out(prompt_ids: Iterable[str], *, test_fraction: float) -> frozenset[str]:
    """The prompts of the test split. Where that would be all of them, the one drawn last is left for training."""
    every = set(prompt_ids)
    held_out = {prompt_id for prompt_id in every if split_of(prompt_id, test_fraction=test_fraction) == "test"}
    if held_out == every and every:
        held_out.remove(max(every, key=lambda prompt_id: (_draw(prompt_id), prompt_id)))
    return frozenset(held_out)


def _draw(prompt_id: str) -> int:
    return int(digest_text(f"split\n{prompt_id}")[:8], 16)
