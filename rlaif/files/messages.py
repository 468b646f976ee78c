"""A cell -> chat messages: text, transcripts, lists of messages, text parts, and JSON text of them.

Messages have `role` and `content`, or ShareGPT's `from` and `value`. A content may be a list of text parts, which are
joined. Whatever holds images, sound or tools is refused by name, and so is a structure that was written out as
Python does: it is never taken for what somebody said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from rlaif.errors import DataError
from rlaif.files.json_rows import parse_json
from rlaif.files.row import describe, read_text
from rlaif.files.transcripts import is_transcript, read_transcript
from rlaif.records import Message
from rlaif.records.prompt import Role

_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user",
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "ai", "model"), "assistant"),
}  # fmt: skip
_NAMED_ROLES = ("system", "user", "assistant")
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value", "parts")
_TEXT_PARTS = ("text", "input_text", "output_text")
_LISTS = ("messages", "conversation", "conversations")
_KEY = r"""['"](?:role|from|content|value|type|text|messages|conversations?)['"]\s*:"""
_STRUCTURE = re.compile(rf"\s*(?:(?:array|tuple|list)\s*\(\s*)?[\[(]?\s*\{{\s*{_KEY}", re.DOTALL)
_OTHER_STRUCTURE = re.compile(r"\s*\[?\s*\w*Message\w*\(\s*(?:role|content)\s*=")
_ENDS = ("]", "}", ")")


def read_messages(value: Any, *, where: str, column: str) -> tuple[Message, ...]:
    """Plain text, a transcript or a list of chat messages -> messages; none where there is no value."""
    value = unwrap(value, where=where, column=column)
    if value is None:
        return ()
    if isinstance(value, str):
        return read_transcript(value) if is_transcript(value) else (Message(role="user", content=value),)
    if not isinstance(value, list):
        raise DataError(
            f'"{column}" holds {describe(value)}',
            where=where,
            fix="give plain text or a list of chat messages",
        )
    if is_parts(value):
        text = _join_parts(value, f'"{column}"', where=where)
        return (Message(role="user", content=text),)
    return tuple(_read_message(turn, number, where=where, column=column) for number, turn in enumerate(value, start=1))


def read_prompt_messages(value: Any, *, where: str, column: str) -> tuple[Message, ...]:
    """A conversation up to the assistant's turn; none where its last turn is empty or missing.

    A transcript that ends with a reply is a prompt with an answer to it; the reply is left off.
    """
    messages = read_messages(value, where=where, column=column)
    if is_transcript(value) and messages[-1].role == "assistant":
        messages = messages[:-1]
    if not messages:
        return ()
    if messages[-1].role != "user":
        raise DataError(
            f'"{column}" ends with the {messages[-1].role}\'s turn',
            where=where,
            fix="end it with the user's turn, and give a response in a column of its own",
        )
    return messages if messages[-1].content.strip() else ()


def read_response(value: Any, *, where: str, column: str) -> str | None:
    """Plain text, text parts, or TRL's conversational completion (a list with the assistant's one message)."""
    value = unwrap(value, where=where, column=column)
    if not isinstance(value, list):
        return None if value is None else read_text(value, where=where, column=column)
    if is_parts(value):
        return _join_parts(value, f'"{column}"', where=where)
    messages = read_messages(value, where=where, column=column)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise DataError(
            f'"{column}" is not one message of the assistant', where=where, fix="give the one response alone"
        )
    return messages[0].content


class Sides(NamedTuple):
    """Two responses to one prompt."""

    prompt: tuple[Message, ...]
    responses: tuple[str, str]


def read_sides(cells: Mapping[str, Any], columns: tuple[str, str], *, prompt: object, where: str) -> Sides | None:
    """Two whole conversations -> their common start as the prompt, and the rest of each; None where they are none.

    Each must end with the assistant's turn, and all turns before it must be the same in both. prompt: the column that
    is mapped as the prompt: one of the two, or one whose conversation the common start ends with.
    """
    found = [unwrap(cells.get(name), where=where, column=name) for name in columns]
    # subtle: beside a prompt a text is a response, also one that a model began with "Human:".
    if not all(isinstance(cell, list) or prompt in columns for cell in found) or not all(map(is_conversation, found)):
        return None
    sides = [read_messages(cell, where=where, column=name) for cell, name in zip(found, columns, strict=True)]
    for side, name in zip(sides, columns, strict=True):
        if side[-1].role != "assistant":
            raise DataError(
                f'"{name}" ends with the {side[-1].role}\'s turn', where=where, fix="end it with the assistant's turn"
            )
    if sides[0][:-1] != sides[1][:-1]:
        raise DataError(
            f'"{columns[0]}" and "{columns[1]}" differ before their last answers',
            where=where,
            fix="give two answers to one conversation",
        )
    given = () if prompt in columns else read_messages(cells.get(str(prompt)), where=where, column=str(prompt))
    if given and sides[0][:-1][-len(given) :] != given:
        raise DataError(
            f'"{columns[0]}" begins with another conversation than the prompt',
            where=where,
            fix="give both responses to one prompt",
        )
    return Sides(sides[0][:-1], (sides[0][-1].content, sides[1][-1].content))


def is_conversation(value: Any) -> bool:
    """Whether a cell holds turns of both speakers, as messages or as a transcript."""
    if isinstance(value, list):
        return len(value) > 1 and not is_parts(value)
    return is_transcript(value)


def unwrap(value: Any, *, where: str, column: str) -> Any:
    """The value as text or as a list: arrays and their objects become lists of messages, JSON text what it holds."""
    value = as_plain(value)
    if isinstance(value, str) and _is_structure(value):
        try:
            value = parse_json(value.encode(), where=where)
        except (DataError, UnicodeError) as error:
            raise DataError(
                f'"{column}" holds a list or an object written out as text: {describe(value)}',
                where=where,
                fix="give messages as a list, or as JSON text as json.dumps writes it",
            ) from error
    if not isinstance(value, dict):
        return value
    inner = next((value[name] for name in _LISTS if name in value), None)
    if inner is not None:
        return unwrap(inner, where=where, column=column)
    role, content = _find(value, _ROLE_KEYS), _find(value, _CONTENT_KEYS)
    if role and content and isinstance(value[role], list) and isinstance(value[content], list):
        if len(value[role]) != len(value[content]):
            raise DataError(
                f'"{column}" holds {len(value[role])} roles and {len(value[content])} contents',
                where=where,
                fix="give each message its role and content",
            )
        return [{"role": one, "content": said} for one, said in zip(value[role], value[content], strict=True)]
    return [value] if (role and content) or _is_part(value) else value


def as_plain(value: Any) -> Any:
    """The value with lists for tuples and for the arrays that pandas and numpy make of them."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, dict):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(inner) for inner in value]
    return as_plain(value.tolist()) if hasattr(value, "tolist") else value


def is_parts(value: list[Any]) -> bool:
    """Whether a list holds the parts of one content and no messages."""
    return bool(value) and all(_is_part(one) for one in value)


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and not _find(value, _ROLE_KEYS) and "type" in value


def _is_structure(text: str) -> bool:
    """Whether a text is, as a whole, a list or object of messages or parts that somebody wrote out."""
    is_like = _STRUCTURE.match(text) or _OTHER_STRUCTURE.match(text)
    return is_like is not None and (text.rstrip().endswith(_ENDS) or _is_cut_off(text))


def _is_cut_off(text: str) -> bool:
    """Whether JSON or Python text ends before its list does, as in a cell that was cut."""
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError as error:
        return "Extra data" not in str(error) and text.lstrip().startswith("[")
    return True


def _find(value: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in value), None)


def _read_message(turn: Any, number: int, *, where: str, column: str) -> Message:
    def refuse(what: str, fix: str) -> NoReturn:
        raise DataError(f'message {number} of "{column}" {what}', where=where, fix=fix)

    keys = (_find(turn, _ROLE_KEYS), _find(turn, _CONTENT_KEYS)) if isinstance(turn, dict) else (None, None)
    if keys[0] is None or keys[1] is None:
        refuse("has no role and content", 'write messages as {"role": "user", "content": "..."}')
    name, content = turn[keys[0]], turn[keys[1]]
    role = _ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        refuse(f"has the role {describe(name)}", f"use one of {', '.join(_NAMED_ROLES)}")
    if role == "system" and number > 1:
        refuse("is a system turn in mid-conversation", "put the system turn first")
    if any(turn.get(key) for key in ("tool_calls", "function_call")):
        refuse("calls a tool", "leave out conversations that use tools")
    if isinstance(content, list):
        content = _join_parts(content, f'message {number} of "{column}"', where=where)
    elif isinstance(content, dict) and _is_part(content):
        content = _join_parts([content], f'message {number} of "{column}"', where=where)
    if not isinstance(content, str):
        refuse(f"has {describe(content)} as its content", "give its text")
    # subtle: what a model wrote may look like anything, and a run reads its own responses back.
    if role != "assistant" and _is_structure(content):
        refuse(f"has a list or an object written out as its content: {describe(content)}", "give its text")
    return Message(role=role, content=content)


def _join_parts(parts: list[Any], what: str, *, where: str) -> str:
    """The text of a content that is given in parts, as chat templates join them."""
    if not parts:
        raise DataError(f"{what} has an empty list as its content", where=where, fix="give its text")
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(text, str) or kind not in (None, *_TEXT_PARTS):
            named = f"a part of type {describe(kind)}" if kind is not None else f"{describe(part)} as a part"
            raise DataError(
                f"{what} has {named}, and only text can be read",
                where=where,
                fix="leave out rows with images, sound or tools",
            )
        texts.append(text)
    return "".join(texts)
