"""A chat server's log-probabilities of the prompt that it was given -> those of the response in the prompt.

A request that ends with the response as the assistant's message gives the tokens of all of it. The response begins
where the same conversation without it ends, and ends where the template closes every answer. Sends nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.errors import StageError
from rlaif.models.endpoint.guards import BrokenReply, read_number
from rlaif.records import FailureCause
from rlaif.stats.logits import MAX_LOGPROB

CONVERSATION: Mapping[str, Any] = {"prompt_logprobs": 0}
"""Fields of a request that gives the tokens of a conversation and of the generation prompt after it."""
ANSWERED: Mapping[str, Any] = {**CONVERSATION, "add_generation_prompt": False}
"""The same for a conversation that ends with an answer, closed as the template closes it."""
CONTINUED: Mapping[str, Any] = {**ANSWERED, "continue_final_message": True}
"""The same for an answer that is left open."""
NOT_GIVEN = "the reply has no prompt_logprobs"
_REFUSED = re.compile(
    r"log[ _-]?prob|add_generation_prompt|continue_final_message|prefill"
    r"|\b(?:last|final)\b[\s\S]{0,40}\b(?:message|role|turn)",
    re.IGNORECASE,
)  # fmt: skip
_LEAST = -9999.0
"""What vLLM writes for minus infinity."""
_MOST_CONVERSATIONS = 4096


class NotGiven(ValueError):
    """The server answered without log-probabilities of the prompt."""


class Given(NamedTuple):
    """The tokens of a prompt. The first one follows nothing: it has no log-probability, and servers do not name it."""

    ids: list[int]
    logprobs: list[float]
    texts: list[str]


class Ending(NamedTuple):
    """How a server's chat template closes an answer."""

    ids: tuple[int, ...]
    """All tokens after an answer."""
    num_read: int
    """How many of them belong to a whole response: those up to the token that ends it."""


class Response(NamedTuple):
    """The tokens of a response in a prompt."""

    logprobs: list[float]
    failure: FailureCause | None = None
    said: str = ""
    """Why they cannot be used; empty where they can."""


class KnownTexts:
    """What was learnt of a server's template: how it closes answers, and the tokens of the latest conversations."""

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self._conversations: dict[str, list[int]] = {}

    def find(self, conversation: str) -> list[int] | None:
        """The conversation's tokens; None where they are not known."""
        return self._conversations.get(conversation)

    def keep(self, conversation: str, ids: list[int]) -> None:
        """Remember a conversation's tokens, and forget the oldest conversation where there are too many."""
        self._conversations[conversation] = ids
        if len(self._conversations) > _MOST_CONVERSATIONS:
            del self._conversations[next(iter(self._conversations))]


def is_refused(words: str) -> bool:
    """Whether a refusal names what only a request for log-probabilities of a given text holds."""
    return _REFUSED.search(words) is not None


def make_not_given_error(why: str, *, host: str) -> StageError:
    """The error for a server that cannot judge by likelihoods, with its words or what its answer lacks."""
    return StageError(
        f"{host} gave no log-probabilities of the given text ({why})",
        where="judge.model.engine: openai",
        fix="serve the model with vLLM, whose chat API gives prompt_logprobs, or run it here with `engine: "
        "transformers` or `engine: vllm`, or use a template that asks for a verdict, such as pair",
    )


def read_given(body: Any) -> Given:
    """The prompt's tokens in a chat server's answer; raises `NotGiven` where there are none."""
    places = body.get("prompt_logprobs") if isinstance(body, Mapping) else None
    if places is None:
        raise NotGiven(NOT_GIVEN)
    if not isinstance(places, list) or not places or places[0] is not None:
        raise BrokenReply("prompt_logprobs is no list of places that begins with the first token's null")
    given = Given([-1], [0.0], [""])
    for place in places[1:]:
        token, logprob, text = _read_place(place)
        given.ids.append(token)
        given.logprobs.append(-math.inf if logprob <= _LEAST else logprob)
        given.texts.append(text)
    return given


def _read_place(place: Any) -> tuple[int, float, str]:
    entries = list(place.items()) if isinstance(place, Mapping) else []
    if len(entries) == 1 and isinstance(entry := entries[0][1], Mapping):
        token, logprob, text = entries[0][0], read_number(entry.get("logprob")), entry.get("decoded_token")
        if re.fullmatch(r"\d{1,9}", token, re.ASCII) and logprob is not None and isinstance(text, str):
            return int(token), logprob, text
    raise BrokenReply("a place in prompt_logprobs is not one token with its log-probability and text")


def find_ending(continued: Given, answered: Given) -> Ending | None:
    """How the template closes an answer, from the same answer left open and closed; None where they do not fit.

    The token that ends a response is the first one that is not white space, as after `encode_response`.
    """
    num_open = len(continued.ids)
    if answered.ids[:num_open] != continued.ids:
        return None
    texts = answered.texts[num_open:]
    end = next((place for place, text in enumerate(texts) if text.strip()), -1)
    return Ending(tuple(answered.ids[num_open:]), end + 1)


def find_response(
    given: Given, *, conversation: Sequence[int], ending: Ending, response: str, is_whole: bool
) -> Response:
    """The log-probabilities of the response that ends a prompt.

    conversation: tokens of the prompt without it. is_whole: the token that ends it is read too.
    """
    # The last token of a conversation may be one with the response's first characters, such as two line breaks.
    start = len(conversation) if given.ids[: len(conversation)] == list(conversation) else len(conversation) - 1
    end = len(given.ids) - len(ending.ids)
    if given.ids[:start] != list(conversation[:start]) or end < start or given.ids[end:] != list(ending.ids):
        return Response([], "unparsable", "the server's template writes a given answer elsewhere than a new one")
    shown = "".join(given.texts[start:end])
    if _letters(shown) != _letters(response):
        return Response([], "unparsable", f"the server read another text than the response: {shown[:200]!r}")
    logprobs = given.logprobs[start : end + (ending.num_read if is_whole else 0)]
    if not logprobs:
        return Response([], "empty")
    if any(logprob > MAX_LOGPROB for logprob in logprobs):
        return Response([], "impossible_logprobs", "a log-probability of the response is above 0")
    return Response([min(logprob, 0.0) for logprob in logprobs])


def _letters(text: str) -> str:
    """What every server shows of a text token by token: white space and parts of characters get lost."""
    return "".join(character for character in text if "!" <= character <= "~")
