"""Questions -> answers in the ledger, through a judge that holds many questions at once.

A question is rendered when it is asked and forgotten when it is answered, so memory does not grow with their number.
An answer counts once its group is committed. Combines nothing and decides nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from rlaif.console import Progress, say
from rlaif.files.atomic import utc_now
from rlaif.judging.asking import Asking
from rlaif.judging.batch_api import BatchApiAsker
from rlaif.judging.batch_journal import BatchJournal
from rlaif.judging.open_questions import FIRST_DRAW, Rendered, find_open
from rlaif.judging.question_log import QuestionLog, read_streamed
from rlaif.judging.questions import score_request
from rlaif.judging.reuse import Reuse
from rlaif.judging.verdict import read_answer
from rlaif.ledger.store import Outcome
from rlaif.ledger.writer import GroupWriter
from rlaif.models.budget import Spending
from rlaif.models.endpoint.batch import BatchingScorer
from rlaif.models.interface import ScoredReply, StreamingScorer
from rlaif.records import FailedJudgement, Judgement, Observed, Question, SegmentedMessage

MAX_UNACKNOWLEDGED = 64
"""The most answers that wait for their commit: a kill loses these and the questions under way."""


class _UnderWay(NamedTuple):
    question: Question
    attempt: int


class StreamAsker:
    """Asks the questions that the ledger does not answer yet."""

    def __init__(
        self,
        scorer: StreamingScorer,
        *,
        asking: Asking,
        log_path: Path,
    ) -> None:
        """`log_path`: the log of the questions that were sent, by which their cost is counted."""
        self._asking = asking
        self._scorer, self._request, self._template = scorer, score_request(asking.template), asking.template
        self._min_label_mass, self._max_attempts = asking.config.min_label_mass, asking.config.max_attempts
        self._ledger, self._log_path = asking.ledger, log_path
        self._under_way: dict[str, _UnderWay] = {}
        self._kinds: Counter[str] = Counter()
        self._misfit = ""
        """Why log-probabilities that came were not those of a verdict; empty where none came."""
        self._reuse = Reuse(())
        self.unsent_because = ""
        """Why the last question that reached no server did not. It used no attempt and has no row in the ledger."""

    def ask(self, render: Callable[[], Rendered], *, total: int, label: str) -> None:
        """Ask the `total` questions that `render` gives; it is called again for each pass over them.

        Without a `label` nothing is printed. A stage that submitted batches continues with them, whatever its
        configuration says by now.
        """
        scorer = self._scorer
        if isinstance(scorer, BatchingScorer) and (scorer.uses_batches or BatchJournal.exists(self._log_path.parent)):
            in_batches = BatchApiAsker(scorer, asking=self._asking, log_path=self._log_path)
            in_batches.ask(render, total=total, label=label)
            return
        before, self._reuse = self._scorer.budget.spent, Reuse(set(read_streamed(self._log_path.parent)))
        try:
            self._pass(render(), total=total, label=label, draws=FIRST_DRAW)
        finally:
            if label:
                self._reuse.say(total=total)
        if self._scorer.num_votes > 1:
            draws = range(1, self._scorer.num_votes)
            self._pass(render(), total=total * len(draws), label=label and f"{label}, votes", draws=draws)
        if label:
            self._say_spending(self._scorer.budget.spent.minus(before))

    def _pass(self, rendered: Rendered, *, total: int, label: str, draws: range) -> None:
        """Ask the first draw of each question, or the further ones of those without log-probabilities."""
        with (
            Progress(label, total, unit="questions") as progress,
            QuestionLog(self._log_path) as log,
            GroupWriter(self._ledger) as writer,
        ):
            counting = _Counting(progress, self._scorer)
            asked = self._draw(rendered, draws=draws, counting=counting)
            stream = self._scorer.stream(asked, request=self._request, log=log)
            try:
                for key, reply in stream:
                    if _was_never_sent(reply):
                        self.unsent_because = reply.served.detail if reply.served is not None else ""
                        self._forget(key)
                        continue
                    under_way = self._under_way[key]
                    answer = self._read(reply, under_way)
                    writer.submit(under_way.question)
                    counting.wait_for(answer, writer.submit(answer))
                    while counting.num_waiting >= MAX_UNACKNOWLEDGED:
                        self._forget(counting.take())
                    while counting.is_ready:
                        self._forget(counting.take())
            finally:
                stream.close()
                while counting.num_waiting:
                    self._forget(counting.take())

    def _draw(
        self, rendered: Rendered, *, draws: range, counting: _Counting
    ) -> Iterator[tuple[str, tuple[SegmentedMessage, ...]]]:
        """The questions to be asked, whenever the judge can take another."""
        opened = find_open(
            rendered, draws=draws, ledger=self._ledger, scorer=self._scorer, max_attempts=self._max_attempts,
            under_way=self._under_way, log_path=self._log_path, on_known=counting.count_known,
            on_answered=self._reuse.take if draws == FIRST_DRAW else (lambda answered: None),
        )  # fmt: skip
        for question, chat, attempt in opened:
            self._under_way[question.id] = _UnderWay(question, attempt)
            yield question.id, chat

    def _read(self, reply: ScoredReply, under_way: _UnderWay) -> Judgement | FailedJudgement:
        if reply.served is not None:
            self._kinds[reply.served.had] += 1
            if reply.served.had == "verdict":
                self._misfit = self._misfit or reply.served.detail
        return read_answer(
            reply,
            question_id=under_way.question.id,
            template=self._template,
            num_shown=len(under_way.question.sample_ids),
            min_label_mass=self._min_label_mass,
            attempt=under_way.attempt,
            observed=Observed(
                at=utc_now(), latency_s=reply.seconds or 0.0, prompt_tokens=reply.prompt_tokens,
                reply_tokens=reply.reply_tokens, served_model=reply.served_model, served=reply.served,
            ),
        )  # fmt: skip

    def _forget(self, question_id: str) -> None:
        self._under_way.pop(question_id, None)

    def _say_spending(self, spent: Spending) -> None:
        if not spent.calls:
            return
        cost = f", spent {spent.cost:.4f}" if spent.cost else ""
        say(f"judge: {spent.calls} requests to {self._scorer.host}, {spent.tokens} tokens{cost}")
        if self._kinds["verdict"]:
            alone = f"{self._kinds['verdict']} of {self._kinds.total()} answers"
            say(f"judge: {alone} are verdicts without log-probabilities{f': {self._misfit}' if self._misfit else ''}")


def _was_never_sent(reply: ScoredReply) -> bool:
    return reply.failure == "endpoint" and reply.served is not None and reply.served.calls == 0


class _Counting:
    """Answers on their way to the disk, counted in the progress once they are there."""

    def __init__(self, progress: Progress, scorer: StreamingScorer) -> None:
        self._progress, self._scorer = progress, scorer
        self._waiting: deque[tuple[Judgement | FailedJudgement, Future[Outcome]]] = deque()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_ready(self) -> bool:
        return bool(self._waiting) and self._waiting[0][1].done()

    def wait_for(self, answer: Judgement | FailedJudgement, future: Future[Outcome]) -> None:
        self._waiting.append((answer, future))

    def take(self) -> str:
        """Wait until the oldest answer is on the disk, count it, and return the id of its question."""
        answer, future = self._waiting.popleft()
        future.result()
        observed, cost = answer.observed, self._scorer.budget.spent.cost
        self._progress.advance(
            tokens=observed.prompt_tokens + observed.reply_tokens,
            causes=(answer.cause,) if isinstance(answer, FailedJudgement) else (),
            note=f"spent {cost:.4f}" if cost else "",
        )
        return answer.question_id

    def count_known(self, count: int) -> None:
        if count:
            self._progress.count_known(count)
