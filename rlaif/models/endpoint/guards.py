"""The bounds on what a server may do to us: sizes, waits, ids and numbers, the same for every server.

The judge's server, its batch endpoint, reward servers and vLLM servers are all read through these. Sends nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any
from urllib.parse import quote

from rlaif.console import say

MAX_BODY_BYTES = 16 << 20
"""The largest reply where nothing better is known of its size."""
BYTES_PER_REPLY, BYTES_PER_REPLY_TOKEN = 256 << 10, 8 << 10
"""The most bytes of one reply: so many, and so many more for each token asked, with its listed alternatives."""
TEXT_PER_REPLY, TEXT_PER_REPLY_TOKEN = 4 << 10, 64
"""The most characters of a reply's text that are kept."""
BYTES_PER_GIVEN_TOKEN = 512
"""The most bytes of one place of a prompt whose log-probabilities are given."""
MAX_COUNT = 10**9
"""No reply counts more tokens than this."""
MAX_ID_CHARS = 512
MAX_WHEN = 4e9
"""A time in seconds since 1970 that is in the future for long."""
SHOWN_WAIT_S = 5.0
"""Longer waits are said."""
SAID_EVERY_S = 10.0
"""Seconds between two lines that say that a server is asked again."""


class BrokenReply(ValueError):
    """The server's body is not what was asked for; the question is worth asking again."""


def most_reply_bytes(reply_tokens: int, *, given_tokens: int = 0) -> int:
    """The most bytes of a chat server's reply of so many tokens.

    given_tokens: tokens of the prompt whose log-probabilities are in the reply.
    """
    return BYTES_PER_REPLY + BYTES_PER_REPLY_TOKEN * reply_tokens + BYTES_PER_GIVEN_TOKEN * given_tokens


def most_reply_chars(reply_tokens: int) -> int:
    """The most characters of a reply's text of so many tokens; a longer one ignores what was asked."""
    return TEXT_PER_REPLY + TEXT_PER_REPLY_TOKEN * reply_tokens


def format_bytes(count: int) -> str:
    return f"{count / (1 << 20):.3g} MiB" if count >= 1 << 20 else f"{count / (1 << 10):.3g} KiB"


def format_wait(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1e5 else f"{seconds / 86400:.3g} days"


class RetryLine:
    """Says that a server is asked again: at once, and then at most every 10 seconds for all questions together."""

    def __init__(self) -> None:
        self._said = -math.inf

    def say(self, who: str, *, why: str, wait: float) -> None:
        """why: the server's words, or the fault of the connection."""
        now = time.monotonic()
        if now - self._said >= SAID_EVERY_S:
            self._said = now
            say(f"{who} did not answer ({why[:120] or 'no words'}): trying again in {wait:.1f} s")


async def pause(
    own_s: float, *, told_s: float | None, longest_s: float, who: str, retry: RetryLine | None = None, why: str = ""
) -> bool:
    """Wait as the server said, else for `own_s`; False, without waiting, where it wants more than `longest_s`.

    retry: says that there is a wait, because of `why`.
    """
    wait = own_s if told_s is None else told_s
    if not wait <= longest_s:
        return False
    if told_s is not None and wait >= SHOWN_WAIT_S:
        say(f"{who} asks to wait {format_wait(wait)}")
    elif retry is not None:
        retry.say(who, why=why, wait=wait)
    await asyncio.sleep(wait)
    return True


def find_id_fault(given: Any) -> str:
    """Why a server's id cannot be used in an address of it; empty where it can."""
    if not isinstance(given, str) or not given:
        return "is none"
    if len(given) > MAX_ID_CHARS:
        return f"has {len(given)} characters"
    if not all(character.isprintable() and not character.isspace() for character in given):
        return "holds spaces or control characters"
    try:
        given.encode()
    except UnicodeEncodeError:
        return "is no text"
    return "leads to another address" if {".", "..", ""} & set(given.replace("\\", "/").split("/")) else ""


def quote_id(given: str) -> str:
    """A server's id as one part of an address."""
    return quote(given, safe="")


def read_count(value: Any) -> int | None:
    """A number of tokens or requests; None where it is no number, negative, or larger than any reply has."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def read_number(value: Any) -> float | None:
    """A JSON number as a float, not a number where no float is so large; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.nan


def read_time(value: Any) -> float | None:
    """Seconds since 1970; None for what is no time that a calendar holds."""
    number = read_number(value)
    return number if number is not None and 0 <= number <= MAX_WHEN else None
