"""The settings of a request to a chat server, and how to leave out those that a server refuses.

A refusal of temperature, log-probabilities or the name of the length limit is read from the server's words and holds
for all later requests. Sends nothing.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rlaif.config.judge import EndpointConfig

TOP_LOGPROBS = (20, 5)
"""Alternatives to ask for per token: the API's maximum first, then what stricter servers allow."""
ROOM_FOR_VERDICT = 16
"""Tokens for the marker and the verdict."""


class Settings(NamedTuple):
    """The settings that requests are sent with. Frozen: an answer is read by the settings of its request."""

    temperature: float | None
    top_logprobs: int
    """Alternatives to ask for per token; 0: no log-probabilities are asked for."""
    length_field: str = "max_tokens"

    def body(self, *, model: str, max_tokens: int, extra: dict[str, Any]) -> dict[str, Any]:
        """A request without its messages."""
        body: dict[str, Any] = {**extra, "model": model, self.length_field: max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body

    def describe_difference(self, less: Settings) -> str:
        """The settings that `less` leaves out, in words."""
        if less.length_field != self.length_field:
            return self.length_field
        if less.temperature != self.temperature:
            return f"temperature {self.temperature:g}"
        return f"{self.top_logprobs} log-probabilities per token" if less.top_logprobs else "log-probabilities"


def first_settings(config: EndpointConfig) -> Settings:
    return Settings(config.temperature, 0 if config.logprobs == "no" else TOP_LOGPROBS[0])


def reply_limit(config: EndpointConfig, max_reason_tokens: int) -> int:
    """The longest reply that a server is allowed to write, in tokens."""
    return config.max_reply_tokens or max_reason_tokens + ROOM_FOR_VERDICT


def with_less(settings: Settings, said: str, *, needs_logprobs: bool) -> Settings | None:
    """Settings without what the server just refused; None where it refused something else."""
    said = said.lower()
    if settings.length_field in said and "max_completion_tokens" in said and settings.length_field == "max_tokens":
        return settings._replace(length_field="max_completion_tokens")
    if "logprobs" in said and settings.top_logprobs:
        fewer = next((number for number in TOP_LOGPROBS if number < settings.top_logprobs), 0)
        # "must be at most 5": where the server names a number, fewer alternatives are allowed.
        if fewer and "top_logprobs" in said and re.search(r"\d", said.replace("http 400", "").replace("http 422", "")):
            return settings._replace(top_logprobs=fewer)
        return None if needs_logprobs else settings._replace(top_logprobs=0)
    if "temperature" in said and settings.temperature is not None:
        return settings._replace(temperature=None)
    return None
