"""A judge and a policy on the workers of a Ray cluster, with the interface of local ones.

Questions and responses have the keys and the randomness that a local engine gives them, so a resumed run may change
from one to the other. This process has a tokenizer to count with and no weights. Writes no ledger: the caller does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rlaif.config.models import FRONTDESK, ModelConfig
from rlaif.errors import StageError
from rlaif.models.budget import Budget, Spending
from rlaif.models.interface import (
    Chat,
    Generation,
    ScoredReply,
    ScoreRequest,
    SendingLog,
    TextGenerator,
    TokenScorer,
)
from rlaif.models.ray.stream import run_batches
from rlaif.models.ray.wire import dump_chats, dump_draws, load_generations, load_replies
from rlaif.models.ray.worker import Job
from rlaif.models.readings import count_read
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.loading import fingerprint, load_tokenizer, read_config
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.records import Model, SamplingParams

if TYPE_CHECKING:
    from rlaif.config.scale import ScaleConfig

AnyModelConfig = TypeVar("AnyModelConfig", bound=ModelConfig)


class Described(NamedTuple):
    """A model's properties that are known without its weights."""

    fingerprint: Model
    context_tokens: int
    """Longest prompt and reply together."""
    count_tokens: Callable[[Chat], int]


def describe_causal_lm(path: str, *, revision: str | None, dtype: str) -> Described:
    """A Hugging Face model by its folder or hub id; its fingerprint is the one that the loaded model has."""
    from rlaif.models.weights.context import NO_LIMIT, context_of_config

    found = find_model_folder(path, revision=revision)
    tokenizer = load_tokenizer(found)
    encoder = PromptEncoder(tokenizer)
    config = read_config(found)
    return Described(
        fingerprint=fingerprint(found, tokenizer=tokenizer, dtype=dtype),
        context_tokens=context_of_config(config) or NO_LIMIT,
        count_tokens=lambda chat: len(encoder.encode(chat)),
    )


def for_worker(config: AnyModelConfig, scale: ScaleConfig) -> AnyModelConfig:
    """A model's options on a worker, which may have another working folder, and a GPU only where it is given one."""
    device = "cpu" if config.device == "auto" and scale.gpus_per_worker == 0 else config.device
    is_folder = config.path != FRONTDESK and Path(config.path).is_dir()
    path = str(Path(config.path).absolute()) if is_folder else config.path
    return config.model_copy(update={"device": device, "path": path})


class _RayEngine:
    def __init__(self, described: Described, *, make_engine: Callable[[], object], scale: ScaleConfig) -> None:
        self.fingerprint = described.fingerprint
        self.context_tokens = described.context_tokens
        self._count_tokens, self._make_engine, self._scale = described.count_tokens, make_engine, scale

    def count_tokens(self, chat: Chat) -> int:
        return self._count_tokens(chat)

    def close(self) -> None:
        """Nothing: the workers end with the stream of questions, the cluster with the run."""

    def _job(self, request: ScoreRequest | SamplingParams, *, batch_tokens: int = 0) -> Job:
        return Job(self._make_engine, request, self.fingerprint, batch_tokens)


class RayScorer(_RayEngine):
    """Implements `StreamingScorer`, and with `score` also `TokenScorer`. Token counts are exact."""

    decoding = "greedy"
    """A local judge decodes the same way, so the questions have the same keys."""
    num_votes = 1

    def __init__(
        self,
        described: Described,
        *,
        make_engine: Callable[[], TokenScorer],
        scale: ScaleConfig,
        budget: Budget,
        batch_tokens: int,
    ) -> None:
        """make_engine: loads the judge on a worker, where it is imported by name. batch_tokens: most in one batch."""
        super().__init__(described, make_engine=make_engine, scale=scale)
        self.budget, self._batch_tokens = budget, batch_tokens

    @property
    def host(self) -> str:
        return f"{self._scale.num_workers} Ray workers"

    def expect_model(self, served_model: str) -> None:
        """Nothing to check: the fingerprint in a question's key holds the weights' digest."""

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        """All replies, in the order of the chats."""
        replies = dict(self.stream(((str(n), chat) for n, chat in enumerate(chats)), request=request))
        return [replies[str(n)] for n in range(len(chats))]

    def stream(
        self, asked: Iterable[tuple[str, Chat]], *, request: ScoreRequest, log: SendingLog | None = None
    ) -> Generator[tuple[str, ScoredReply], None, None]:
        """Each key with its reply, batch by batch as they finish."""
        drawing = _Drawing(
            iter(asked), budget=self.budget, batch_size=self._scale.batch_size, bound=self._bound(request),
            log=log,
        )  # fmt: skip
        batches = run_batches(drawing.draw, job=self._job(request, batch_tokens=self._batch_tokens), scale=self._scale)
        try:
            for batch, answer in batches:
                replies = load_replies(answer.text)
                seconds = answer.seconds / len(replies)
                for (key, bound), reply in zip(batch, replies, strict=True):
                    self.budget.settle(bound, used=Spending(1, reply.prompt_tokens + reply.reply_tokens))
                    yield key, reply._replace(seconds=seconds)
        finally:
            batches.close()
        if drawing.refusal is not None:
            raise drawing.refusal

    def _bound(self, request: ScoreRequest) -> Callable[[Chat], Spending]:
        """The bound of a question's cost; tokens are counted only where a cap needs them."""
        if not self.budget.limits_tokens:
            return lambda chat: Spending(1)
        # The marker is part of the prompt where there is no reason; a token holds at least one character.
        beside = len(request.marker) + request.max_reason_tokens + 1
        return lambda chat: Spending(1, count_read(self.count_tokens, chat) + beside)


class _Drawing:
    """Questions taken into batches, as far as the budget allows."""

    def __init__(
        self,
        asked: Iterator[tuple[str, Chat]],
        *,
        budget: Budget,
        batch_size: int,
        bound: Callable[[Chat], Spending],
        log: SendingLog | None = None,
    ) -> None:
        self._log = log
        self._asked, self._budget, self._batch_size, self._bound = asked, budget, batch_size, bound
        self._held: tuple[str, Chat] | None = None
        """A question that was taken but is too expensive until other requests turn out cheaper than their bounds."""
        self.refusal: StageError | None = None

    def draw(self) -> tuple[list[tuple[str, Spending]], str] | None:
        """The next batch: its keys, with what is set aside for each, and its text. None where there is none now."""
        batch: list[tuple[str, Spending]] = []
        chats: list[Chat] = []
        while len(batch) < self._batch_size and self.refusal is None:
            following = self._held or next(self._asked, None)
            if following is None:
                break
            self._held, (key, chat) = None, following
            bound = self._bound(chat)
            if not self._budget.reserve(bound):
                self._held = following
                if not self._budget.is_waited_for:
                    self.refusal = self._budget.refusal(bound)
                break
            if self._log is not None:
                self._log.write(key, bound)
            batch.append((key, bound))
            chats.append(chat)
        return (batch, dump_chats(chats)) if batch else None


class RayGenerator(_RayEngine):
    """Implements `StreamingGenerator`."""

    def __init__(self, described: Described, *, make_engine: Callable[[], TextGenerator], scale: ScaleConfig) -> None:
        """`make_engine`: loads the policy on a worker, where it is imported by name."""
        super().__init__(described, make_engine=make_engine, scale=scale)

    def generate(
        self, chats: Sequence[Chat], *, params: SamplingParams, keys: Sequence[tuple[int, ...]]
    ) -> list[Generation]:
        [(_, generations, _)] = self.generate_batches([(chats, keys)], params=params)
        return generations

    def generate_batches(
        self, batches: Iterable[tuple[Sequence[Chat], Sequence[tuple[int, ...]]]], *, params: SamplingParams
    ) -> Generator[tuple[int, list[Generation], float], None, None]:
        """Each batch's number, responses and seconds, in the order in which they finish."""
        numbers, waiting = count(), iter(batches)

        def draw() -> tuple[int, str] | None:
            following = next(waiting, None)
            return None if following is None else (next(numbers), dump_draws(*following))

        stream = run_batches(draw, job=self._job(params), scale=self._scale)
        try:
            for number, answer in stream:
                yield number, load_generations(answer.text), answer.seconds
        finally:
            stream.close()
