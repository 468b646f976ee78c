"""Questions -> answers in the ledger, through a judge that is asked in planned batches.

The plan is written before the first batch is asked, and an unfinished batch is asked again as a whole. Combines
nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlaif.console import Progress
from rlaif.files.atomic import utc_now
from rlaif.files.batch_plan import find_strangers, planned_groups, refuse_other_plan
from rlaif.judging.asking import Asking
from rlaif.judging.questions import render_question, score_request
from rlaif.judging.reuse import Reuse
from rlaif.judging.verdict import read_answer
from rlaif.ledger.answers import Answered
from rlaif.models.budget import Spending
from rlaif.models.interface import Chat, ScoredReply, TokenScorer
from rlaif.models.readings import count_read
from rlaif.records import (
    FailedJudgement,
    Judgement,
    Observed,
    Principle,
    Prompt,
    Question,
    Sample,
    SegmentedMessage,
)


class BatchAsker:
    """Renders questions batch by batch, asks them, and stores what the judge replied."""

    def __init__(
        self,
        pairs: Sequence[tuple[Sample, Sample]],
        *,
        prompts: Mapping[str, Prompt],
        asking: Asking,
        scorer: TokenScorer,
    ) -> None:
        self._samples = {sample.id: sample for pair in pairs for sample in pair}
        self._prompts = prompts
        self._principles = {principle.digest: principle for principle in asking.constitution.principles}
        self._template, self._scorer, self._config = asking.template, scorer, asking.config
        self._ledger, self._budget = asking.ledger, asking.budget
        self._request = score_request(asking.template)

    def ask_all(self, questions: Sequence[Question], *, plan_path: Path, label: str) -> None:
        """Ask what the ledger does not hold yet, batch by batch as the plan says."""
        ledger = self._ledger
        by_id = {question.id: question for question in questions}
        answered = ledger.judgements_for(list(by_id))
        sizes = self._sizes([question for question in questions if question.id not in answered])
        groups = group_by_prompt([by_id[key] for key in sizes], sizes)
        batches = planned_groups(plan_path, groups, size=sizes.__getitem__, budget=self._config.batch_tokens)
        if strangers := find_strangers(batches, by_id):
            refuse_other_plan(plan_path, num=len(strangers), changed=self._find_changed(strangers, by_id))
        if label:
            reuse = Reuse({key for batch in batches for key in batch})
            reuse.take({key: Answered("", False) for key in answered})
            reuse.say(total=len(by_id), judge=self._scorer.fingerprint.observed.name)
        with Progress(label, len(by_id), unit="questions") as progress:
            progress.count_known(len(by_id) - sum(len(batch) for batch in batches))
            for batch in batches:
                held = ledger.judgements_for(batch)
                attempts = ledger.failed_attempts(batch)
                if all(key in held or attempts.get(key, 0) >= self._config.max_attempts for key in batch):
                    progress.count_known(len(batch))
                else:
                    answers = self._ask([by_id[key] for key in batch], attempts=attempts)
                    tokens = sum(a.observed.prompt_tokens + a.observed.reply_tokens for a in answers)
                    failed = sum(isinstance(answer, FailedJudgement) for answer in answers)
                    new = [answer for answer in answers if answer.question_id not in held]
                    ledger.append([*(by_id[answer.question_id] for answer in new), *new])
                    progress.advance(len(batch), failed=failed, tokens=tokens)

    def _find_changed(self, strangers: Sequence[str], by_id: Mapping[str, Question]) -> str:
        """Why the plan holds other questions than are asked now, found by comparing one of each."""
        asked, now = next(iter(self._ledger.find(Question, strangers).values()), None), next(iter(by_id.values()), None)
        if asked is None or now is None:
            return "the judge, its template, the principles, or the responses changed"
        if asked.judge_id != now.judge_id:
            return f"the judge's fingerprint changed from {asked.judge_id[:12]} to {now.judge_id[:12]}"
        if asked.template_digest != now.template_digest:
            return "the judge's template changed"
        if any(principle.text_digest not in self._principles for principle in asked.principles):
            return "the principles changed"
        return "the prompts or the responses changed"

    def _sizes(self, questions: Sequence[Question]) -> dict[str, int]:
        """Tokens of each prompt with the longest reply to it, by question id.

        Counted once for each set of responses, in any order, under the longest principle.
        """
        principle = max(self._principles.values(), key=lambda one: len(one.text) + len(one.opposite))
        counted: dict[tuple[str, ...], int] = {}
        sizes = {}
        for question in questions:
            shown = (question.prompt_id, *sorted(question.sample_ids))
            if shown not in counted:
                counted[shown] = count_read(self._scorer.count_tokens, self._render(question, principle))
            sizes[question.id] = counted[shown] + self._request.max_reason_tokens + 1
        return sizes

    def _render(self, question: Question, principle: Principle | None = None) -> tuple[SegmentedMessage, ...]:
        return render_question(
            self._prompts[question.prompt_id],
            [self._samples[sample_id] for sample_id in question.sample_ids],
            self._principles[question.principles[0].text_digest] if principle is None else principle,
            template=self._template,
        )

    def _ask(self, questions: Sequence[Question], *, attempts: Mapping[str, int]) -> list[Judgement | FailedJudgement]:
        chats, budget = [self._render(question) for question in questions], self._budget
        bound = self._bound(chats)
        if not budget.reserve(bound):
            raise budget.refusal(bound)
        started = time.monotonic()
        replies = self._scorer.score(chats, request=self._request)
        seconds = (time.monotonic() - started) / len(questions)
        tokens = sum(reply.prompt_tokens + reply.reply_tokens for reply in replies)
        budget.settle(bound, used=Spending(len(replies), tokens))
        at = utc_now()
        return [
            read_answer(
                reply,
                question_id=question.id,
                template=self._template,
                num_shown=len(question.sample_ids),
                min_label_mass=self._config.min_label_mass,
                attempt=attempts.get(question.id, 0) + 1,
                observed=_observed(reply, at=at, seconds=seconds),
            )
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _bound(self, chats: Sequence[Chat]) -> Spending:
        if not self._budget.limits_tokens:
            return Spending(len(chats))
        longest_reply = self._request.max_reason_tokens + 1
        marker = len(
            self._request.marker
        )  # written after the prompt where no reason is asked for; a character is at most a token
        return Spending(
            len(chats), sum(count_read(self._scorer.count_tokens, chat) + marker + longest_reply for chat in chats)
        )  # fmt: skip


def group_by_prompt(questions: Sequence[Question], sizes: Mapping[str, int]) -> list[list[str]]:
    """Question ids in the order of asking: those of a prompt together, as they share tokens, short prompts first."""
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.prompt_id].append(question)
    ordered = sorted(groups.values(), key=lambda group: (max(sizes[q.id] for q in group), group[0].prompt_id))
    return [[q.id for q in sorted(group, key=lambda q: (q.sample_ids, q.id))] for group in ordered]


def _observed(reply: ScoredReply, *, at: str, seconds: float) -> Observed:
    return Observed(at=at, latency_s=seconds, prompt_tokens=reply.prompt_tokens, reply_tokens=reply.reply_tokens)
