"""The judges that judged a run, to be asked again: each by its own engine, opened when it must be.

A judge behind a server is asked in a stream. Another model in a judge's place is refused. Asks nothing by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlaif.errors import ModelError
from rlaif.judging.bench import Bench
from rlaif.judging.panel import RunJudge
from rlaif.judging.questions import GREEDY
from rlaif.models.endpoint.batch import BatchingScorer
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, StreamingScorer, TokenScorer
from rlaif.models.open import ENGINES
from rlaif.records import Model


class DiffJudge(NamedTuple):
    """One of the judges that judged the run."""

    model: Model
    run_judge: RunJudge


def draws_answers(judge: RunJudge) -> bool:
    """Whether a judge may answer the same question otherwise: behind a server, and not asked at temperature 0."""
    return ENGINES[judge.config.model.engine].is_served and judge.config.endpoint.temperature != 0


def is_served(judge: DiffJudge) -> bool:
    return ENGINES[judge.run_judge.config.model.engine].is_served


def find_decoding(bench: Bench, judge: DiffJudge) -> str:
    """Part of a question: how the judge draws its replies."""
    scorer = bench.open_again(judge.run_judge) if is_served(judge) else None
    return scorer.decoding if isinstance(scorer, StreamingScorer) else GREEDY


def find_scorer(bench: Bench, judge: DiffJudge) -> TokenScorer:
    """A judge that judged the run: one behind a server is asked in a stream, a local one loaded when it must be."""
    local = _RunsJudge(bench, judge)
    if not is_served(judge):
        return local
    served = local.open()
    return served.live() if isinstance(served, BatchingScorer) else served  # somebody waits for the answers


class _RunsJudge:
    """A judge that judged the run, opened when it is first asked. Another model in its place is refused."""

    def __init__(self, bench: Bench, judge: DiffJudge) -> None:
        self._bench, self._judge = bench, judge
        self._opened: TokenScorer | None = None

    @property
    def fingerprint(self) -> Model:
        return self._judge.model

    @property
    def context_tokens(self) -> int:
        return self.open().context_tokens

    def count_tokens(self, chat: Chat) -> int:
        return self.open().count_tokens(chat)

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        return self.open().score(chats, request=request)

    def close(self) -> None:
        """End what the engine runs outside this process."""
        if self._opened is not None:
            self._opened.close()

    def open(self) -> TokenScorer:
        """The engine. Raises `ModelError` where it is no longer the model that judged the run."""
        if self._opened is None:
            scorer = self._bench.open_again(self._judge.run_judge)
            if scorer.fingerprint.id != self._judge.model.id:
                raise ModelError(
                    "the judge is no longer the model that judged this run",
                    where=self._judge.run_judge.name,
                    fix="put it back, or start a new run with the judge that is there now",
                )
            self._opened = scorer
        return self._opened
