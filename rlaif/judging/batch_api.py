"""Questions -> answers in the ledger through a server's batch endpoint: submitted, noted in a journal, collected later.

Each call collects the answers that are ready and submits the questions that are open. While batches are with the
server, the call ends with an error that says so. Answers are read, stored and counted like those that come at once.
Combines nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rlaif.console import say
from rlaif.errors import RlaifError, StageError
from rlaif.files.atomic import utc_now
from rlaif.judging.asking import Asking
from rlaif.judging.batch_answers import GROUP_ROWS, Collecting
from rlaif.judging.batch_journal import BatchJournal, SentLine, Submission
from rlaif.judging.open_questions import FIRST_DRAW, OpenQuestion, Rendered, find_open
from rlaif.judging.question_log import QuestionLog, read_streamed
from rlaif.judging.questions import score_request
from rlaif.judging.reuse import Reuse
from rlaif.judging.verdict import read_answer
from rlaif.ledger.store import Ledger
from rlaif.models.budget import NOTHING, Spending
from rlaif.models.endpoint.batch import MAX_FILE_BYTES, MAX_REQUESTS, BatchingScorer, UnknownBatch
from rlaif.models.endpoint.batch_reply import BatchLine, BatchState
from rlaif.models.endpoint.prompt import PlainChat, to_plain_chat
from rlaif.models.endpoint.reading import Stopped
from rlaif.records import Observed, Question

MIN_ANSWERS = 16
"""Where so many answers hold no verdict, the judge or its template is taken to be wrong."""


class BatchApiAsker:
    """Asks the questions that the ledger does not answer yet."""

    def __init__(
        self,
        scorer: BatchingScorer,
        *,
        asking: Asking,
        log_path: Path,
    ) -> None:
        """`log_path`: the log of the questions that were sent; the journal of batches is written beside it."""
        self._scorer, self._request, self._template = scorer, score_request(asking.template), asking.template
        self._server = scorer.batch_server(self._request)
        self._min_label_mass, self._max_attempts = asking.config.min_label_mass, asking.config.max_attempts
        self._ledger, self._log_path = asking.ledger, log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = BatchJournal(log_path.parent)
        self._held: dict[str, Spending] = {}
        self._states: dict[str, BatchState] = {}

    def ask(self, render: Callable[[], Rendered], *, total: int, label: str) -> None:
        """Collect what is ready and submit what is open. Raises while the server has not answered everything."""
        if self._journal.settings is not None:
            self._server.state.settings = self._journal.settings
        under_way = self._hold_open()
        for name in list(self._journal.open):
            under_way -= self._go_on(self._journal.open[name])
        reuse = Reuse(set(read_streamed(self._log_path.parent)))
        passes = [FIRST_DRAW] + [range(1, self._scorer.num_votes)] * (self._scorer.num_votes > 1)
        for draws in passes:
            first = draws == FIRST_DRAW
            refusal = self._submit_open(render(), draws=draws, under_way=under_way, reuse=reuse if first else None)
            if first and label:
                reuse.say(total=total)
            if self._journal.open:
                if refusal is not None:
                    say(f"judge: {refusal.sentence}")
                raise self._waiting()
            if refusal is not None:
                raise refusal
        say(f"judge: {label}: all {total} questions are answered, or failed as often as they may")

    # -- what was submitted before ---------------------------------------------------------------

    def _hold_open(self) -> set[str]:
        """Reserve the highest cost of every batch that is not collected yet; the ids of the questions in them."""
        under_way: set[str] = set()
        for name, submission in self._journal.open.items():
            calls = submission.num_questions if submission.is_counted else 0
            self._held[name] = submission.bound._replace(calls=calls)
            self._scorer.budget.hold(self._held[name])
            under_way |= self._journal.sent(name).keys()
        return under_way

    def _go_on(self, submission: Submission) -> set[str]:
        """Take a batch one step further; the ids of the questions that are no longer with the server."""
        if submission.batch_id is None:
            try:
                self._create(submission, may_exist=True)
            except UnknownBatch:
                self._journal.drop(submission.name)
                raise
        assert submission.batch_id is not None
        state = self._states[submission.name] = self._server.look(submission.batch_id)
        if not state.has_ended:
            say(f"judge: batch {state.id} at {self._server.host}: {state.status}, {state.done} of {state.total} done")
            return set()
        return self._collect(submission, state)

    def _collect(self, submission: Submission, state: BatchState) -> set[str]:
        """Store every answer of an ended batch in the ledger; the ids of the batch's questions."""
        sent = self._journal.sent(submission.name)
        collecting = Collecting(self._ledger, sent)
        error: RlaifError | None = None
        try:
            for file_id in (state.output_file_id, state.error_file_id):
                if file_id is not None:
                    path = self._journal.answers_path(submission.name)
                    self._server.download(file_id, path, num_questions=len(sent))
                    for line in self._server.lines(path):
                        self._take(line, submission=submission, collecting=collecting)
            if state.status == "completed":  # then no line will come: the questions without one have failed
                for missing in collecting.find_missing():
                    self._take(missing, submission=submission, collecting=collecting)
        except Stopped as stop:
            error = stop.error
        collecting.write()
        held = self._held.pop(submission.name)
        num_asked = collecting.count_asked(status=state.status)
        used = collecting.used._replace(calls=num_asked if submission.is_counted else 0)
        self._scorer.budget.settle(held, used=used)
        if self._server.state.settings != (self._journal.settings or submission.settings):
            self._journal.learn(self._server.state.settings)
        say(f"judge: batch {state.id} {state.status}: {collecting.describe()}")
        self._journal.collected(submission.name, status=state.status, num_asked=num_asked)
        error = error or self._server.unpaid
        if error is None and state.status in ("failed", "cancelled"):
            error = StageError(
                f"the judge's server ended batch {state.id} as {state.status} ({state.said or 'it does not say why'})",
                where=self._server.host,
                fix="what it answered is kept; --resume asks the rest again, once the cause is fixed",
            )
        if error is None and collecting.num_replies >= MIN_ANSWERS and not collecting.num_verdicts:
            error = StageError(
                f"none of the judge's {collecting.num_replies} replies holds a verdict after "
                f'"{self._request.marker.strip()}"; the last one: {collecting.last_reply[-200:]!r}',
                where=self._server.host,
                fix="choose a template that this judge follows, see `rlaif constitution show`, or raise "
                "judge.endpoint.max_reply_tokens for a judge that thinks",
            )
        if error is None and collecting.is_refused_whole:
            error = StageError(
                f"the judge's server refused every question of batch {state.id} ({collecting.last_refusal[:300]})",
                where=self._server.host,
                fix="change what it names; --resume asks again while attempts are left (judge.max_attempts)",
            )
        if error is not None:
            raise error
        return set(sent)

    def _take(self, line: BatchLine | None, *, submission: Submission, collecting: Collecting) -> None:
        sent = collecting.expect(line)
        if sent is None or line is None:
            return
        reply = self._server.read(line.answer, plain=sent.plain, settings=submission.settings)
        if reply is None:
            collecting.left_open["refused as it was asked, to be asked otherwise"] += 1
            return
        answer = read_answer(
            reply,
            question_id=sent.question_id,
            template=self._template,
            num_shown=sent.num_shown,
            min_label_mass=self._min_label_mass,
            attempt=sent.attempt,
            observed=Observed(
                at=utc_now(), prompt_tokens=reply.prompt_tokens, reply_tokens=reply.reply_tokens,
                served_model=reply.served_model, served=reply.served,
            ),
        )  # fmt: skip
        collecting.keep(answer, reply)

    # -- what is open ----------------------------------------------------------------------------

    def _submit_open(
        self, rendered: Rendered, *, draws: range, under_way: set[str], reuse: Reuse | None
    ) -> StageError | None:
        """Submit every open question, in as many files as it takes. Returns the error where a cap left some unsent."""
        file = _RequestFile(self._journal, self._ledger)
        opened = find_open(
            rendered, draws=draws, ledger=self._ledger, scorer=self._scorer, max_attempts=self._max_attempts,
            under_way=under_way, log_path=self._log_path, on_known=lambda _: None,
            on_answered=lambda answered: reuse.take(answered) if reuse is not None else None,
        )  # fmt: skip
        for question in opened:
            plain = to_plain_chat(question.chat)
            bound = self._server.bound(plain)
            if not self._scorer.budget.reserve(bound):
                self._submit(file)
                return self._scorer.budget.refusal(bound)
            line = self._server.line(question.question.id, plain)
            if not file.has_room(line):
                self._submit(file)
                file = _RequestFile(self._journal, self._ledger)
            file.add(question, line, plain=plain, bound=bound)
            under_way.add(question.question.id)
        self._submit(file)
        return None

    def _submit(self, file: _RequestFile) -> None:
        """Note the batch, upload its file, note that, create the batch, note that."""
        if not file.sent:
            return
        file.close()
        submission = Submission(file.name, len(file.sent), file.bound, self._server.state.settings, is_counted=True)
        self._journal.prepare(submission, file.sent)
        with QuestionLog(self._log_path) as log:
            for line in file.sent:
                log.write_batched(line.question_id)
        self._journal.uploaded(file.name, self._server.upload(file.path))
        self._create(self._journal.open[file.name], may_exist=False)

    def _create(self, submission: Submission, *, may_exist: bool) -> None:
        assert submission.file_id is not None
        label = f"{self._log_path.parent.parent.parent.name} {submission.name}"[:64]
        state = self._server.create(submission.file_id, label=label, may_exist=may_exist)
        self._journal.submitted(submission.name, state.id)
        self._states[submission.name] = state
        say(f"judge: {submission.num_questions} questions submitted to {self._server.host} as batch {state.id}")

    def _waiting(self) -> StageError:
        count = sum(submission.num_questions for submission in self._journal.open.values())
        states = [state for name, state in self._states.items() if name in self._journal.open]
        until = max((state.expires_at or 0.0 for state in states), default=0.0)
        by = time.strftime(" by %Y-%m-%d %H:%M UTC", time.gmtime(until)) if until else ""
        batches = ", ".join(f"{state.id} {state.status}" for state in states)
        return StageError(
            f"{count} questions are with the judge's server, which is to answer them{by}",
            where=f"{self._server.host}: {batches}",
            fix="collect the answers with --resume, as often as it takes",
        )


class _RequestFile:
    """A file of requests while it is written; the questions in it are stored in the ledger as it grows."""

    def __init__(self, journal: BatchJournal, ledger: Ledger) -> None:
        self._ledger = ledger
        self.name = journal.next_name()
        self.path = journal.requests_path(self.name)
        self.sent: list[SentLine] = []
        self.bound = NOTHING
        self._num_bytes = 0
        self._questions: list[Question] = []
        self._file: BinaryIO | None = None

    def has_room(self, line: bytes) -> bool:
        return len(self.sent) < MAX_REQUESTS and self._num_bytes + len(line) <= MAX_FILE_BYTES

    def add(self, question: OpenQuestion, line: bytes, *, plain: PlainChat, bound: Spending) -> None:
        if self._file is None:
            self._file = self.path.open("wb")
        self._file.write(line)
        self._num_bytes += len(line)
        num_shown = len(question.question.sample_ids)
        self.sent.append(
            SentLine(question.question.id, question.attempt, num_shown, plain.neutralised, plain.num_bytes)
        )
        self.bound = self.bound.plus(bound)
        self._questions.append(question.question)
        if len(self._questions) >= GROUP_ROWS:
            self._keep_questions()

    def close(self) -> None:
        self._keep_questions()
        if self._file is not None:
            self._file.close()

    def _keep_questions(self) -> None:
        self._ledger.append(self._questions)
        self._questions = []
