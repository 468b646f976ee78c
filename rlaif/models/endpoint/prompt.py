"""Segmented messages -> plain chat messages, for servers that take no token ids.

Strings in untrusted text that some model reads as a control token are replaced by look-alikes and counted; trusted
text, the template's fences too, stays as it is. The server's vocabulary is not known, so this protects less than token
ids do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.models.endpoint.settings import ChatForm
from rlaif.models.interface import Chat
from rlaif.records import SegmentedMessage

_TAGS = (
    "s", "bos", "eos", "pad", "unk", "mask", "cls", "sep", "sop", "eop", "eod", "eot", "eom", "think", "thinking",
    "image", "start_of_turn", "end_of_turn", "start_of_image", "end_of_image", "endoftext", "tools", r"tool_\w+",
    r"function_\w+", r"fim[_-]\w+", r"extra_id_\d+", r"unused\d+", r"reserved_\w+", r"special_\w+",
)  # fmt: skip
_BRACKETED = (
    "INST", "SYS", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_CALLS", "TOOL_RESULTS", "TOOL_CONTENT", "IMG", "PREFIX",
    "MIDDLE", "SUFFIX", "BOS", "EOS", "CLS", "SEP", "PAD", "MASK", "UNK", "gMASK", "sMASK", "THINK", "ARGS", "CALL_ID",
)  # fmt: skip
CONTROL = re.compile(
    rf"<(?=[|｜])|(?<=[|｜])>|</?(?:{'|'.join(_TAGS)})>|<<(?=/?SYS>>)|\[/?(?:{'|'.join(_BRACKETED)})\]"
    r"|(?<=SYS)>>|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    re.IGNORECASE,
)
"""What opens or closes a control token in the tokenizers in use. Half of one counts too: halves can be joined."""
_LOOK_ALIKES = str.maketrans({"<": "‹", ">": "›", "[": "［", "]": "］", **{chr(c): "�" for c in (*range(32), 127)}})


class PlainChat(NamedTuple):
    messages: list[dict[str, str]]
    neutralised: int
    """How many control strings were replaced."""
    num_bytes: int
    """Bytes of all texts in UTF-8: no tokenizer in use makes more tokens of them."""


def to_plain_chat(chat: Chat) -> PlainChat:
    """The messages as the chat API takes them."""
    messages, replaced, size = [], 0, 0
    for message in chat:
        content, count = _join(message)
        replaced += count
        size += len(content.encode("utf-8", "replace"))
        messages.append({"role": message.role, "content": content})
    return PlainChat(messages, replaced, size)


def arrange(messages: Sequence[dict[str, str]], form: ChatForm) -> list[dict[str, str]]:
    """The messages in the form that a server takes; the system text is folded as for a local judge."""
    if form == "plain" or not messages:
        return list(messages)
    first, *rest = messages
    arranged = fold_system(first["content"], rest) if first["role"] == "system" else list(messages)
    if form == "folded":
        return arranged
    joined: list[dict[str, str]] = []
    for message in arranged:
        if not message["content"].strip():
            continue
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined or arranged


def fold_system(text: str, rest: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The messages after the system's, with its text at the head of the first user turn, before a blank line."""
    at = next((number for number, message in enumerate(rest) if message["role"] == "user"), None)
    if at is None:
        return [{"role": "user", "content": text}, *rest]
    content = f"{text}\n\n{rest[at]['content']}" if text else rest[at]["content"]
    return [*rest[:at], {"role": "user", "content": content}, *rest[at + 1 :]]


def _join(message: SegmentedMessage) -> tuple[str, int]:
    parts: list[str] = []
    replaced, at, segments = 0, 0, message.segments
    while at < len(segments):
        end = at + 1
        # Adjacent untrusted segments are searched as one text, to find a control string that they hold half each.
        while end < len(segments) and segments[end].trusted == segments[at].trusted:
            end += 1
        text = "".join(segment.text for segment in segments[at:end])
        if not segments[at].trusted:
            text, count = neutralise(text)
            replaced += count
        parts.append(text)
        at = end
    return "".join(parts), replaced


def neutralise(text: str) -> tuple[str, int]:
    """The text with its control strings replaced by look-alikes, and how many there were."""
    if not text.isascii():  # lone surrogates have no UTF-8 form
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return CONTROL.subn(lambda match: match.group().translate(_LOOK_ALIKES), text)
