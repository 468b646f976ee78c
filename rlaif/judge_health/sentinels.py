"""A run's judge and a stored set of its questions -> whether it still answers as it did.

A model that is served under a name may be changed behind it. The set is drawn once and stays; answers are compared
with those in the ledger, which are not replaced.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import TypedDict

from rlaif.console import Progress
from rlaif.constitution.render import JudgeTemplate, rendered_digest
from rlaif.errors import RunFolderError, StageError
from rlaif.files.atomic import utc_now, write_atomically
from rlaif.files.own_files import json_of, read_own
from rlaif.judging.ask_now import ask_now
from rlaif.judging.bench import Bench
from rlaif.judging.chance import Answers, Difference, chance_of_failures, compare_drawn
from rlaif.judging.choices import LOWEST_LOGPROB
from rlaif.judging.panel import RunJudge, find_judge_ids
from rlaif.judging.questions import principle_of, render_question
from rlaif.judging.stage import JudgedRound, stored_template
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Estimate,
    FailedJudgement,
    FailureCause,
    Judgement,
    Model,
    Prompt,
    Question,
    Sample,
    SegmentedMessage,
    Value,
    digest_text,
)
from rlaif.stats.intervals import mean_interval, share_interval

SENTINELS_FILE = "sentinels.json"


class _Sentinels(TypedDict):
    """The layout of the file, as far as it is read."""

    question_ids: list[str]
    checks: list[Any]


_STORED = json_of(_Sentinels)
NUM_SENTINELS = 40
MAX_MOVE = 0.1
"""Logits; a mean distance above it is drift. Other batches move a local model's logits by a millionth."""
CLEAR = 1.0
"""Logits; a verdict that was at least as sure turns by drift alone, a nearer one also by a server's noise."""
FALSE_ALARM = 0.02
"""Probability that an unchanged judge which draws its answers is called changed: once by the answers that it gives, and
once by those that it fails to give."""
NUM_AGAIN = 3
"""How often a judge that draws its answers is asked each question: several answers of now say what chance makes."""
MAX_VOTES = 99
"""The most that judge.endpoint.num_votes can be."""
_FINGERPRINT = ("engine", "weights", "tokenizer", "chat_template", "dtype")


class Further(NamedTuple):
    """More answers of a judge to a question whose answers it draws."""

    then: Sequence[Judgement] = ()
    now: Sequence[Judgement | FailedJudgement] = ()


class SentinelCheck(Value):
    """The stored questions asked again."""

    stored_now: bool
    """The set was drawn by this check."""
    num_asked: int
    failed_by_cause: dict[str, int]
    verdicts_changed: Estimate | None
    clear_changed: int
    """Changed verdicts among those that were surer than `CLEAR` logits, or came without log-probabilities."""
    num_drawn: int = 0
    """Questions whose answers the judge draws, so that they differ by chance from one time to the next."""
    drawn_apart: float | None = None
    """Mean distance between an old and a new answer to a drawn question; for verdicts alone, the share that differ."""
    drawn_by_chance: float | None = None
    """Mean distance between two answers of one time; None where each question has one old and one new answer."""
    chance: float | None = None
    """Probability that an unchanged judge's drawn answers are as far apart; None where none are drawn."""
    mean_move: Estimate | None
    """Mean distance of the logits, then and now; None without log-probabilities."""
    largest_move: float | None
    fingerprint_changed: tuple[str, ...]
    """Fields of the judge's fingerprint that are not what they were."""
    drift: tuple[str, ...]
    """Why the judge is not what it was, a sentence each; none: it is."""


def check_sentinels(judged: JudgedRound, bench: Bench) -> SentinelCheck:
    """Ask the run's stored questions again; where none are stored, draw them from those that its judge answered."""
    if judged.is_recorded:
        raise StageError(
            "the verdicts of this run were recorded, so there is no judge to ask again",
            where=str(judged.path),
            fix="name a run with a judge by --run",
        )
    path = judged.path / SENTINELS_FILE
    stored_now = not path.is_file()
    if stored_now:
        _store(judged, path)
    data = read_own(path, _STORED, fix="restore it from a copy, or remove it to draw others")
    questions = list(judged.ledger.find(Question, data["question_ids"]).values())
    then = judged.ledger.judgements_for(data["question_ids"])
    if len(questions) < len(data["question_ids"]) or len(then) < len(questions):
        raise StageError(
            "the ledger no longer holds the stored questions", where=str(path), fix="remove the file to draw others"
        )
    judges = dict(zip(find_judge_ids(judged.questions), bench.judges, strict=True))
    answers: dict[str, list[Judgement | FailedJudgement]] = {}
    changed: list[str] = []
    for judge_id, judge in judges.items():
        own = [question for question in questions if question.judge_id == judge_id]
        if own:
            fields = _ask(judged, bench, judge, own, then=then, answers=answers)
            changed += [f"{field} of {judge.name}" for field in fields] if len(judges) > 1 else fields
    check = compare_answers(
        [(question.prompt_id, then[question.id], answers[question.id][0]) for question in questions],
        fingerprint_changed=changed,
        stored_now=stored_now,
        further=[
            Further(_find_votes(judged.ledger, question, then), answers[question.id][1:]) for question in questions
        ],
        failure_rate=_find_failure_rate(judged),
    )
    data["checks"].append({"at": utc_now(), **check.model_dump(mode="json")})
    write_atomically(path, json.dumps(data, indent=1))
    return check


def compare_answers(
    answers: Sequence[tuple[str, Judgement, Judgement | FailedJudgement]],
    *,
    fingerprint_changed: Sequence[str],
    stored_now: bool,
    further: Sequence[Further] | None = None,
    failure_rate: float = 0.0,
) -> SentinelCheck:
    """answers: a question's prompt, what the judge said then, and what it says now.

    Answers that the judge does not draw are held against those of then one by one. Drawn ones differ by chance, so
    their differences count together, and only as far as chance would not make them. further: more of each question's
    drawn answers. failure_rate: share of the run's requests that brought no answer.
    """
    is_drawn = [draws_answer(then) for _, then, _ in answers]
    rows = list(zip(answers, further or [Further()] * len(answers), is_drawn, strict=True))
    failed = Counter(now.cause for _, _, now in answers if isinstance(now, FailedJudgement))
    exactly = [row for row, _, drawn in rows if not drawn]
    drawn = [(then, (now, *more.now), more.then) for (_, then, now), more, drawn in rows if drawn]
    apart = _compare_drawn(drawn)
    everything, exact = _compare_one_by_one(answers), _compare_one_by_one(exactly)
    return SentinelCheck(
        stored_now=stored_now,
        num_asked=len(answers),
        failed_by_cause=dict(sorted(failed.items())),
        verdicts_changed=everything.verdicts_changed,
        clear_changed=everything.clear,
        num_drawn=len(drawn),
        drawn_apart=None if apart is None else apart.across,
        drawn_by_chance=None if apart is None else apart.within,
        chance=None if apart is None else apart.chance,
        mean_move=everything.mean_move,
        largest_move=everything.largest_move,
        fingerprint_changed=tuple(fingerprint_changed),
        drift=(
            *_find_drift(fingerprint_changed, exact),
            *_find_drift_of_drawn(apart, [now for _, now, _ in drawn], failure_rate=failure_rate),
        ),
    )


class _OneByOne(NamedTuple):
    failed: Mapping[FailureCause, int]
    verdicts_changed: Estimate | None
    clear: int
    mean_move: Estimate | None
    mean: float
    largest_move: float | None


def _compare_one_by_one(answers: Sequence[tuple[str, Judgement, Judgement | FailedJudgement]]) -> _OneByOne:
    failed = Counter(now.cause for _, _, now in answers if isinstance(now, FailedJudgement))
    read = [(prompt_id, then, now) for prompt_id, then, now in answers if isinstance(now, Judgement)]
    changed = [named_outcome(then) != named_outcome(now) for _, then, now in read]
    logits = [
        (logit_of(then, named=named_outcome(then)), logit_of(now, named=named_outcome(then))) for _, then, now in read
    ]
    moves = [
        (prompt_id, abs(a - b))
        for (prompt_id, *_), (a, b) in zip(read, logits, strict=True)
        if a is not None and b is not None
    ]
    return _OneByOne(
        failed=failed,
        verdicts_changed=share_interval([float(turned) for turned in changed], clusters=[key for key, *_ in read]),
        clear=sum(turned and (a is None or abs(a) >= CLEAR) for turned, (a, _) in zip(changed, logits, strict=True)),
        mean_move=mean_interval([move for _, move in moves], clusters=[key for key, _ in moves]),
        mean=math.fsum(move for _, move in moves) / len(moves) if moves else 0.0,
        largest_move=max((move for _, move in moves), default=None),
    )


def draws_answer(then: Judgement) -> bool:
    """Whether the judge's answer may be another one the next time.

    A server's is, unless it was asked at temperature 0; a verdict alone may be, as nobody noted how it was made.
    """
    if then.observed.served is not None:
        return then.observed.served.temperature != 0
    return not (then.logprobs or then.choice_logprobs or then.log_likelihoods)


def _compare_drawn(
    rows: Sequence[tuple[Judgement, Sequence[Judgement | FailedJudgement], Sequence[Judgement]]],
) -> Difference | None:
    """None where no question has drawn answers of both times."""
    read = [
        Answers((then, *votes), answered)
        for then, now, votes in rows
        if (answered := [judgement for judgement in now if isinstance(judgement, Judgement)])
    ]
    return compare_drawn(read) if read else None


def _find_drift(fields: Sequence[str], exact: _OneByOne) -> Iterator[str]:
    if fields:
        yield f"the judge's fingerprint changed: {', '.join(fields)}"
    if exact.failed:
        yield f"{sum(exact.failed.values())} questions that were answered then failed now ({_list(exact.failed)})"
    if exact.clear:
        yield f"{exact.clear} verdicts turned that were not near"
    if exact.mean > MAX_MOVE:
        yield f"logits moved by {exact.mean:.2f} on average, more than {MAX_MOVE:g}"


def _find_drift_of_drawn(
    apart: Difference | None, now: Sequence[Sequence[Judgement | FailedJudgement]], *, failure_rate: float
) -> Iterator[str]:
    given = [answer for answers in now for answer in answers]
    failed = Counter(answer.cause for answer in given if isinstance(answer, FailedJudgement))
    num_failed = sum(failed.values())
    if chance_of_failures(num_failed, asked=len(given), rate=failure_rate) < FALSE_ALARM:
        yield (
            f"{num_failed} of {len(given)} answers failed now ({_list(failed)}), where the run's failed at a rate of "
            f"{failure_rate:.1%}"
        )
    if apart is not None and apart.chance < FALSE_ALARM:
        beside = "" if apart.within is None else f", where two answers of one time are {apart.within:.2f} apart"
        yield (
            f"drawn answers of then and now are {apart.across:.2f} apart on average{beside}: chance alone does this "
            f"with a probability of {apart.chance:.2g}"
        )


def _list(failed: Mapping[FailureCause, int]) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in sorted(failed.items()))


def named_outcome(judgement: Judgement) -> str | int:
    """The verdict; of a score or a ranking the place of the likeliest choice, else the one that was written; of a
    contrast which of the two makes the response likelier."""
    if judgement.verdict is not None:
        return judgement.verdict
    if judgement.log_likelihoods:
        return "principle" if _contrast_of(judgement) > 0 else "opposite"
    known = [(x, -place) for place, x in enumerate(judgement.choice_logprobs) if x is not None]
    if known:
        return -max(known)[1]
    return judgement.ranking[0] if judgement.ranking else round(judgement.score or 0) - 1


def logit_of(judgement: Judgement, *, named: str | int) -> float | None:
    """How much likelier `first` is than `second`, in log-odds; of other choices, the one `named` than all others; of a
    contrast, the response under the principle than under its opposite."""
    if judgement.log_likelihoods:
        return _contrast_of(judgement)
    found = {entry.verdict: entry.logprob for entry in judgement.logprobs}
    if {"first", "second"} <= found.keys():
        return found["first"] - found["second"]
    choices = judgement.choice_logprobs
    if not isinstance(named, int) or named >= len(choices) or (chosen := choices[named]) is None:
        return None
    others = math.fsum(math.exp(x) for place, x in enumerate(choices) if x is not None and place != named)
    return chosen - math.log(max(others, math.exp(LOWEST_LOGPROB)))


def _contrast_of(judgement: Judgement) -> float:
    under_principle, under_opposite = judgement.log_likelihoods
    return under_principle - under_opposite


def _store(judged: JudgedRound, path: Path) -> None:
    """Store the sentinel questions: the same number for each judge, drawn by id from those it answered."""
    answered = {j.question_id for j in judged.judgements if j.origin == "asked"}
    if not answered:
        raise RunFolderError("this run's judge answered nothing", where=str(judged.path), fix="name another by --run")
    by_judge: dict[str, list[str]] = {}
    for question in judged.questions:
        if question.id in answered and question.draw == 0:
            by_judge.setdefault(question.judge_id, []).append(question.id)
    drawn = [
        key
        for keys in by_judge.values()
        for key in sorted(keys, key=lambda key: digest_text(f"sentinel\n{key}"))[:NUM_SENTINELS]
    ]
    stored = {"format": 1, "stored_at": utc_now(), "question_ids": drawn, "checks": []}
    write_atomically(path, json.dumps(stored, indent=1))


def _render(
    judged: JudgedRound, questions: Sequence[Question], *, template: JudgeTemplate
) -> list[tuple[SegmentedMessage, ...]]:
    """The exact prompts, each proven by the digest that its question holds."""
    prompts = judged.ledger.find(Prompt, {question.prompt_id for question in questions})
    samples = judged.ledger.find(Sample, {sample_id for question in questions for sample_id in question.sample_ids})
    chats = []
    for question in questions:
        principle = principle_of(question.principles[0], judged.ledger.text)
        if principle is None:
            raise StageError("a principle's text is redacted", where=question.id, fix="remove the stored set")
        shown = [samples[sample_id] for sample_id in question.sample_ids]
        chat = render_question(prompts[question.prompt_id], shown, principle, template=template)
        if rendered_digest(chat) != question.rendered_digest:
            raise StageError(
                "a stored question cannot be rendered as it was: rlaif writes judge prompts otherwise by now",
                where=question.id,
                fix=f"remove {SENTINELS_FILE} from the run's folder, and judge again before drawing others",
            )
        chats.append(chat)
    return chats


def _ask(
    judged: JudgedRound,
    bench: Bench,
    judge: RunJudge,
    questions: Sequence[Question],
    *,
    then: Mapping[str, Judgement],
    answers: dict[str, list[Judgement | FailedJudgement]],
) -> list[str]:
    """One judge's stored questions, asked again; the fields of its fingerprint that changed are returned."""
    template = stored_template(judged, questions[0].template_digest)
    asked = [
        (question, chat)
        for question, chat in zip(questions, _render(judged, questions, template=template), strict=True)
        for _ in range(NUM_AGAIN if draws_answer(then[question.id]) else 1)
    ]
    with bench.lend(judge) as scorer, Progress("sentinels", len(asked), unit="questions") as progress:
        found = ask_now(
            scorer, [chat for _, chat in asked], ids=[question.id for question, _ in asked], template=template,
            num_shown=[len(question.sample_ids) for question, _ in asked], config=judge.config,
            on_batch=lambda asked, failed: progress.advance(asked, failed=failed),
        )  # fmt: skip
        for (question, _), answer in zip(asked, found, strict=True):
            answers.setdefault(question.id, []).append(answer)
        return changed_fields(judged.ledger, questions[0].judge_id, now=scorer.fingerprint)


def _find_votes(ledger: Ledger, question: Question, then: Mapping[str, Judgement]) -> list[Judgement]:
    """The other draws of a stored question, as the run asked for them."""
    if not draws_answer(then[question.id]):
        return []
    others = [question.changed(draw=draw).id for draw in range(MAX_VOTES) if draw != question.draw]
    return list(ledger.judgements_for(others).values())


def _find_failure_rate(judged: JudgedRound) -> float:
    """Share of the run's requests that brought no answer. One failure is added, as a rate of 0 is never known."""
    asked = [question.id for question in judged.questions]
    failed = sum(judged.ledger.failed_attempts(asked).values())
    answered = len(judged.judgements)
    return (failed + 1) / (failed + answered + 2)


def changed_fields(ledger: Ledger, judge_id: str, *, now: Model) -> list[str]:
    stored = ledger.get(Model, judge_id)
    if stored is None:
        return ["its record is missing"]
    return [name for name in _FINGERPRINT if getattr(stored, name) != getattr(now, name)]
