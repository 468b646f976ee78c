"""Stored questions -> the same judge, or another one, asked again, and how its answers compare with the stored ones.

Each exact prompt is proven by its digest before it is sent. Nothing is stored: the ledger's answer stays the one
acknowledged answer, and a replayed one never satisfies a question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rlaif.audit.replay_draw import Draw, ReplayItem
from rlaif.config.judge import JudgeConfig
from rlaif.judge_health.sentinels import changed_fields, draws_answer, logit_of, named_outcome
from rlaif.judging.ask_now import OnBatch, ask_now
from rlaif.ledger.store import Ledger
from rlaif.models.budget import make_budget
from rlaif.models.endpoint.settings import reply_limit
from rlaif.models.interface import StreamingScorer, TokenScorer
from rlaif.models.open import open_judge
from rlaif.models.readings import count_read, count_sent
from rlaif.records import Estimate, FailedJudgement, FailureCause, Judgement, Question, Value
from rlaif.stats.intervals import mean_interval, share_interval

FindJudge = Callable[[Judgement, Question], JudgeConfig]
"""Gives how the judge of a stored answer is asked."""


class ReplayCost(Value):
    """What the questions to one judge cost at most."""

    judge: str
    num_questions: int
    prompt_tokens: int
    is_estimated: bool
    """Whether the tokens are guessed from the length of the texts, as only the judge's server can count them."""
    reply_tokens_at_most: int
    cost_at_most: float | None
    """At the configured prices, without retries; None where there are none."""


class Answer(Value):
    """One answer to a question, or why there is none."""

    outcome: str
    """The verdict; of a score or a ranking the likeliest choice; empty where the answer failed."""
    logprobs: dict[str, float]
    """Log-probabilities of the verdicts or choices, as far as they are known."""
    logit: float | None
    reason: str | None
    raw_reply: str
    failure: FailureCause | None = None


class Replayed(Value):
    """A question with its stored answer and that of now."""

    question_id: str
    judgement_id: str
    prompt_id: str
    principle_ids: tuple[str, ...]
    then: Answer
    now: Answer
    is_same: bool | None
    """Whether both have the same outcome; None where the answer of now failed."""
    same_reason: bool | None
    move: float | None
    """How far the logit moved; None without log-probabilities."""


class Replay(Value):
    """What asking again came to."""

    judges: tuple[str, ...]
    costs: tuple[ReplayCost, ...]
    is_exact: bool
    fingerprint_changed: tuple[str, ...]
    """Fields of the judge's fingerprint that differ from those of the judge that answered; all of another judge's."""
    num_drawn: int
    """Questions whose stored answer was drawn by chance, so that an unchanged judge may answer otherwise."""
    replayed: tuple[Replayed, ...]
    left_out: dict[str, int]
    failed: dict[str, int]
    same: Estimate | None
    """Share of the questions with an answer of now whose outcome is the same, clustered by prompt."""
    mean_move: Estimate | None


def ask_again(
    draw: Draw,
    *,
    ledger: Ledger,
    find_judge: FindJudge,
    announce: Callable[[ReplayCost], None],
    dry_run: bool = False,
    on_batch: OnBatch | None = None,
) -> Replay:
    """Ask the judges of the items again. announce: is given the cost before a judge is asked. dry_run: nobody is."""
    groups: dict[str, tuple[JudgeConfig, list[ReplayItem]]] = {}
    for item in draw.items:
        config = _without_batches(find_judge(item.judgement, item.question))
        groups.setdefault(config.model_dump_json(), (config, []))[1].append(item)
    costs: list[ReplayCost] = []
    changed: dict[str, None] = {}
    answered: list[tuple[ReplayItem, Judgement | FailedJudgement]] = []
    for config, items in groups.values():
        scorer = open_judge(config, budget=make_budget(config))
        try:
            costs.append(_count_cost(items, scorer, config=config))
            announce(costs[-1])
            for judge_id in dict.fromkeys(item.question.judge_id for item in items):
                changed.update(dict.fromkeys(changed_fields(ledger, judge_id, now=scorer.fingerprint)))
            if not dry_run:
                answered += _ask(items, scorer, config=config, on_batch=on_batch)
        finally:
            scorer.close()
    return _compare(draw, answered, costs=costs, changed=list(changed))


def _without_batches(config: JudgeConfig) -> JudgeConfig:
    """Somebody waits for the answers, so a server is asked at once."""
    endpoint = config.endpoint.model_copy(update={"batch_api": False})
    return config.model_copy(update={"endpoint": endpoint, "panel": ()})


def _count_cost(items: Sequence[ReplayItem], scorer: TokenScorer, *, config: JudgeConfig) -> ReplayCost:
    is_served = isinstance(scorer, StreamingScorer)
    count = count_sent if is_served else count_read
    limits = [
        reply_limit(config.endpoint, item.template.reason_max_tokens)
        if is_served
        else item.template.reason_max_tokens + 1
        for item in items
    ]
    prompt_tokens = sum(count(scorer.count_tokens, item.chat) for item in items)
    endpoint, cost = config.endpoint, None
    if is_served and endpoint.prompt_price is not None and endpoint.reply_price is not None:
        cost = (prompt_tokens * endpoint.prompt_price + sum(limits) * endpoint.reply_price) / 1e6
    return ReplayCost(
        judge=config.model.path,
        num_questions=len(items),
        prompt_tokens=prompt_tokens,
        is_estimated=is_served,
        reply_tokens_at_most=sum(limits),
        cost_at_most=cost,
    )


def _ask(
    items: Sequence[ReplayItem], scorer: TokenScorer, *, config: JudgeConfig, on_batch: OnBatch | None
) -> list[tuple[ReplayItem, Judgement | FailedJudgement]]:
    """The items with their answers of now, template by template."""
    by_template: dict[str, list[ReplayItem]] = {}
    for item in items:
        by_template.setdefault(item.template.digest, []).append(item)
    found: list[tuple[ReplayItem, Judgement | FailedJudgement]] = []
    for group in by_template.values():
        answers = ask_now(
            scorer, [item.chat for item in group], ids=[item.question.id for item in group],
            template=group[0].template, num_shown=[len(item.question.sample_ids) for item in group], config=config,
            on_batch=on_batch,
        )  # fmt: skip
        found += zip(group, answers, strict=True)
    return found


def _compare(
    draw: Draw,
    answered: Sequence[tuple[ReplayItem, Judgement | FailedJudgement]],
    *,
    costs: Sequence[ReplayCost],
    changed: Sequence[str],
) -> Replay:
    replayed = [_compare_one(item, answer) for item, answer in answered]
    read = [one for one in replayed if one.is_same is not None]
    moved = [one for one in read if one.move is not None]
    return Replay(
        judges=tuple(cost.judge for cost in costs),
        costs=tuple(costs),
        is_exact=draw.is_exact,
        fingerprint_changed=tuple(changed),
        num_drawn=sum(draws_answer(item.judgement) for item in draw.items),
        replayed=tuple(replayed),
        left_out=draw.left_out,
        failed=dict(Counter(one.now.failure for one in replayed if one.now.failure is not None)),
        same=share_interval([float(one.is_same or 0) for one in read], clusters=[one.prompt_id for one in read]),
        mean_move=mean_interval([one.move or 0.0 for one in moved], clusters=[one.prompt_id for one in moved]),
    )


def _compare_one(item: ReplayItem, answer: Judgement | FailedJudgement) -> Replayed:
    stored = item.judgement
    named = named_outcome(stored)
    then, now = _read(stored, named=named), _read(answer, named=named)
    failed = now.failure is not None
    return Replayed(
        question_id=item.question.id,
        judgement_id=stored.id,
        prompt_id=item.question.prompt_id,
        principle_ids=tuple(principle.id for principle in item.question.principles),
        then=then,
        now=now,
        is_same=None if failed else then.outcome == now.outcome,
        same_reason=None if failed else (then.reason or "").split() == (now.reason or "").split(),
        move=None if then.logit is None or now.logit is None else abs(then.logit - now.logit),
    )


def _read(answer: Judgement | FailedJudgement, *, named: str | int) -> Answer:
    """An answer's values. named: the stored outcome, whose log-odds are compared."""
    if isinstance(answer, FailedJudgement):
        return Answer(outcome="", logprobs={}, logit=None, reason=None, raw_reply=answer.raw_reply,
                      failure=answer.cause)  # fmt: skip
    outcome = named_outcome(answer)
    logprobs = {str(entry.verdict): entry.logprob for entry in answer.logprobs}
    logprobs |= {str(n): x for n, x in enumerate(answer.choice_logprobs, start=1) if x is not None}
    return Answer(
        outcome=outcome if isinstance(outcome, str) else str(outcome + 1),
        logprobs=logprobs,
        logit=logit_of(answer, named=named),
        reason=answer.reason,
        raw_reply=answer.raw_reply,
    )
