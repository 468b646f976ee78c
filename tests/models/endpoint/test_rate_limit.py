"""A shared rate limit, with a clock of its own."""

import asyncio

from rlaif.models.endpoint.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sent_at(limit: RateLimit, clock: Clock, monkeypatch, *, tokens: list[int]) -> list[float]:
    """When each request goes, if all ask at once."""

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async def ask_all() -> list[float]:
        times = []
        for amount in tokens:
            await limit.take(tokens=amount)
            times.append(round(clock.now - 100, 6))
        return times

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return asyncio.run(ask_all())


def test_requests_go_at_their_rate_after_one_second_of_grace(monkeypatch):
    limit = RateLimit(requests_per_minute=120, tokens_per_minute=None, clock=(clock := Clock()))
    assert sent_at(limit, clock, monkeypatch, tokens=[9] * 6) == [0, 0, 0, 0.5, 1.0, 1.5]


def test_tokens_hold_requests_up_and_what_was_not_needed_comes_back(monkeypatch):
    limit = RateLimit(requests_per_minute=None, tokens_per_minute=6000, clock=(clock := Clock()))
    assert sent_at(limit, clock, monkeypatch, tokens=[100, 100, 100, 100]) == [0, 0, 1, 2]
    limit.give_back(tokens=150)
    assert sent_at(limit, clock, monkeypatch, tokens=[100]) == [2]


def test_nobody_sends_while_the_server_says_to_wait(monkeypatch):
    limit = RateLimit(requests_per_minute=None, tokens_per_minute=None, clock=(clock := Clock()))
    limit.pause(7)
    assert sent_at(limit, clock, monkeypatch, tokens=[1, 1]) == [7, 7]
