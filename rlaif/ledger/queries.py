"""What a person looks up in the ledger: lists page by page, and everything behind one decision.

Lists are merged from groups of rows with the same traits (listing.py), so that no statement reads rows that a filter
leaves out. Does not render prompts: it returns their parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from rlaif.errors import InputError
from rlaif.ledger.listing import find_groups, find_listed
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import StoredRow, id_lists
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    FailureCause,
    HumanLabel,
    Judgement,
    Model,
    Prompt,
    Question,
    Record,
    Sample,
    SpotCheck,
    Use,
    Verdict,
)

R = TypeVar("R", bound=Record)
L = TypeVar("L")
MAX_PREFIX_MATCHES = 2
_OF_PROMPT = {
    "comparisons": "SELECT t.seq FROM comparisons AS t WHERE t.prompt_id = ?1",
    **{
        table: f"SELECT t.seq FROM questions AS q JOIN {table} AS t ON t.question_id = q.id WHERE q.prompt_id = ?1"
        for table in ("judgements", "failed_judgements")
    },
}
"""Statement by table: the rows of one prompt, which are few."""


class Page(NamedTuple, Generic[L]):
    lines: list[L]
    next_key: int | None
    """The value of `after` for the next page; None on the last page."""


class ComparisonLine(NamedTuple):
    key: int
    comparison: Comparison


class JudgementLine(NamedTuple):
    key: int
    judgement: Judgement
    question: Question | None


class FailureLine(NamedTuple):
    key: int
    failure: FailedJudgement
    question: Question | None


def list_comparisons(
    ledger: Ledger,
    *,
    principle: str | None = None,
    verdict: Verdict | None = None,
    flipped: bool | None = None,
    run: str | None = None,
    prompt_id: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> Page[ComparisonLine]:
    """Comparisons in the order they were made; `verdict` is what both orders together decided."""
    page = _page(
        ledger, Comparison, principle=principle, outcome=verdict, flipped=flipped, run=run, prompt_id=prompt_id,
        after=after, limit=limit,
    )  # fmt: skip
    return Page([ComparisonLine(*line) for line in page.lines], page.next_key)


def list_judgements(
    ledger: Ledger,
    *,
    principle: str | None = None,
    verdict: Verdict | None = None,
    run: str | None = None,
    prompt_id: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> Page[JudgementLine]:
    """Judgements in the order they were acknowledged."""
    page = _page(
        ledger, Judgement, principle=principle, outcome=verdict, run=run, prompt_id=prompt_id, after=after, limit=limit
    )
    questions = ledger.find(Question, [judgement.question_id for _, judgement in page.lines])
    return Page([JudgementLine(key, j, questions.get(j.question_id)) for key, j in page.lines], page.next_key)


def list_failures(
    ledger: Ledger,
    *,
    cause: FailureCause | None = None,
    principle: str | None = None,
    run: str | None = None,
    prompt_id: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> Page[FailureLine]:
    """Failed judgements in the order they happened."""
    page = _page(
        ledger, FailedJudgement, principle=principle, outcome=cause, run=run, prompt_id=prompt_id, after=after,
        limit=limit,
    )  # fmt: skip
    questions = ledger.find(Question, [failure.question_id for _, failure in page.lines])
    return Page([FailureLine(key, f, questions.get(f.question_id)) for key, f in page.lines], page.next_key)


def _page(
    ledger: Ledger,
    kind: type[R],
    *,
    principle: str | None,
    outcome: str | None,
    flipped: bool | None = None,
    run: str | None,
    prompt_id: str | None,
    after: int,
    limit: int,
) -> Page[tuple[int, R]]:
    table = kind.table
    if principle is None and outcome is None and flipped is None and run is None and prompt_id is None:
        sql = f"SELECT seq FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?"
        seqs = [seq for (seq,) in ledger.rows(sql, (after, limit))]
    else:
        groups = find_groups(ledger.rows, table, run=run, principle=principle, outcome=outcome, flipped=flipped)
        if prompt_id is None:
            seqs = find_listed(ledger.rows, groups, after=after, limit=limit)
        else:
            sql = (
                f"{_OF_PROMPT[table]} AND t.seq > ?2 AND EXISTS (SELECT 1 FROM listing AS l WHERE l.seq = t.seq"
                " AND l.group_id IN (SELECT value FROM json_each(?3))) ORDER BY t.seq LIMIT ?4"
            )
            seqs = [seq for (seq,) in ledger.rows(sql, (prompt_id, after, json.dumps(groups), limit))]
    found: list[StoredRow] = []
    sql = f"SELECT seq, id, content, observed FROM {table} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
    for chunk in id_lists(seqs):
        found += [StoredRow(*row) for row in ledger.rows(sql, (chunk,))]
    records = ledger.restore(kind, found)
    lines = [(row.seq, record) for row, record in zip(found, records, strict=True)]
    return Page(lines, lines[-1][0] if len(lines) == limit else None)


class Side(NamedTuple):
    """One order of a pair: its question, and every answer to it."""

    question: Question
    judgement: Judgement | None
    failures: list[FailedJudgement]
    samples: list[Sample | None]
    """Samples in the order shown; None: not in the ledger."""
    uses: list[Use]
    """Which runs used the judgement."""


class Decision(NamedTuple):
    """Everything behind one decision. A part that is None is not in the ledger."""

    found: Record
    """The record that the id names."""
    comparison: Comparison | None
    sides: list[Side]
    """The order as listed first, then the swapped one."""
    prompt: Prompt | None
    judge: Model | None
    principles: dict[str, str | None]
    opposites: dict[str, str | None]
    """Opposites of the principles that were asked with theirs, by the principle's id; None where the text is redacted
    or missing."""
    """Principle id -> its text."""
    template: str | None
    """Source of the judge template."""
    constitutions: list[Constitution]
    """Constitutions under which the decision was used."""
    uses: list[Use]
    """Which runs used the comparison."""


def find_decision(ledger: Ledger, prefix: str) -> Decision:
    """The decision whose comparison, judgement, failed judgement or question has an id that begins with `prefix`."""
    record = _find_by_prefix(ledger, prefix)
    comparison: Comparison | None = None
    if isinstance(record, Comparison):
        comparison = record
        judgements = ledger.find(Judgement, record.judgement_ids)
        question_ids = [judgements[key].question_id for key in record.judgement_ids if key in judgements]
    else:
        question_ids = [record.id if isinstance(record, Question) else getattr(record, "question_id", "")]
        judgement = ledger.judgements_for(question_ids).get(question_ids[0])
        comparison = _comparison_of(ledger, judgement) if judgement else None
        if comparison is not None:
            return find_decision(ledger, comparison.id)._replace(found=record)
    questions = ledger.find(Question, question_ids)
    ordered = [questions[key] for key in question_ids if key in questions]
    if comparison is None and ordered:
        ordered += _other_order(ledger, ordered[0])
    sides = [_side(ledger, question) for question in ordered]
    uses = _uses(ledger, comparison.id) if comparison else []
    constitution_ids = {use.constitution_id for use in (*uses, *(use for side in sides for use in side.uses))}
    asked = [*(ordered[0].principles if ordered else ()), *([comparison.principle] if comparison else [])]
    source = ordered[0] if ordered else comparison
    template_digest = ordered[0].template_digest if ordered else None
    return Decision(
        found=record,
        comparison=comparison,
        sides=sides,
        prompt=ledger.get(Prompt, source.prompt_id) if source else None,
        judge=ledger.get(Model, source.judge_id) if source else None,
        principles={principle.id: ledger.kept_text(principle.text_digest) for principle in asked},
        opposites={key.id: ledger.kept_text(key.opposite_digest) for key in asked if key.opposite_digest},
        template=ledger.kept_text(template_digest) if template_digest else None,
        constitutions=list(ledger.find(Constitution, [key for key in constitution_ids if key]).values()),
        uses=uses,
    )


def _find_by_prefix(ledger: Ledger, prefix: str) -> Comparison | Judgement | FailedJudgement | Question:
    if not prefix or prefix.strip("0123456789abcdef"):
        raise InputError(f'"{prefix[:80]}" is no id', fix="take one from `rlaif audit list`")
    found: list[tuple[type[Any], str]] = []
    for kind in (Comparison, Judgement, FailedJudgement, Question):
        sql = f"SELECT id FROM {kind.table} WHERE id >= ? AND id < ? ORDER BY id LIMIT {MAX_PREFIX_MATCHES}"
        found += [(kind, row[0]) for row in ledger.rows(sql, (prefix, prefix + "g"))]
    if not found:
        raise InputError(
            f"no comparison, judgement or question has an id that begins with {prefix}",
            where=str(ledger.path),
            fix="take one from `rlaif audit list`",
        )
    if len(found) > 1:
        near = ", ".join(f"{kind.table} {record_id[:12]}" for kind, record_id in found[:4])
        raise InputError(f"several ids begin with {prefix}: {near}", where=str(ledger.path), fix="give more of it")
    kind, record_id = found[0]
    record: Comparison | Judgement | FailedJudgement | Question = ledger.find(kind, [record_id])[record_id]
    return record


def _comparison_of(ledger: Ledger, judgement: Judgement) -> Comparison | None:
    """The latest comparison that the judgement went into."""
    sql = (
        "SELECT max(seq), id FROM (SELECT seq, id FROM comparisons WHERE listed_id = ?1"
        " UNION ALL SELECT seq, id FROM comparisons WHERE swapped_id = ?1)"
    )
    ((_, record_id),) = ledger.rows(sql, (judgement.id,))
    return ledger.get(Comparison, record_id) if record_id else None


def _other_order(ledger: Ledger, question: Question) -> Iterator[Question]:
    """The question that differs only in the order of the samples, where it was asked."""
    rows = ledger.rows(
        "SELECT id FROM questions WHERE prompt_id = ? AND principle_id = ? ORDER BY seq LIMIT 1000",
        (question.prompt_id, question.principles[0].id if question.principles else None),
    )
    swapped = question.changed(sample_ids=question.sample_ids[::-1], rendered_digest=None)
    for other in ledger.find(Question, [row[0] for row in rows]).values():
        if other.id != question.id and other.changed(rendered_digest=None) == swapped:
            yield other


def _side(ledger: Ledger, question: Question) -> Side:
    judgement = ledger.judgements_for([question.id]).get(question.id)
    failed = ledger.rows("SELECT id FROM failed_judgements WHERE question_id = ? ORDER BY seq", (question.id,))
    samples = ledger.find(Sample, question.sample_ids)
    return Side(
        question=question,
        judgement=judgement,
        failures=list(ledger.find(FailedJudgement, [row[0] for row in failed]).values()),
        samples=[samples.get(key) for key in question.sample_ids],
        uses=_uses(ledger, judgement.id) if judgement else [],
    )


def _uses(ledger: Ledger, record_id: str) -> list[Use]:
    rows = ledger.rows("SELECT id FROM uses WHERE record_id = ? ORDER BY seq LIMIT 1000", (record_id,))
    return list(ledger.find(Use, [row[0] for row in rows]).values())


def find_constitution(ledger: Ledger, *, run: str, round: int, stage: str) -> Constitution | None:
    """The constitution under which a stage of a run used its records; None before it did."""
    sql = (
        "SELECT json_extract(content, '$.constitution_id') FROM uses"
        " WHERE run = ? AND round = ? AND stage = ? AND record_table = 'questions' LIMIT 1"
    )
    page = ledger.rows(sql, (run, round, stage))
    return ledger.get(Constitution, page[0][0]) if page and page[0][0] else None


def find_comparisons(ledger: Ledger, prompt_ids: Iterable[str]) -> list[Comparison]:
    """Every comparison of these prompts' responses, of any run and by any judge, in the order they were made."""
    sql = "SELECT seq, id, content, observed FROM comparisons WHERE prompt_id = ? ORDER BY seq LIMIT 10000"
    found = [StoredRow(*row) for prompt_id in prompt_ids for row in ledger.rows(sql, (prompt_id,))]
    return ledger.restore(Comparison, found)


def find_drawn_labels(ledger: Ledger, *, run: str, is_evaluation: bool) -> list[HumanLabel]:
    """The labels of a run's draws that count now: of pairs that were judged, or of those of evaluations."""
    stages = [
        check.stage
        for check in list_records(ledger, SpotCheck)
        if run in check.runs and check.is_evaluation == is_evaluation
    ]
    return [label for stage in stages for label in ledger.used(run, 0, stage, HumanLabel)]


def list_records(ledger: Ledger, kind: type[R]) -> list[R]:
    """All records of a kind that a ledger has few of, in the order they were made."""
    sql = f"SELECT seq, id, content, observed FROM {kind.table} WHERE seq > ? ORDER BY seq LIMIT 100"
    rows: list[StoredRow] = []
    while page := [StoredRow(*row) for row in ledger.rows(sql, (rows[-1].seq if rows else 0,))]:
        rows += page
    return ledger.restore(kind, rows)
