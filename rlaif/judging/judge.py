"""Samples -> judgements: ask the judge every question once, and combine both orders of a pair.

An answer counts once it is in the ledger; what the ledger holds is not asked again. Batches come
from a plan that is written before the first is asked. Does not decide preferences.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Required, TypedDict

from rlaif.batch_plan import planned_groups
from rlaif.config.generate import JudgeConfig
from rlaif.console import Progress
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.asked import ASKED_NAME
from rlaif.judging.debias import compare
from rlaif.judging.questions import count_questions, make_questions, render_question, render_questions
from rlaif.judging.streaming import StreamAsker
from rlaif.judging.verdict import read_verdict
from rlaif.ledger.answered import find_answered
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget, Spending
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, StreamingScorer, TokenScorer
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    Judgement,
    Observed,
    Prompt,
    Question,
    Sample,
    SegmentedMessage,
    Tally,
    Verdict,
)
from rlaif.runs import utc_now


class Judging(NamedTuple):
    questions: list[Question]
    judgements: list[Judgement]
    failed: list[FailedJudgement]
    """The last failure of each question without an answer."""
    comparisons: list[Comparison]
    tally: Tally
    """Questions asked, answered, and failed by cause."""


def judge_pairs(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    scorer: TokenScorer,
    config: JudgeConfig,
    ledger: Ledger,
    plan_path: Path,
    label: str = "judgements",
    budget: Budget | None = None,
) -> Judging:
    """Judgements of each pair under each principle, in both orders unless the config says one.

    A judge that holds many questions at once is asked in a stream, another one in planned batches. `budget`: what
    the batches may cost; a stream knows its own.
    """
    judge = scorer.fingerprint
    ledger.append([judge, constitution])
    ledger.put_texts([template.source, *(principle.text for principle in constitution.principles)])
    making: _Making = {
        "prompts": prompts, "constitution": constitution, "template": template, "judge_id": judge.id,
        "both_orders": config.both_orders,
    }  # fmt: skip
    if isinstance(scorer, StreamingScorer):
        making["decoding"] = scorer.decoding
        asker_in_stream = StreamAsker(
            scorer, request=score_request(template), verdicts=tuple(template.verdicts),
            min_label_mass=config.min_label_mass, max_attempts=config.max_attempts, ledger=ledger,
            asked_path=plan_path.parent / ASKED_NAME,
        )  # fmt: skip
        asker_in_stream.ask(
            lambda: render_questions(pairs, **making), label=label,
            total=count_questions(len(pairs), constitution=constitution, both_orders=config.both_orders),
        )  # fmt: skip
        questions = make_questions(pairs, **making)
        return collect_judging(
            pairs, questions=questions, both_orders=config.both_orders, ledger=ledger, num_votes=scorer.num_votes
        )
    questions = make_questions(pairs, **making)
    by_id = {question.id: question for question in questions}
    asker = _Asker(pairs, prompts=prompts, constitution=constitution, template=template, scorer=scorer, config=config)
    answered = ledger.judgements_for(list(by_id))
    sizes = asker.sizes([question for question in questions if question.id not in answered])
    groups = group_by_prompt([by_id[key] for key in sizes], sizes)
    batches = planned_groups(plan_path, groups, size=sizes.__getitem__, budget=config.batch_tokens)
    with Progress(label, len(by_id), unit="questions") as progress:
        progress.advance(len(by_id) - sum(len(batch) for batch in batches))
        for batch in batches:
            failed = tokens = 0
            held = ledger.judgements_for(batch)
            attempts = ledger.failed_attempts(batch)
            if any(key not in held and attempts.get(key, 0) < config.max_attempts for key in batch):
                answers = asker.ask([by_id[key] for key in batch], attempts=attempts, budget=budget or Budget())
                tokens = sum(a.observed.prompt_tokens + a.observed.reply_tokens for a in answers)
                failed = sum(isinstance(answer, FailedJudgement) for answer in answers)
                new = [answer for answer in answers if answer.question_id not in held]
                ledger.append([*(by_id[answer.question_id] for answer in new), *new])
            progress.advance(len(batch), failed=failed, tokens=tokens)
    return collect_judging(pairs, questions=questions, both_orders=config.both_orders, ledger=ledger)


class _Making(TypedDict, total=False):
    """What questions are made from."""

    prompts: Required[Mapping[str, Prompt]]
    constitution: Required[Constitution]
    template: Required[JudgeTemplate]
    judge_id: Required[str]
    both_orders: Required[bool]
    decoding: str


class _Asker:
    """Renders questions and reads the engine's replies."""

    def __init__(
        self,
        pairs: Sequence[tuple[Sample, Sample]],
        *,
        prompts: Mapping[str, Prompt],
        constitution: Constitution,
        template: JudgeTemplate,
        scorer: TokenScorer,
        config: JudgeConfig,
    ) -> None:
        self._samples = {sample.id: sample for pair in pairs for sample in pair}
        self._prompts = prompts
        self._principles = {principle.digest: principle.text for principle in constitution.principles}
        self._template, self._scorer, self._config = template, scorer, config
        self._verdicts: tuple[Verdict, ...] = tuple(template.verdicts)
        self._request = score_request(template)

    def sizes(self, questions: Sequence[Question]) -> dict[str, int]:
        """Tokens of each prompt and the longest reply to it, by question id.

        Counted once per pair, in either order, under the longest principle.
        """
        principle = max(self._principles.values(), key=len, default="")
        counted: dict[tuple[str, ...], int] = {}
        sizes = {}
        for question in questions:
            pair = (question.prompt_id, *sorted(question.sample_ids))
            if pair not in counted:
                counted[pair] = self._scorer.count_tokens(self._render(question, principle))
            sizes[question.id] = counted[pair] + self._request.max_reason_tokens + 1
        return sizes

    def _render(self, question: Question, principle: str | None = None) -> tuple[SegmentedMessage, ...]:
        return render_question(
            self._prompts[question.prompt_id],
            (self._samples[question.sample_ids[0]], self._samples[question.sample_ids[1]]),
            self._principles[question.principles[0].text_digest] if principle is None else principle,
            template=self._template,
        )

    def ask(
        self, questions: Sequence[Question], *, attempts: Mapping[str, int], budget: Budget
    ) -> list[Judgement | FailedJudgement]:
        chats = [self._render(question) for question in questions]
        bound = self._bound(chats, budget)
        if not budget.reserve(bound):
            raise budget.refusal(bound)
        started = time.monotonic()
        replies = self._scorer.score(chats, request=self._request)
        seconds = (time.monotonic() - started) / len(questions)
        tokens = sum(reply.prompt_tokens + reply.reply_tokens for reply in replies)
        budget.settle(bound, used=Spending(len(replies), tokens))
        at = utc_now()
        return [
            read_verdict(
                reply,
                question_id=question.id,
                verdicts=self._verdicts,
                min_label_mass=self._config.min_label_mass,
                attempt=attempts.get(question.id, 0) + 1,
                observed=_observed(reply, at=at, seconds=seconds),
            )
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _bound(self, chats: Sequence[Chat], budget: Budget) -> Spending:
        if not budget.limits_tokens:
            return Spending(len(chats))
        longest_reply = self._request.max_reason_tokens + 1
        marker = len(self._request.marker)  # put after the prompt where there is no reason; a token holds a character
        return Spending(
            len(chats), sum(self._scorer.count_tokens(chat) + marker + longest_reply for chat in chats)
        )  # fmt: skip


def group_by_prompt(questions: Sequence[Question], sizes: Mapping[str, int]) -> list[list[str]]:
    """Question ids in the order of asking: one prompt's together, as they share its tokens, the short ones first."""
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.prompt_id].append(question)
    ordered = sorted(groups.values(), key=lambda group: (max(sizes[q.id] for q in group), group[0].prompt_id))
    return [[q.id for q in sorted(group, key=lambda q: (q.sample_ids, q.id))] for group in ordered]


def score_request(template: JudgeTemplate) -> ScoreRequest:
    return ScoreRequest(
        marker=template.verdict_marker,
        choices=template.choices,
        max_reason_tokens=template.reason_max_tokens,
    )


def _observed(reply: ScoredReply, *, at: str, seconds: float) -> Observed:
    return Observed(at=at, latency_s=seconds, prompt_tokens=reply.prompt_tokens, reply_tokens=reply.reply_tokens)


def collect_judging(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    questions: Sequence[Question],
    both_orders: bool,
    ledger: Ledger,
    num_votes: int = 1,
) -> Judging:
    """What the ledger says of the questions: judgements, comparisons, and failures by cause.

    `num_votes`: draws of each question that was answered without log-probabilities.
    """
    votes = _find_votes(questions, ledger=ledger, num_votes=num_votes)
    draws = {question.id: question for further in votes.values() for question in further}
    drawn = ledger.judgements_for(list(draws))
    answers = ledger.judgements_for([question.id for question in questions])
    unanswered = [q.id for q in questions if q.id not in answers] + [key for key in draws if key not in drawn]
    failed = list(ledger.failures_for(unanswered).values())
    tally = Tally(num_in=len(questions) + len(draws), dropped=dict(Counter(failure.cause for failure in failed)))
    comparisons = []
    step = 2 if both_orders else 1
    for at in range(0, len(questions), step):
        group = questions[at : at + step]
        found = [answers.get(question.id) for question in group]
        if found[0] is None or (both_orders and found[1] is None):
            continue
        further = [[drawn[v.id] for v in votes.get(q.id, ()) if v.id in drawn] for q in group]
        comparisons.append(
            compare(
                prompt_id=group[0].prompt_id,
                sample_ids=(group[0].sample_ids[0], group[0].sample_ids[1]),
                principle=group[0].principles[0],
                judge_id=group[0].judge_id,
                listed=found[0],
                swapped=found[1] if both_orders else None,
                further=(further[0], further[1] if both_orders else []),
            )
        )
    judgements = [answers[question.id] for question in questions if question.id in answers]
    return Judging([*questions, *draws.values()], [*judgements, *drawn.values()], failed, comparisons, tally)


def _find_votes(questions: Sequence[Question], *, ledger: Ledger, num_votes: int) -> dict[str, list[Question]]:
    """The further draws of each question whose first was answered without log-probabilities."""
    if num_votes < 2:
        return {}
    answered = find_answered(ledger, [question.id for question in questions])
    return {
        question.id: [question.changed(draw=draw) for draw in range(1, num_votes)]
        for question in questions
        if question.id in answered and not answered[question.id].has_logprobs
    }
