"""A server's limits on requests and tokens per minute, shared by all questions, and its requests to wait.

Waits until the next request may be sent; the caller gives the clock. Sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BURST_S = 1.0
"""Unused allowance that may be saved up and then used at once, in seconds."""


class RateLimit:
    """The limits of one server. Requests are served in the order in which they ask."""

    def __init__(
        self, *, requests_per_minute: float | None, tokens_per_minute: float | None, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._lines = {name: _Line(limit / 60) for name, limit in limits.items() if limit is not None}
        self._paused_until = 0.0

    async def take(self, *, tokens: int) -> None:
        """Wait until one request of so many tokens may be sent."""
        now = self._clock()
        amounts = {"requests": 1, "tokens": tokens}
        ready = max((line.take(amounts[name], now=now) for name, line in self._lines.items()), default=now)
        while (wait := max(ready, self._paused_until) - self._clock()) > 0:
            await asyncio.sleep(wait)

    def give_back(self, *, tokens: int) -> None:
        """Give back tokens that a request took and did not use; negative where it used more."""
        if (line := self._lines.get("tokens")) is not None:
            line.give_back(tokens)

    def pause(self, seconds: float) -> bool:
        """Let nothing be sent for so many seconds, because the server said to wait; whether nothing else did so."""
        now = self._clock()
        is_first = self._paused_until <= now
        self._paused_until = max(self._paused_until, now + seconds)
        return is_first


class _Line:
    """A queue in time: each amount occupies it for amount / rate seconds."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._free_at = float("-inf")

    def take(self, amount: float, *, now: float) -> float:
        """Take the next place in the queue; returns the time from which it may be used."""
        ready = max(self._free_at, now - BURST_S)
        self._free_at = ready + amount / self._per_second
        return ready

    def give_back(self, amount: float) -> None:
        self._free_at -= amount / self._per_second
