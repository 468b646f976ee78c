"""A worker on a Ray cluster: it loads its engine once and answers the batches that are sent to it.

Runs in a separate process, on any node. Writes nothing and returns only answers: what is wrong with its model goes back
as words, so that the driver can end the run with a sentence.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rlaif import __version__
from rlaif.errors import ModelError, RlaifError
from rlaif.files.batch_plan import cut_into_batches
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.models.ray.wire import dump_generations, dump_replies, load_chats, load_draws
from rlaif.models.readings import count_read
from rlaif.records import Model, SamplingParams

if TYPE_CHECKING:
    import pyarrow as pa


class Job(NamedTuple):
    """What all batches of one stream share."""

    make_engine: Callable[[], Any]
    """Loads the worker's TokenScorer or TextGenerator; the worker imports it by name."""
    request: ScoreRequest | SamplingParams
    """The request for each prompt: a verdict, or a response."""
    model: Model
    """The model that the driver expects: another model's answers would be stored under a wrong name."""
    batch_tokens: int
    """Prompt and reply tokens that the engine is given at once; a batch with more is cut."""
    version: str = __version__


class RayWorker:
    """A worker that Ray Data calls with tables of batches, one per row."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._name = f"{socket.gethostname()}, process {os.getpid()}"
        self._failure = ""
        self._where = self._fix = ""
        try:
            self._refuse_other_version()
            self._engine = job.make_engine()
            self._refuse_other_model()
        except RlaifError as error:
            self._fail(error)

    def __call__(self, table: pa.Table) -> dict[str, list[Any]]:
        answered = [self._answer(text) for text in table.column("text").to_pylist()]
        num = len(answered)
        return {
            "number": table.column("number").to_pylist(),
            "answer": [answer for answer, _ in answered],
            "seconds": [seconds for _, seconds in answered],
            "worker": [self._name] * num,
            "failure": [self._failure] * num,
            "where": [self._where] * num,
            "fix": [self._fix] * num,
        }

    def _answer(self, text: str) -> tuple[str, float]:
        started = time.monotonic()
        answer = ""
        if not self._failure:
            try:
                answer = self._ask(text)
            except RlaifError as error:
                self._fail(error)
            except (RuntimeError, ValueError, TypeError, MemoryError, OSError) as error:
                first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._fail(ModelError(first_line[:500], fix="every answer is kept; continue with --resume"))
        return answer, time.monotonic() - started

    def _ask(self, text: str) -> str:
        request = self._job.request
        if isinstance(request, ScoreRequest):
            return dump_replies(self._score(load_chats(text), request))
        chats, keys = load_draws(text)
        return dump_generations(self._engine.generate(chats, params=request, keys=keys))

    def _score(self, chats: Sequence[Chat], request: ScoreRequest) -> list[ScoredReply]:
        sizes = [count_read(self._engine.count_tokens, chat) + request.max_reason_tokens + 1 for chat in chats]
        batches = cut_into_batches([range(len(chats))], size=sizes.__getitem__, budget=self._job.batch_tokens)
        return [r for batch in batches for r in self._engine.score([chats[i] for i in batch], request=request)]

    def _refuse_other_version(self) -> None:
        if self._job.version != __version__:
            raise ModelError(
                f"this node has rlaif {__version__}, the driver {self._job.version}", fix="install the same on all"
            )

    def _refuse_other_model(self) -> None:
        found, expected = self._engine.fingerprint, self._job.model
        if found.id != expected.id:
            kinds = [name for name in Model.model_fields if getattr(found, name) != getattr(expected, name)]
            raise ModelError(
                f"this node has another model than the driver: {', '.join(k for k in kinds if k != 'observed')} differ",
                where=expected.observed.name,
                fix="give all nodes the same folder, or name a hub model with its revision",
            )

    def _fail(self, error: RlaifError) -> None:
        self._failure, self._where, self._fix = error.what, error.where, error.fix
