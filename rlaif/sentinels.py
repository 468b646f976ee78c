"""A run's judge and a stored set of its questions -> whether it still answers as it did.

A model that is served under a name may be changed behind it. The set is drawn once and stays; answers are compared
with those in the ledger, which are not replaced. Judges nothing anew.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rlaif.console import Progress
from rlaif.constitution.render import JudgeTemplate, rendered_digest
from rlaif.errors import RunFolderError, StageError
from rlaif.files import write_atomically
from rlaif.intervals import mean_interval, share_interval
from rlaif.judges import RunJudge, find_judge_ids
from rlaif.judging.ask_now import ask_now
from rlaif.judging.questions import render_question
from rlaif.judging.unlisted import LOWEST_LOGPROB
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
from rlaif.runs import utc_now
from rlaif.stored_run import is_recorded, stored_template
from rlaif.work import Work

SENTINELS_FILE = "sentinels.json"
NUM_SENTINELS = 40
MAX_MOVE = 0.1
"""Logits; a mean distance above it is drift. Other batches move a local model's logits by a millionth."""
CLEAR = 1.0
"""Logits; a verdict that was at least as sure turns by drift alone, a nearer one also by a server's noise."""
_FINGERPRINT = ("engine", "weights", "tokenizer", "chat_template", "dtype")


class SentinelCheck(Value):
    """The stored questions asked again."""

    stored_now: bool
    """The set was drawn by this check."""
    num_asked: int
    failed_by_cause: dict[str, int]
    verdicts_changed: Estimate | None
    clear_changed: int
    """Changed verdicts among those that were surer than `CLEAR` logits, or came without log-probabilities."""
    mean_move: Estimate | None
    """Mean distance of the logits, then and now; None without log-probabilities."""
    largest_move: float | None
    fingerprint_changed: tuple[str, ...]
    """What of the judge's fingerprint is not what it was."""
    drift: tuple[str, ...]
    """Why the judge is not what it was, a sentence each; none: it is."""


def check_sentinels(work: Work) -> SentinelCheck:
    """Ask the run's stored questions again; where none are stored, draw them from those that its judge answered."""
    if is_recorded(work):
        raise StageError(
            "the verdicts of this run were recorded, so there is no judge to ask again",
            where=str(work.run.path),
            fix="name a run with a judge by --run",
        )
    path = work.run.path / SENTINELS_FILE
    stored_now = not path.is_file()
    if stored_now:
        _store(work, path)
    data = json.loads(path.read_text(encoding="utf-8"))
    questions = list(work.ledger.find(Question, data["question_ids"]).values())
    then = work.ledger.judgements_for(data["question_ids"])
    if len(questions) < len(data["question_ids"]) or len(then) < len(questions):
        raise StageError(
            "the ledger no longer holds the stored questions", where=str(path), fix="remove the file to draw others"
        )
    judges = dict(zip(find_judge_ids(work), work.judges, strict=True))
    answers: dict[str, Judgement | FailedJudgement] = {}
    changed: list[str] = []
    for judge_id, judge in judges.items():
        own = [question for question in questions if question.judge_id == judge_id]
        if own:
            fields = _ask(work, judge, own, answers=answers)
            changed += [f"{field} of {judge.name}" for field in fields] if len(judges) > 1 else fields
    check = compare_answers(
        [(question.prompt_id, then[question.id], answers[question.id]) for question in questions],
        fingerprint_changed=changed,
        stored_now=stored_now,
    )
    data["checks"].append({"at": utc_now(), **check.model_dump(mode="json")})
    write_atomically(path, json.dumps(data, indent=1))
    return check


def compare_answers(
    answers: Sequence[tuple[str, Judgement, Judgement | FailedJudgement]],
    *,
    fingerprint_changed: Sequence[str],
    stored_now: bool,
) -> SentinelCheck:
    """answers: a question's prompt, what the judge said then, and what it says now."""
    failed = Counter(now.cause for _, _, now in answers if isinstance(now, FailedJudgement))
    read = [(prompt_id, then, now) for prompt_id, then, now in answers if isinstance(now, Judgement)]
    changed = [_named(then) != _named(now) for _, then, now in read]
    logits = [(logit_of(then, named=_named(then)), logit_of(now, named=_named(then))) for _, then, now in read]
    moves = [
        (prompt_id, abs(a - b))
        for (prompt_id, *_), (a, b) in zip(read, logits, strict=True)
        if a is not None and b is not None
    ]
    prompts = [prompt_id for prompt_id, *_ in read]
    clear = sum(turned and (a is None or abs(a) >= CLEAR) for turned, (a, _) in zip(changed, logits, strict=True))
    mean_move = mean_interval([move for _, move in moves], clusters=[prompt_id for prompt_id, _ in moves])
    mean = math.fsum(move for _, move in moves) / len(moves) if moves else 0.0
    return SentinelCheck(
        stored_now=stored_now,
        num_asked=len(answers),
        failed_by_cause=dict(sorted(failed.items())),
        verdicts_changed=share_interval([float(turned) for turned in changed], clusters=prompts),
        clear_changed=clear,
        mean_move=mean_move,
        largest_move=max((move for _, move in moves), default=None),
        fingerprint_changed=tuple(fingerprint_changed),
        drift=tuple(_find_drift(fingerprint_changed, failed=dict(failed), clear=clear, mean_move=mean)),
    )


def _find_drift(
    fields: Sequence[str], *, failed: Mapping[FailureCause, int], clear: int, mean_move: float
) -> Iterator[str]:
    if fields:
        yield f"the judge's fingerprint changed: {', '.join(fields)}"
    if failed:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(failed.items()))
        yield f"{sum(failed.values())} questions that were answered then failed now ({causes})"
    if clear:
        yield f"{clear} verdicts turned that were not near"
    if mean_move > MAX_MOVE:
        yield f"logits moved by {mean_move:.2f} on average, more than {MAX_MOVE:g}"


def _named(judgement: Judgement) -> str | int:
    """The verdict; of a score or a ranking the place of the likeliest choice, else the one that was written."""
    if judgement.verdict is not None:
        return judgement.verdict
    known = [(x, -place) for place, x in enumerate(judgement.choice_logprobs) if x is not None]
    if known:
        return -max(known)[1]
    return judgement.ranking[0] if judgement.ranking else round(judgement.score or 0) - 1


def logit_of(judgement: Judgement, *, named: str | int) -> float | None:
    """How much likelier `first` is than `second`, in log-odds; of other choices, the one `named` than all others."""
    found = {entry.verdict: entry.logprob for entry in judgement.logprobs}
    if {"first", "second"} <= found.keys():
        return found["first"] - found["second"]
    choices = judgement.choice_logprobs
    if not isinstance(named, int) or named >= len(choices) or (chosen := choices[named]) is None:
        return None
    others = math.fsum(math.exp(x) for place, x in enumerate(choices) if x is not None and place != named)
    return chosen - math.log(max(others, math.exp(LOWEST_LOGPROB)))


def _store(work: Work, path: Path) -> None:
    """Of each judge as many, drawn by the questions' ids from those that it was asked and answered."""
    answered = {j.question_id for j in work.used("3_judgements", Judgement) if j.origin == "asked"}
    if not answered:
        raise RunFolderError("this run's judge answered nothing", where=str(work.run.path), fix="name another by --run")
    by_judge: dict[str, list[str]] = {}
    for question in work.used("3_judgements", Question):
        if question.id in answered:
            by_judge.setdefault(question.judge_id, []).append(question.id)
    drawn = [
        key
        for keys in by_judge.values()
        for key in sorted(keys, key=lambda key: digest_text(f"sentinel\n{key}"))[:NUM_SENTINELS]
    ]
    stored = {"format": 1, "stored_at": utc_now(), "question_ids": drawn, "checks": []}
    write_atomically(path, json.dumps(stored, indent=1))


def _render(
    work: Work, questions: Sequence[Question], *, template: JudgeTemplate
) -> list[tuple[SegmentedMessage, ...]]:
    """The exact prompts, each proven by the digest that its question holds."""
    prompts = work.ledger.find(Prompt, {question.prompt_id for question in questions})
    samples = work.ledger.find(Sample, {sample_id for question in questions for sample_id in question.sample_ids})
    chats = []
    for question in questions:
        text = work.ledger.text(question.principles[0].text_digest)
        if text is None:
            raise StageError("a principle's text is redacted", where=question.id, fix="remove the stored set")
        shown = [samples[sample_id] for sample_id in question.sample_ids]
        chat = render_question(prompts[question.prompt_id], shown, text, template=template)
        if rendered_digest(chat) != question.rendered_digest:
            raise StageError(
                "a stored question cannot be rendered as it was: rlaif writes judge prompts otherwise by now",
                where=question.id,
                fix=f"remove {SENTINELS_FILE} from the run's folder, and judge anew before drawing others",
            )
        chats.append(chat)
    return chats


def _ask(
    work: Work, judge: RunJudge, questions: Sequence[Question], *, answers: dict[str, Judgement | FailedJudgement]
) -> list[str]:
    """One judge's stored questions, asked again; what of its fingerprint is another by now."""
    template = stored_template(work, questions[0].template_digest)
    chats = _render(work, questions, template=template)
    ids = [question.id for question in questions]
    with work.lend_judge(judge) as scorer, Progress("sentinels", len(chats), unit="questions") as progress:
        found = ask_now(
            scorer, chats, ids=ids, template=template, num_shown=[len(question.sample_ids) for question in questions],
            config=judge.config, on_batch=lambda asked, failed: progress.advance(asked, failed=failed),
        )  # fmt: skip
        answers.update(zip(ids, found, strict=True))
        return _changed_fields(work, questions[0].judge_id, now=scorer.fingerprint)


def _changed_fields(work: Work, judge_id: str, *, now: Model) -> list[str]:
    stored = work.ledger.get(Model, judge_id)
    if stored is None:
        return ["its record is missing"]
    return [name for name in _FINGERPRINT if getattr(stored, name) != getattr(now, name)]
