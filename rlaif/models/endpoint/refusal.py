"""A server's refusal in any shape -> its words, and what they say: which setting, no money left, too long, filtered.

The words are every text of a JSON body at any depth, or a plain text or page of HTML. Decisions are made from the
whole words; masking and shortening belong to what is shown. The status alone decides nothing. Sends nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

_SAYING = ("message", "msg", "detail", "details", "error_description", "description", "reason", "title")
"""Fields that hold a sentence; they are shown first."""
_SAYS_AN_ERROR = ("detail", "details", "message", "msg", "base_resp")
"""Fields that hold an error where a reply has neither choices nor a field `error`."""
_MOST_TEXTS, _DEEPEST, _SHORTEST_ECHO = 4096, 24, 24
_TAG = re.compile(
    r"<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|</?[a-zA-Z!][^<>]*>", re.DOTALL | re.IGNORECASE
)
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_SURELY_UNPAID = re.compile(r"insufficient[ _-]?(?:quota|balance|funds|credits?)|余额不足|欠费", re.IGNORECASE)
_UNPAID = re.compile(
    r"(?:exceeded|used up|exhausted) (?:\w+ ){0,3}quota|quota (?:\w+ ){0,3}(?:exceeded|exhausted|used up|reached)"
    r"|quota[_-]?exceeded|exceeded[_-]quota|out of (?:credits?|quota|funds)|payment[ _-]required|unpaid|overdue"
    r"|(?:no|not enough|too few|negative) (?:\w+ )?(?:credits?|balance|funds|money)|in arrears"
    r"|(?:credit|account) balance|billing[_ -](?:hard[_ -])?(?:limit|not[_ -]active|details|issue|error|disabled)"
    r"|recharge your|please recharge|top[ -]up your|(?:spend(?:ing)?|budget|monthly|credit) (?:limit|cap)"
    r"|billing (?:\w+ ){0,4}(?:inactive|disabled|enabled?)|enable billing"
    r"|budget (?:has been )?exceeded|exceeded (?:\w+ )?budget|(?:add|buy|purchase) (?:\w+ )?(?:credits?|funds)",
    re.IGNORECASE,
)  # fmt: skip
_PASSES = re.compile(
    r"per[ _-]?(?:second|minute|hour)|\b[rt]pm\b|(?:retry|again) (?:in|after) |retry-?delay|rate[ _-]limit"
    r"|too many requests|slow down|overloaded|at capacity",
    re.IGNORECASE,
)
"""Words of a limit that passes; such words may name quota and billing too."""
_TOO_LONG = re.compile(
    r"context[_ -]?(?:length|window|size)|maximum context|too many (?:input |prompt )?tokens|string_above_max_length"
    r"|(?:prompt|input|text|messages?|conversation|sequence|content|string|tokens) (?:(?:is|are|was) )?(?:\w+ )?"
    r"too (?:long|large)|exceeds? (?:\w+ ){0,3}(?:token|context|input|length)",
    re.IGNORECASE,
)  # fmt: skip
_FILTERED = re.compile(
    r"content[_ -]?filter|content[_ -]management|responsible ?ai|prohibited[_ ]content|data_inspection_failed"
    r"|inappropriate content",
    re.IGNORECASE,
)
_PERHAPS_TOO_LONG = re.compile(r"too long", re.IGNORECASE)
_PERHAPS_FILTERED = re.compile(r"safety|moderat(?:ion|ed)|content[_ -]policy", re.IGNORECASE)
"""Words that also name a service that is down: they count only where the status says that the question was refused."""


def find_words(body: Any) -> str:
    """Everything that a body says, with the names of its fields: for decisions only, never shown or stored."""
    return "\n".join(f"{name}: {text}" if name else text for name, text in _walk(body))


def without_echo(words: str, contents: Iterable[str]) -> str:
    """The words without the question, which servers may repeat: only what the server says itself counts."""
    for content in contents:
        for echo in (content, _plain_text(content)):
            if len(echo) >= _SHORTEST_ECHO:
                words = words.replace(echo, "")
    return words


def show_words(body: Any) -> str:
    """What a body says, for a person: each text once, sentences first; its numbers where it holds no text."""
    found = list(_walk(body))
    texts = [(name, text) for name, text in found if not _is_number(text)] or found
    texts.sort(key=lambda one: one[0].lower() not in _SAYING)  # stable: otherwise in the server's order
    return " ".join(" ".join(dict.fromkeys(text for _, text in texts)).split())


def is_unpaid(words: str, *, status: int = 0) -> bool:
    """Whether the account has no money or quota left, which no waiting changes."""
    if status == 402 or _SURELY_UNPAID.search(words) is not None:
        return True
    return _UNPAID.search(words) is not None and _PASSES.search(words) is None


def is_too_long(words: str, *, may_pass: bool) -> bool:
    """may_pass: the status is one after which the same request may succeed."""
    return _TOO_LONG.search(words) is not None or (not may_pass and _PERHAPS_TOO_LONG.search(words) is not None)


def is_filtered(words: str, *, may_pass: bool) -> bool:
    """Whether a filter of the server refused the text of the question. may_pass: as above."""
    return _FILTERED.search(words) is not None or (not may_pass and _PERHAPS_FILTERED.search(words) is not None)


def find_inner_status(error: Any) -> int | None:
    """The HTTP status that an error inside a reply names; None where it names none."""
    if not isinstance(error, Mapping):
        return None
    for name in ("code", "status", "status_code", "statusCode", "http_code"):
        if re.fullmatch(r"[45]\d\d", str(error.get(name)), re.ASCII):
            return int(error[name])
    return None


def find_error(body: Any) -> Any:
    """The error inside a body of status 200, which may hold a reply beside it; None where there is none."""
    if not isinstance(body, Mapping):
        return body if any(text and not _is_number(text) for _, text in _walk(body)) else None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None
    for holder in (body, first or {}):
        for name in ("error", "errors"):
            if (given := holder.get(name)) and show_words(given):
                return given
    said = [given for name in _SAYS_AN_ERROR if (given := body.get(name)) and not _is_echo(name, given)]
    return body if first is None and any(map(show_words, said)) else None


def _walk(body: Any) -> Iterator[tuple[str, str]]:
    """Every text and number of a body with the name of its field, in order; a bounded number of them."""
    waiting: list[tuple[str, Any, int]] = [("", body, 0)]
    left = _MOST_TEXTS
    while waiting and left:
        name, value, depth = waiting.pop()
        left -= 1
        if isinstance(value, bool) or value is None:
            if depth and name:
                yield name, ""
        elif isinstance(value, int | float):
            yield name, str(value) if abs(value) < 1e15 else ""
        elif isinstance(value, str):
            inner = _parse(value) if depth < _DEEPEST else None
            if inner is None:
                yield name, _plain_text(value)
            else:
                waiting.append((name, inner, depth + 1))
        elif depth >= _DEEPEST:
            continue
        elif isinstance(value, Mapping):
            parts = [(str(key), part, depth + 1) for key, part in value.items() if not _is_echo(str(key), part)]
            waiting += reversed(parts)
        elif isinstance(value, Sequence):
            waiting += [(name, part, depth + 1) for part in reversed(value)]


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _is_echo(name: str, value: Any) -> bool:
    """Whether a field repeats the request: a setting that only stands there was not refused."""
    if name.lower() == "input":
        return True
    return isinstance(value, Mapping) and ("messages" in value or {"role", "content"} <= value.keys())


def _parse(text: str) -> Any:
    """The JSON in a text, which gateways put into a field of their own; None where the text is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found = from_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _plain_text(text: str) -> str:
    """A text without HTML's tags and with its characters unescaped."""
    if "<" in text and ">" in text:
        text = _TAG.sub(" ", text)
    if "\\u" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return (html.unescape(text) if "&" in text else text).strip()
