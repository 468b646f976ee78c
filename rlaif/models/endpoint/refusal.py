"""A server's refusal in any shape -> its words, and what they say: which setting, no money left, too long, filtered.

The words are every text of a JSON body at any depth, or a plain text or page of HTML. Decisions are made from the
whole words; masking and shortening belong to what is shown. The status alone decides nothing. Sends nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

_SAYING = ("message", "msg", "detail", "details", "error_description", "description", "reason", "title")
"""Fields that hold a sentence; they are shown first."""
_MOST_TEXTS, _DEEPEST = 4096, 24
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
    r"|recharge|top[ -]up your|(?:spend(?:ing)?|budget|monthly|credit) (?:limit|cap)"
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
    r"context[_ -]?(?:length|window|size)|maximum context|too long|too many (?:input |prompt )?tokens"
    r"|(?:prompt|input) (?:is |are )?(?:\w+ )?too large|string_above_max_length"
    r"|exceeds? (?:\w+ ){0,3}(?:token|context|input|length)",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[_ -]?filter|content[_ -](?:management|policy)|safety|moderat(?:ion|ed)|responsible ?ai"
    r"|prohibited[_ ]content|data_inspection_failed|inappropriate content",
    re.IGNORECASE,
)


def find_words(body: Any) -> str:
    """Everything that a body says, with the names of its fields: for decisions only, never shown or stored."""
    return "\n".join(f"{name}: {text}" if name else text for name, text in _walk(body))


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


def is_too_long(words: str) -> bool:
    return _TOO_LONG.search(words) is not None


def is_filtered(words: str) -> bool:
    """Whether a filter of the server refused the text of the question."""
    return _FILTERED.search(words) is not None


def find_error(body: Any) -> Any:
    """The error inside a body of status 200, which may hold a reply beside it; None where there is none."""
    if not isinstance(body, Mapping):
        return body if any(text and not _is_number(text) for _, text in _walk(body)) else None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None
    names = ("error", "errors") if first is not None else ("error", "errors", "detail", "message", "msg", "base_resp")
    for holder in (body, first or {}):
        for name in names:
            if (given := holder.get(name)) and show_words(given):
                return given
    return None


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
