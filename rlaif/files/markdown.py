"""Text of strangers in Markdown: it can be no markup, no HTML, no link, and no second line."""

from __future__ import annotations

import re

from rlaif.console import show_text


def inline_code(text: str) -> str:
    """Inline code, also in a cell of a table, whatever the text holds."""
    return "`" + show_text(re.sub(r"[`|\s]+", " ", text).strip()).plain + "`"


def plain_text(text: str) -> str:
    """Plain text, also in a cell of a table: one line, and nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", show_text(" ".join(text.split())).plain)
