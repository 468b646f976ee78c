"""A chat server's reply -> the verdict in it, its reason, and the log-probabilities at the verdict's place.

verdict_text.py decides what counts as a verdict. A token that the server did not list has no known probability, and
nothing is guessed: a reply that cannot be read gets a named cause. Sends nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.models.endpoint.given_text import Given
from rlaif.models.endpoint.guards import BrokenReply, read_count, read_number
from rlaif.models.endpoint.spelling import choose_spelling
from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.verdict_text import FoundVerdict, find_answer_start, find_verdict
from rlaif.records import FailureCause
from rlaif.stats.logits import ROUNDING, describe_impossible

CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""Servers' names for the end of a reply at a limit."""
_FAILED = frozenset({
    "error", "failed", "failure", "server_error", "internal_error", "engine_error", "abort", "aborted", "timeout",
    "cancelled", "canceled", "insufficient_system_resource", "overloaded", "network_error",
})  # fmt: skip
"""Servers' names for the end of a reply at which the server failed: the question may be asked again."""
_FILTERED = frozenset({"content_filter", "content_filtered", "safety", "prohibited_content", "sensitive", "blocklist"})
HOW_TO_ANSWER = (
    "start the server without its reasoning parser (vLLM: without --reasoning-parser), or turn thinking off in "
    "judge.endpoint.extra_body, such as {chat_template_kwargs: {enable_thinking: false}}"
)
"""What to do where the answer stands in another field than the one that is read."""
_NO_TEXT = frozenset({
    "role", "id", "object", "model", "type", "finish_reason", "name", "system_fingerprint", "service_tier", "status",
    "stop_reason", "native_finish_reason", "created_at", "token", "format", "index", "provider", "warning", "refusal",
})  # fmt: skip
_DEEPEST, _MOST_PARTS = 8, 64
_DECORATION = " \t\n\r*_\"'`([“‘"
_REFUSAL = re.compile(
    r"\s*(?:i['’]?m (?:very )?sorry|i am sorry|sorry,|i can(?:['’]t|not)|i am (?:unable|not able)|i won['’]t|as an ai\b"
    r"|i['’]m (?:unable|not able))",
    re.IGNORECASE,
)


class ReadReply(NamedTuple):
    """A reply as it was written, and what could be read of it."""

    raw_reply: str
    reason: str | None = None
    verdict: int | None = None
    """Place of the choice that was written."""
    logprobs: tuple[float | None, ...] = ()
    """Log-probability of each choice, None where the server did not list it; empty where it listed nothing."""
    failure: FailureCause | None = None
    at_most: float | None = None
    """Upper bound of the log-probability of a choice that the server did not list."""
    said: str = ""
    """What is wrong with the numbers, where something is."""
    given: Given | None = None
    """The prompt's tokens with their log-probabilities, where those were asked for instead of a verdict."""


class Usage(NamedTuple):
    prompt_tokens: int
    reply_tokens: int
    reasoning_tokens: int
    is_estimated: bool = False


def read_choice(body: Any, *, request: ScoreRequest) -> ReadReply:
    """The verdict in the body of a chat API's answer; raises `BrokenReply` for any other body."""
    choice = _first_choice(body)
    message, finish = choice.get("message"), str(choice.get("finish_reason") or "").lower()
    if finish in _FAILED:
        raise BrokenReply(f"the server ended the reply with {finish}")
    if not isinstance(message, Mapping):
        raise BrokenReply(f"the reply has no message{_elsewhere(choice)}")
    content = _text(message.get("content"))
    if finish in _FILTERED:
        return ReadReply(content, failure="filtered")
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        return ReadReply(refusal, failure="refused")
    start, is_cut_off = find_answer_start(content), finish in CUT_OFF
    answer = content[start:]
    found = find_verdict(answer, request=request, is_cut_off=is_cut_off)
    if found is None:
        failure = _why_unreadable(answer, is_cut_off=is_cut_off)
        said = "" if content.strip() else _elsewhere(message).removeprefix("; ")
        return ReadReply(content, failure=failure, said=said)
    reason = answer[: found.marker_at].strip().strip("*_").strip() if request.max_reason_tokens else None
    listed = find_listed(choice.get("logprobs"), answer=answer, found=found, request=request)
    if listed is None:
        return ReadReply(content, reason, found.choice, said=_why_not_listed(choice.get("logprobs")))
    if said := describe_impossible([*listed.by_token.values()]):
        return ReadReply(content, verdict=found.choice, failure="impossible_logprobs", said=said)
    logprobs = _sum_by_choice(listed, verdict=found.choice, request=request)
    return ReadReply(content, reason, found.choice, logprobs, at_most=listed.bound() if None in logprobs else None)


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """The server's token counts; None where it gave none that are numbers."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt, reply = read_count(usage.get("prompt_tokens")), read_count(usage.get("completion_tokens"))
    if prompt is None or reply is None:
        return None
    details = usage.get("completion_tokens_details")
    thought = read_count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else None
    return Usage(prompt, reply, thought or 0)


class Listed(NamedTuple):
    """The alternatives that a server listed for the token of the verdict."""

    by_token: dict[str, float]
    written: str
    """The token that was written; it may be less likely than all others listed."""
    before: str
    """The part of that token before the verdict begins."""

    def bound(self) -> float | None:
        """The largest log-probability that an unlisted token can have: that of the least listed one, or less where the
        listed ones together leave less of 1."""
        known = {token: x for token, x in self.by_token.items() if math.isfinite(x)}
        if not known:
            return None
        left = max(0.0, 1 - math.fsum(math.exp(min(x, 0.0)) for x in known.values())) + ROUNDING
        alternatives = [x for token, x in known.items() if token != self.written]
        return min(math.log(left), *(alternatives or known.values()))


def find_listed(given: Any, *, answer: str, found: FoundVerdict, request: ScoreRequest) -> Listed | None:
    """The alternatives that the server listed at the place of the verdict; None where there are none."""
    entries = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and _is_text(e.get("token")) for e in entries):
        return None
    spelt = choose_spelling(entries, written=answer.strip())
    tokens = [spelt(entry) for entry in entries]
    at = _find_in_tokens("".join(tokens), answer=answer, found=found, request=request)
    if at is None:
        return None
    place = 0
    while at >= len(tokens[place]):
        at -= len(tokens[place])
        place += 1
    listed = entries[place].get("top_logprobs")
    if not isinstance(listed, list) or not listed:
        return None
    by_token: dict[str, float] = {}
    for entry in [*listed, entries[place]]:
        number = read_number(entry.get("logprob")) if isinstance(entry, Mapping) else None
        if number is not None and _is_text(entry.get("token")):
            by_token.setdefault(spelt(entry), number)
    return Listed(by_token, tokens[place], tokens[place][:at])


def _find_in_tokens(joined: str, *, answer: str, found: FoundVerdict, request: ScoreRequest) -> int | None:
    """Place in the joined tokens of the verdict that was found in the answer; None where that is not certain."""
    joined = _without_last_control(joined)
    written = answer.strip()
    if (start := joined.rfind(written)) >= 0:
        return start + found.at - (len(answer) - len(answer.lstrip()))
    # Tokens may split a character or spell spaces differently; the verdict's line must be found all the same.
    start = find_answer_start(joined)
    again = find_verdict(joined[start:], request=request)
    if again is None or again.choice != found.choice:
        return None
    line, marker = answer[found.marker_at : found.at + 1], request.marker.strip()
    is_same = joined.startswith(line, start + again.marker_at) and answer.count(marker) == joined.count(marker, start)
    return start + again.at if is_same else None


def _sum_by_choice(listed: Listed, *, verdict: int, request: ScoreRequest) -> tuple[float | None, ...]:
    """Each choice's log-probability, summed over the tokens that write it: "A" and " A" are tokens of one choice."""
    choices = [choice.strip() for choice in request.choices]
    # The written token is only a part of its choice: then parts are enough to tell the choices apart.
    written = _written(listed.written, listed.before)
    in_parts = written is not None and written != choices[verdict]
    by_choice: list[list[float]] = [[] for _ in choices]
    for token, logprob in listed.by_token.items():
        text = _written(token, listed.before)
        if not text:
            continue
        fitting = [n for n, choice in enumerate(choices) if choice == text or (in_parts and choice.startswith(text))]
        ambiguous = sum(choice.startswith(text) for choice in choices) > 1
        if ambiguous and fitting:
            return ()  # "1" may become "10": the next token decides, so this place knows no probabilities
        for number in fitting:
            by_choice[number].append(logprob)
    if not by_choice[verdict]:
        return ()
    return tuple(_log_sum(values) for values in by_choice)


def _written(token: str, before: str) -> str | None:
    """The part of the verdict that a token writes; None where it does not begin like the written token."""
    if before.strip():
        if not token.startswith(before):
            return None
        token = token[len(before) :]
    return token.lstrip(_DECORATION).rstrip(" \t\n\r*_\"'`)].,”’")


def _log_sum(values: Sequence[float]) -> float | None:
    if not values:
        return None
    if any(math.isnan(x) or x == math.inf for x in values):
        return math.nan
    top = max(values)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(x - top) for x in values))


def _without_last_control(text: str) -> str:
    """Joined tokens without the one that ends a reply: servers list it although the reply does not show it."""
    return re.sub(r"<[|｜/]?[^<>\s]{1,40}>$", "", text)


def _why_not_listed(given: Any) -> str:
    """Why log-probabilities that came are not those of the verdict; empty where none came."""
    entries = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(entries, list) or not entries:
        return ""
    first = entries[0].get("token") if isinstance(entries[0], Mapping) else None
    shown = f", from {first[:40]!r} on" if isinstance(first, str) else ""
    return f"log-probabilities came whose tokens do not fit the reply's text{shown}"


def _why_unreadable(answer: str, *, is_cut_off: bool) -> FailureCause:
    if is_cut_off:
        return "truncated"
    if not answer.strip():
        return "empty"
    return "refused" if _REFUSAL.match(answer) else "unparsable"


def _first_choice(body: Any) -> Mapping[str, Any]:
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise BrokenReply(f"the reply has no choices{_elsewhere(body)}")
    return choices[0]


def _elsewhere(holder: Any) -> str:
    """Where a text stands in place of the one that is read, with its end; empty where there is none."""
    found = [(path, text) for path, text in _find_texts(holder, "") if path.rpartition(".")[2] not in _NO_TEXT]
    if not found:
        return ""
    path, text = max(found, key=lambda one: len(one[1]))
    return f"; a text stands in {path}: {' '.join(text[-200:].split())}"


def _find_texts(value: Any, path: str, *, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text in a part of a reply, with the path of its field."""
    if isinstance(value, str) and value.strip():
        yield path, value
    elif isinstance(value, list) and depth < _DEEPEST:
        for part in value[:_MOST_PARTS]:
            yield from _find_texts(part, path, depth=depth + 1)
    elif isinstance(value, Mapping) and depth < _DEEPEST:
        for name, part in [*value.items()][:_MOST_PARTS]:
            yield from _find_texts(part, f"{path}.{name}" if path else str(name), depth=depth + 1)


def _text(content: Any) -> str:
    """A message's text, which some servers give as a list of parts."""
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
