"""A text -> the same text without a fault: Unicode spelling, mojibake, control characters, markup.

Each fixer returns its text unchanged where it has no such fault. Reads nothing else and drops nothing.
"""

from __future__ import annotations

import html
import re
import unicodedata

from ftfy import fix_encoding

LOST = "\N{REPLACEMENT CHARACTER}"
"""Stands where a character could not be decoded: what it was, nobody knows."""
_LINE_ENDS = re.compile(r"\r\n?|[\u2028\u2029\x85]")
# Bidirectional marks and the joiners stay: Arabic, Hebrew, Persian, Hindi and emoji are written with them.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u180e\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\ufdd0-\ufdef\ufffe\uffff]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]+"  # but for flags, which are spelt in tags
)
_TAGS = (
    "a|abbr|article|aside|b|big|blockquote|body|br|button|center|code|dd|del|div|dl|dt|em|embed|figcaption|figure|font|"
    "footer|form|h1|h2|h3|h4|h5|h6|head|header|hr|html|i|iframe|img|input|ins|label|li|link|main|meta|nav|object|ol|"
    "option|p|param|pre|s|script|section|select|small|source|span|strike|strong|style|sub|sup|svg|table|tbody|td|"
    "textarea|tfoot|th|thead|title|tr|tt|u|ul|video"
)
_TAG = re.compile(
    rf"<!--.*?-->|<!doctype[^<>]*>|<(script|style)\b[^<>]*>.*?</\1\s*>|</?(?P<name>{_TAGS})(?:\s[^<>]*)?/?>",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_CODE = re.compile(r"(```.*?```|``.*?``|`[^`\n]*`)", re.DOTALL)
_BREAKS = frozenset(("br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ul", "ol", "table"))


def fix_unicode(text: str) -> str:
    """The text with its characters composed (NFC)."""
    return unicodedata.normalize("NFC", text)


def fix_mojibake(text: str) -> str:
    """The text decoded again where it was decoded with a wrong encoding."""
    return fix_encoding(text) if not text.isascii() else text


def fix_control(text: str) -> str:
    """The text without control characters and invisible ones, with plain line ends."""
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", text))


def fix_markup(text: str) -> str:
    """The text without HTML tags, its entities replaced; code between backquotes stays."""
    if "<" not in text and "&" not in text:
        return text
    parts = _CODE.split(text)
    return "".join(part if place % 2 else _fix_markup(part) for place, part in enumerate(parts))


def _fix_markup(text: str) -> str:
    return _ENTITY.sub(lambda found: html.unescape(found.group()), _TAG.sub(_replace_tag, text))


def _replace_tag(found: re.Match[str]) -> str:
    name = (found.group("name") or "").lower()
    return "\n" if name in _BREAKS and not found.group().startswith("</") else ""
