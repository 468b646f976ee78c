"""The interfaces of engines: what a stage may ask of a model, whichever engine runs it.

Prompts are segmented messages, so an engine that takes token ids never lets text from a model or a data set become a
control token. Holds no engine.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from rlaif.models.budget import Budget, Spending
from rlaif.records import FailureCause, FinishReason, Model, SamplingParams, SegmentedMessage, Served

Chat = Sequence[SegmentedMessage]
"""A conversation up to the assistant's turn."""


class Generation(NamedTuple):
    """One sampled response. `text` is without special tokens."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int


class ScoreRequest(NamedTuple):
    """How a verdict is elicited: the model writes until `marker`, then the choices are read from its logits.

    With `reads` "likelihood" it writes nothing: see `rlaif.models.readings`.
    """

    marker: str
    """Text that comes right before the verdict. Where no reason is asked for, it is put after the prompt."""
    choices: tuple[str, ...]
    """Verdict strings, one token each after the marker."""
    max_reason_tokens: int
    """Longest reason in tokens. 0: the verdict alone, in one forward pass."""
    reads: Literal["verdict", "likelihood"] = "verdict"
    """likelihood: how likely each response in the chat is to its model, instead of a verdict."""


LIKELIHOODS = ScoreRequest("", (), 0, reads="likelihood")
"""The request for log-likelihoods of responses that are given."""


class ScoredReply(NamedTuple):
    """A judge's reply: the words that it wrote and its log-probabilities of the choices, or why there are none."""

    raw_reply: str
    reason: str | None
    logprobs: tuple[float, ...]
    """Log-probability of each choice, unnormalised over the choices; empty on failure and where the engine has none."""
    prompt_tokens: int
    reply_tokens: int
    failure: FailureCause | None = None
    verdict: int | None = None
    """Place of the choice that was written, for a judge without log-probabilities."""
    unknown: frozenset[int] = frozenset()
    """Places of the choices whose log-probability the engine does not know; it is given as -inf."""
    seconds: float | None = None
    """How long the judge took for this reply; None: its batch was timed as a whole."""
    served_model: str = ""
    served: Served | None = None
    """None for a local engine."""
    at_most: float | None = None
    """Upper bound of the log-probabilities that are not known; None where there is no bound either."""
    likelihoods: tuple[float, ...] = ()
    """Log-likelihood of each response in the chat, summed over its tokens; empty for a verdict."""
    response_tokens: int = 0
    """Number of tokens of the response that `likelihoods` are of."""


class TextGenerator(Protocol):
    """What samples responses: an engine with a policy."""

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

    def close(self) -> None:
        """Give back the memory that the engine holds outside this process. Asked again, it starts again."""


@runtime_checkable
class StreamingGenerator(TextGenerator, Protocol):
    """A generator that has several batches under way at once."""

    def generate_batches(
        self, batches: Iterable[tuple[Sequence[Chat], Sequence[tuple[int, ...]]]], *, params: SamplingParams
    ) -> Generator[tuple[int, list[Generation], float], None, None]:
        """Each batch's number, counted from 0, its responses and the seconds they took, in the order they finish.

        `batches` gives chats with their keys; batches are taken from it no faster than they are answered.
        """
        ...


class TokenScorer(Protocol):
    """What gives verdicts with their log-probabilities: an engine with a judge."""

    @property
    def fingerprint(self) -> Model: ...

    def count_tokens(self, chat: Chat) -> int: ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt and reply together."""

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        """One reply per chat, with the choices' log-probabilities after the model's own reason.

        A chat without a verdict has a named failure, never a number.
        """
        ...

    def close(self) -> None:
        """Give back the memory that the engine holds outside this process. Asked again, it starts again."""


class SendingLog(Protocol):
    """Where requests are noted down before they are sent, so that all are counted even if the run is killed."""

    def write(self, key: str, bound: Spending) -> None:
        """Note down that a request for this question is about to be sent; it costs `bound` at most."""

    def take_back(self, key: str) -> None:
        """Remove the last request noted down for this question: it reached no server."""


@runtime_checkable
class StreamingScorer(TokenScorer, Protocol):
    """A scorer that holds many questions at once and answers each when it is ready, such as a server.

    Token counts may be estimates, as the tokenizer is the server's.
    """

    @property
    def decoding(self) -> str:
        """How replies are drawn. It is part of the question's key, as other settings would give other answers."""

    @property
    def host(self) -> str:
        """The server's name, for people."""

    @property
    def num_votes(self) -> int:
        """How many replies are drawn per question where the server gives no log-probabilities."""

    @property
    def budget(self) -> Budget:
        """What the scorer has cost so far, and its caps."""

    def expect_model(self, served_model: str) -> None:
        """Raise if another model than this one has answered, or answers later: its answers are in use already."""

    def stream(
        self, asked: Iterable[tuple[str, Chat]], *, request: ScoreRequest, log: SendingLog | None = None
    ) -> Generator[tuple[str, ScoredReply], None, None]:
        """Each key with its reply, in the order in which they finish.

        Questions are taken from `asked` no faster than they are answered, so memory does not grow with their number.
        Where nothing more can be asked, the error is raised after the replies that were under way. Closing the
        generator drops those. `log`: where each request is noted down before it is sent.
        """
        ...


class DrawnTokens(NamedTuple):
    """A response that was sampled outside this process."""

    ids: list[int]
    """New tokens, with the stop token where one was drawn."""
    logprobs: list[float]
    """Log-probability of each token under the distribution that it was drawn from."""


class PolicyCopy(Protocol):
    """A copy of the policy in training that samples outside this process, from token ids to token ids."""

    version: str
    """The name of the weights that it has."""

    @property
    def is_shared(self) -> bool:
        """Whether all processes that train use this one copy; otherwise each has a copy."""

    def load_weights(self, folder: Path, *, version: str) -> None:
        """Take the weights in a model's folder, which may be deleted afterwards."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seeds: Sequence[int],
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
    ) -> list[DrawnTokens]:
        """One response to each prompt, drawn from the tempered distribution of the latest weights."""
        ...

    def close(self) -> None:
        """Give back what the copy holds."""
