"""A judge that is a Python function and no model: for tests and examples.

    judge:
      model: {engine: scripted, path: "my_judge:prefer_short"}

    # my_judge.py, in the folder in which rlaif is started
    def prefer_short(question):
        *_, first, second = question.texts
        return (0.9, 0.1) if len(first) < len(second) else (0.1, 0.9)

The function is called once per question and returns the probability of each of `question.choices`, a `ScriptedAnswer`
with a reason too, or the name of a failure such as "refused". A change to the function's module makes another judge.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

from rlaif.config.functions import load_function, place_of
from rlaif.errors import DataError
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.records import FailureCause, Model, ModelObserved, digest_text


class ScriptedQuestion(NamedTuple):
    """What a scripted judge is asked."""

    prompt: str
    """The whole rendered prompt."""
    texts: tuple[str, ...]
    """The untrusted texts in the order of the template: the conversation and the replies as shown."""
    choices: tuple[str, ...]
    """The verdict strings, in the order of the template."""


class ScriptedAnswer(NamedTuple):
    """What a scripted judge may return to give a reason too."""

    probabilities: Sequence[float]
    """Probability of each choice; the rest, up to 1, went to other words."""
    reason: str = ""


Script = Callable[[ScriptedQuestion], "ScriptedAnswer | Sequence[float] | FailureCause"]


def prefer_longer(question: ScriptedQuestion) -> tuple[float, ...]:
    """A judge that prefers the longer reply: a logit for every 20 characters by which the first one is longer."""
    *_, first, second = question.texts
    p = 1 / (1 + math.exp(max(-30.0, min(30.0, (len(second) - len(first)) / 20))))
    return (p, 1 - p, *(0.0 for _ in question.choices[2:]))


class ScriptedEngine:
    """Implements `TokenScorer`; a token is a word."""

    context_tokens = 2**31

    def __init__(self, spec: str) -> None:
        """`spec`: module:function."""
        self._spec = spec
        self._script: Script = load_function(spec, what="scripted judge", where="judge.model.path")
        self.fingerprint = Model(engine="scripted", weights=_digest_source(spec), observed=ModelObserved(name=spec))

    def count_tokens(self, chat: Chat) -> int:
        return sum(len(message.text.split()) for message in chat)

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        return [self._answer(chat, request) for chat in chats]

    def close(self) -> None:
        """Nothing to give back."""

    def _answer(self, chat: Chat, request: ScoreRequest) -> ScoredReply:
        texts = tuple(s.text for message in chat for s in message.segments if not s.trusted)
        prompt = "\n".join(message.text for message in chat)
        answer = self._script(ScriptedQuestion(prompt, texts, request.choices))
        tokens = self.count_tokens(chat)
        if isinstance(answer, str):
            if answer not in get_args(FailureCause):
                raise self._unusable(f'"{answer[:80]}"')
            return ScoredReply("", None, (), prompt_tokens=tokens, reply_tokens=0, failure=answer)
        if not isinstance(answer, ScriptedAnswer):
            answer = ScriptedAnswer(answer)
        given = self._read_probabilities(answer.probabilities)
        if len(given) != len(request.choices) or not all(0 <= p <= 1 for p in given) or not 0 < sum(given) < 1 + 1e-6:
            raise self._unusable(f"{given!r:.80}")
        if not isinstance(answer.reason, str):
            raise self._unusable(f"with the reason {answer.reason!r:.80}")
        written = f"{answer.reason}{request.marker}{request.choices[given.index(max(given))]}"
        return ScoredReply(
            written, answer.reason or None, tuple(math.log(p) if p else -math.inf for p in given), tokens,
            len(written.split()),
        )  # fmt: skip

    def _read_probabilities(self, given: Sequence[float]) -> tuple[float, ...]:
        try:
            return tuple(map(float, given))
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise self._unusable(f"{given!r:.80}") from error

    def _unusable(self, answer: str) -> DataError:
        return DataError(
            f'the scripted judge "{self._spec}" answered {answer}',
            where=", ".join(part for part in ("judge.model.path", place_of(self._script)) if part),
            fix="return a probability for each choice, or the name of a failure",
        )


_KEPT_SOURCES = {
    "rlaif.models.scripted_engine:prefer_longer": "3ca87e6b852a0ed003a4c4fac9e4fad4bf478752c5992893426a0f7b15dd86d5",
}
"""The digests of this module's own judges. They stay when other lines of the module change, so that a later release
continues a run that such a judge began. A change to what a judge answers needs another digest."""


def _digest_source(spec: str) -> str:
    if spec in _KEPT_SOURCES:
        return _KEPT_SOURCES[spec]
    module = sys.modules[spec.partition(":")[0]]
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # the module has no file
        source = ""
    return digest_text(f"{spec}\n{source}")
