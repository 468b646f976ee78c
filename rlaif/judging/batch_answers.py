"""The answers of one batch on their way into the ledger, and what became of the batch's questions.

Counts what is strange, what failed and what is to be asked again; an answer counts once it is stored. Reads no files.
"""

from __future__ import annotations

from collections import Counter

from rlaif.judging.batch_journal import SentLine
from rlaif.ledger.store import Ledger
from rlaif.models.budget import NOTHING, Spending
from rlaif.models.endpoint.batch_reply import BatchLine
from rlaif.models.endpoint.http import Answer
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, Judgement

GROUP_ROWS = 64


class Collecting:
    """The answers of one batch on their way into the ledger, and what became of its questions."""

    def __init__(self, ledger: Ledger, sent: dict[str, SentLine]) -> None:
        self._ledger, self._sent = ledger, sent
        self._seen: set[str] = set()
        self._group: list[Judgement | FailedJudgement] = []
        self.used = NOTHING
        self.num_replies = self.num_verdicts = self._num_answers = self._num_not_asked = 0
        self.last_reply = self.last_refusal = ""
        self.left_open: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._strange: Counter[str] = Counter()

    def expect(self, line: BatchLine | None) -> SentLine | None:
        """The question that a line answers; None where it answers none of the batch."""
        if line is None:
            self._strange["lines that cannot be read"] += 1
        elif (sent := self._sent.get(line.key)) is None:
            self._strange["answers to questions that were not in it"] += 1
        elif line.key in self._seen:
            self._strange["second answers to a question"] += 1
        elif not line.was_asked:
            self._seen.add(line.key)
            self._num_not_asked += 1
            self.left_open[line.answer.said or "not asked"] += 1
        else:
            self._seen.add(line.key)
            return sent
        return None

    def find_missing(self) -> list[BatchLine]:
        """A failure for each question to which the files of answers hold no line."""
        answer = Answer(0, said="the batch ended without a line for this question")
        return [BatchLine(key, answer, True) for key in self._sent if key not in self._seen]

    def keep(self, answer: Judgement | FailedJudgement, reply: ScoredReply) -> None:
        """Count an answer, and store it with its group."""
        served = reply.served
        tokens = reply.prompt_tokens + reply.reply_tokens + (served.lost_tokens if served else 0)
        self.used = self.used.plus(Spending(0, tokens, (served.cost or 0.0) if served else 0.0))
        if reply.raw_reply:
            self.num_replies += 1
            self.last_reply = reply.raw_reply
            self.num_verdicts += reply.verdict is not None
        if isinstance(answer, Judgement):
            self._num_answers += 1
        else:
            self._failed[answer.cause] += 1
            if answer.cause == "endpoint" and served is not None:
                self.last_refusal = served.detail
        self._group.append(answer)
        if len(self._group) >= GROUP_ROWS:
            self.write()

    def write(self) -> None:
        self._ledger.append(self._group)
        self._group = []

    @property
    def is_refused_whole(self) -> bool:
        """Whether the server answered no question of the batch and refused some."""
        answered = self.num_replies or self._num_answers or self.left_open
        return not answered and self._failed["endpoint"] == self._failed.total() > 0

    def count_asked(self, *, status: str) -> int:
        """How many questions of the batch the server worked on, or may have; none where it refused the whole batch."""
        return (len(self._seen) if status == "failed" else len(self._sent)) - self._num_not_asked

    def describe(self) -> str:
        """What became of the questions, in words."""
        missing = len(self._sent) - len(self._seen)
        left_open = self.left_open + Counter({"without an answer": missing} if missing else {})
        counts = {
            f"{self._failed.total()} failed": self._failed,
            f"{left_open.total()} to be asked again": left_open,
            "and besides": self._strange,
        }
        parts = [f"{self._num_answers} answers"]
        for name, counter in counts.items():
            if counter:
                parts.append(f"{name} ({', '.join(f'{what} {n}' for what, n in counter.most_common(5))})")
        cost = f", spent {self.used.cost:.4f}" if self.used.cost else ""
        return f"{', '.join(parts)}; {self.used.tokens} tokens{cost}"
