"""What the stages ask of a model, whichever engine runs it.

Prompts come in as segmented messages, so an engine that takes token ids never lets text from a
model or a dataset become a control token. Holds no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rlaif.records import FailureCause, FinishReason, Model, SamplingParams, SegmentedMessage

Chat = Sequence[SegmentedMessage]
"""A conversation up to the assistant's turn."""


class Generation(NamedTuple):
    """One sampled response. `text` is without special tokens."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int


class ScoreRequest(NamedTuple):
    """How a verdict is elicited: the model writes until `marker`, then the choices are read from its logits."""

    marker: str
    """Text after which the verdict stands; with no reason it is put there for the model."""
    choices: tuple[str, ...]
    """Verdict strings, one token each after the marker."""
    max_reason_tokens: int
    """0: verdict alone, in one forward pass."""


class ScoredReply(NamedTuple):
    """A judge's reply: its words and its log-probabilities of the choices, or why there are none."""

    raw_reply: str
    reason: str | None
    logprobs: tuple[float, ...]
    """Log-probability of each choice, unnormalised over the choices; empty on failure."""
    prompt_tokens: int
    reply_tokens: int
    failure: FailureCause | None = None


class TextGenerator(Protocol):
    @property
    def fingerprint(self) -> Model: ...

    def count_tokens(self, chat: Chat) -> int: ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt and reply together."""

    def generate(
        self, chats: Sequence[Chat], *, params: SamplingParams, keys: Sequence[tuple[int, ...]]
    ) -> list[Generation]:
        """One response per chat; `keys` fix each row's randomness, whatever the batch."""
        ...


class TokenScorer(Protocol):
    @property
    def fingerprint(self) -> Model: ...

    def count_tokens(self, chat: Chat) -> int: ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt and reply together."""

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        """The choices' log-probabilities after the model's own reason; a failure per row, never a number."""
        ...
