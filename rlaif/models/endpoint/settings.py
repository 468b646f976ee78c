"""The settings of a request to a chat server, and how to leave out those that a server refuses.

A refusal of temperature, log-probabilities, the name of the length limit or the roles of the messages is read from the
server's whole words, whatever the status, and holds for all later requests. Sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rlaif.config.judge import EndpointConfig

TOP_LOGPROBS = (20, 5)
"""Alternatives to ask for per token: the API's maximum first, then what stricter servers allow."""
ROOM_FOR_VERDICT = 16
"""Tokens for the marker and the verdict."""
ChatForm = Literal["plain", "folded", "merged"]
"""How messages are sent. plain: as they are. folded: the system text at the head of the first user turn. merged: also
without empty turns, and with neighbouring turns of one role joined."""
_NO = re.compile(
    r"(?:not|n't|never|cannot) (?:\w+ ){0,3}(?:support|allow|permit|enabl|implement|accept|recogni|valid|availab)"
    r"|unsupported|unrecogni|unknown|unexpected|invalid|extra[ _](?:inputs?|fields?)|forbidden|disabled|deprecated"
    r"|instead|must be|should be|less than|at most|greater|exceed|out of range|too (?:large|high|many)",
    re.IGNORECASE,
)  # fmt: skip
"""Words of a refusal, for statuses that may pass: there a name alone refuses nothing."""
_UNKNOWN_FIELD = re.compile(
    r"unsupported|not (?:\w+ )?(?:support|allow|permit|recogni|accept)|unrecogni|unknown|unexpected"
    r"|extra[ _](?:inputs?|fields?|forbidden)|deprecated|no longer",
    re.IGNORECASE,
)
_LOGPROBS, _TOP_LOGPROBS = (re.compile(p, re.IGNORECASE) for p in (r"log[ _-]?prob", r"top[ _-]?log[ _-]?prob"))
_TEMPERATURE, _MAX_TOKENS = re.compile(r"temperature", re.IGNORECASE), re.compile(r"max_?tokens", re.IGNORECASE)
_RANGE = re.compile(
    r"at most|less than|\ble\b|\blte?\b|max|greater|exceed|between|range|limit|<=|≤|up to|no more|higher|larger|above"
    r"|over|too (?:large|high|many|big)|must be|should be|supported values|valid values|allowed values|below|fewer",
    re.IGNORECASE,
)  # fmt: skip
_TOO_MANY = re.compile(r"too (?:large|high|many|big)|exceed|out of range|greater than|maximum", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?<!\d\d-)(\d{1,3})(?!\w|\.\d)")
"""A number that is not a part of a name, a version or a date."""
_SYSTEM_ROLE = re.compile(
    r"\bsystem\b[\s\S]{0,40}\b(?:role|message|prompt|instruction)s?\b|\brole\b[\s\S]{0,80}\bsystem\b(?! error)"
    r"|\b(?:messages?|prompt|instructions?)\b[\s\S]{0,40}\bsystem\b(?! error)|['\"`]system['\"`]"
    r"|\b(?:system|developer)[_ ](?:instruction|message|prompt|role)",
    re.IGNORECASE,
)
_TURNS = re.compile(
    r"alternat|\broles?\b[\s\S]{0,80}\b(?:user|assistant)\b|\b(?:user|assistant)\b[\s\S]{0,80}\broles?\b"
    r"|first message|consecutive|same role|successive|adjacent|\broles?\b[\s\S]{0,20}not supported"
    r"|(?:unknown|invalid|unsupported|unexpected)[\s\S]{0,20}\broles?\b",
    re.IGNORECASE,
)
_EMPTY_TURN = re.compile(
    r"(?:empty|blank)[\s\S]{0,40}(?:content|message|text|turn)"
    r"|(?:content|message|text|turn)s?\b[\s\S]{0,60}(?:empty|blank)|at least 1 character|too_short",
    re.IGNORECASE,
)


class Settings(NamedTuple):
    """The settings that requests are sent with. Frozen: an answer is read by the settings of its request."""

    temperature: float | None
    top_logprobs: int
    """Alternatives to ask for per token; 0: no log-probabilities are asked for."""
    length_field: str = "max_tokens"
    chat_form: ChatForm = "plain"

    def body(
        self, *, model: str, max_tokens: int, extra: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A request without its messages.

        given: the fields that ask for log-probabilities of the prompt, in place of those of the reply.
        """
        body: dict[str, Any] = {**extra, "model": model, self.length_field: max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if given is not None:
            body |= given
        elif self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body

    def describe_change(self, less: Settings) -> str:
        """What the server refuses, and what `less` sends instead."""
        if less.chat_form != self.chat_form:
            if less.chat_form == "folded":
                return "a system message, so the system text is put at the head of the user's message"
            return "these turns, so neighbouring turns of one role are joined and empty ones left out"
        if less.length_field != self.length_field:
            return f"{self.length_field}, so {less.length_field} is sent"
        if less.temperature != self.temperature:
            return f"temperature {self.temperature:g}, so it is asked without"
        if less.top_logprobs:
            return f"{self.top_logprobs} log-probabilities per token, so it is asked for {less.top_logprobs}"
        return "log-probabilities, so it is asked without"


def first_settings(config: EndpointConfig) -> Settings:
    return Settings(config.temperature, 0 if config.logprobs == "no" else TOP_LOGPROBS[0])


def reply_limit(config: EndpointConfig, max_reason_tokens: int) -> int:
    """The longest reply that a server is allowed to write, in tokens."""
    return config.max_reply_tokens or max_reason_tokens + ROOM_FOR_VERDICT


def with_less(
    settings: Settings, words: str, *, needs_logprobs: bool, may_pass: bool = False, roles: Sequence[str] = ()
) -> Settings | None:
    """Settings without what the server just refused; None where it refused something else.

    words: everything that the server said. may_pass: its status is one after which the same request may succeed, so
    that a name alone refuses nothing. roles: those of the messages that were sent; empty where they are not known.
    """
    if may_pass and _NO.search(words) is None:
        return None
    is_unknown = "max_completion_tokens" in words or _UNKNOWN_FIELD.search(words) is not None
    if settings.length_field == "max_tokens" and _MAX_TOKENS.search(words) and is_unknown:
        return settings._replace(length_field="max_completion_tokens")
    if _LOGPROBS.search(words) and settings.top_logprobs:
        fewer = _fewer_logprobs(settings.top_logprobs, words)
        return None if needs_logprobs and not fewer else settings._replace(top_logprobs=fewer)
    if _TEMPERATURE.search(words) and settings.temperature is not None:
        return settings._replace(temperature=None)
    return _in_other_form(settings, words, roles=roles)


def _fewer_logprobs(sent: int, words: str) -> int:
    """The largest number below `sent` that the words allow; 0 where they allow none."""
    if _RANGE.search(words) is None:
        return 0
    named = [int(number) for number in _NUMBER.findall(words)]
    fewer = max((number for number in named if 0 < number < sent), default=0)
    if not fewer and _TOP_LOGPROBS.search(words) and _TOO_MANY.search(words):
        fewer = next((number for number in TOP_LOGPROBS if number < sent), 0)
    return fewer


def _in_other_form(settings: Settings, words: str, *, roles: Sequence[str]) -> Settings | None:
    """The next form of the messages, where the words name a role, the order of turns or an empty turn."""
    names_turns = _TURNS.search(words) is not None
    has_system = not roles or "system" in roles
    if settings.chat_form == "plain" and has_system and (names_turns or _SYSTEM_ROLE.search(words)):
        return settings._replace(chat_form="folded")
    if settings.chat_form != "merged" and (names_turns or _EMPTY_TURN.search(words)):
        return settings._replace(chat_form="merged")
    return None
