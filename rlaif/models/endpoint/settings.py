"""What a request to a chat server holds beside its messages, and what the server was found to refuse of it.

A refusal of temperature, log-probabilities or the name of the length limit is learnt from the server's words, once for
all later requests. Sends nothing.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rlaif.config.judge import EndpointConfig

TOP_LOGPROBS = (20, 5)
"""Alternatives listed per token: as many as the API knows, and as few as some servers allow."""
ROOM_FOR_VERDICT = 16
"""Tokens for the marker and the verdict."""


class Settings(NamedTuple):
    """What is sent. Frozen: a request is judged by the settings it was sent with."""

    temperature: float | None
    top_logprobs: int
    """0: none are asked for."""
    length_field: str = "max_tokens"

    def body(self, *, model: str, max_tokens: int, extra: dict[str, Any]) -> dict[str, Any]:
        """A request without its messages."""
        body: dict[str, Any] = {**extra, "model": model, self.length_field: max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body

    def difference(self, less: Settings) -> str:
        """What `less` does not send, in words."""
        if less.length_field != self.length_field:
            return self.length_field
        if less.temperature != self.temperature:
            return f"temperature {self.temperature:g}"
        return f"{self.top_logprobs} log-probabilities per token" if less.top_logprobs else "log-probabilities"


def first_settings(config: EndpointConfig) -> Settings:
    return Settings(config.temperature, 0 if config.logprobs == "no" else TOP_LOGPROBS[0])


def reply_limit(config: EndpointConfig, max_reason_tokens: int) -> int:
    """The longest reply that is asked for, in tokens."""
    return config.max_reply_tokens or max_reason_tokens + ROOM_FOR_VERDICT


def with_less(settings: Settings, said: str, *, needs_logprobs: bool) -> Settings | None:
    """Settings without what the server just refused; None where it refused something else."""
    said = said.lower()
    if settings.length_field in said and "max_completion_tokens" in said and settings.length_field == "max_tokens":
        return settings._replace(length_field="max_completion_tokens")
    if "logprobs" in said and settings.top_logprobs:
        fewer = next((number for number in TOP_LOGPROBS if number < settings.top_logprobs), 0)
        # "must be at most 5": a number says that some are allowed.
        if fewer and "top_logprobs" in said and re.search(r"\d", said.replace("http 400", "").replace("http 422", "")):
            return settings._replace(top_logprobs=fewer)
        return None if needs_logprobs else settings._replace(top_logprobs=0)
    if "temperature" in said and settings.temperature is not None:
        return settings._replace(temperature=None)
    return None
