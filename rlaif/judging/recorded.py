"""Samples and verdicts that already exist -> the records that sampling and judging would have made.

What was not recorded stays unknown: there is no prompt of the judge, there are no log-probabilities unless a column
has them, and a pair shown in one order is not debiased. A verdict that cannot be read is a failed judgement, never a
number. Asks nothing and writes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rlaif.errors import ConstitutionError, DataError
from rlaif.files.row import Row, describe, missing_column, scalar_text
from rlaif.files.rows import read_rows
from rlaif.judging.modes.pair import compare
from rlaif.judging.recorded_columns import ColumnMap, load_column_map
from rlaif.judging.recorded_rows import (
    RecordedPair,
    read_answer,
    read_key,
    read_pairs,
    read_question,
    recorded_model,
)
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    Judgement,
    Model,
    Principle,
    PrincipleKey,
    Prompt,
    Question,
    Record,
    Sample,
    Tally,
)

R = TypeVar("R", bound=Record)


class Recorded(NamedTuple):
    """The records made from recorded samples and verdicts."""

    constitution: Constitution
    judge: Model
    policies: list[Model]
    prompts: list[Prompt]
    samples: list[Sample]
    pairs: list[tuple[Sample, Sample]]
    """Pairs with a verdict or a failed one, each sorted by sample id."""
    questions: list[Question]
    judgements: list[Judgement]
    failed: list[FailedJudgement]
    comparisons: list[Comparison]
    sample_tally: Tally
    """Counts of the rows of the samples file."""
    judgement_tally: Tally
    """Counts of the rows of the verdicts file; failed judgements are dropped under their cause."""
    unread_values: dict[str, int]
    """Verdict values that the column map does not name, the most frequent first."""


def describe_unread(recorded: Recorded) -> str:
    """The verdicts that the column map does not name, with their counts; empty where there are none."""
    if not recorded.unread_values:
        return ""
    seen = ", ".join(f"{value} ({count})" for value, count in list(recorded.unread_values.items())[:5])
    return f"verdicts that the column map does not name: {seen}"


def import_recorded(
    samples_path: str | Path,
    judgements_path: str | Path,
    columns_path: str | Path,
    *,
    constitution: Constitution | None = None,
) -> Recorded:
    """Read both files through a column map; without a constitution, one principle stands for the judge's standard."""
    columns = load_column_map(Path(columns_path))
    if columns.key is None and Path(samples_path).resolve() != Path(judgements_path).resolve():
        raise DataError(
            "samples and verdicts are two files and no key joins them",
            where=str(columns_path),
            fix="write `key: COLUMN`, the column that names the pair in both files",
        )
    return records_from_rows(
        list(read_rows(samples_path, wanted=columns.sample_columns)),
        list(read_rows(judgements_path, wanted=columns.judgement_columns)),
        columns=columns,
        constitution=constitution,
        names=(str(samples_path), str(judgements_path)),
    )


def records_from_rows(
    sample_rows: Sequence[Row],
    judgement_rows: Sequence[Row],
    *,
    columns: ColumnMap,
    constitution: Constitution | None = None,
    names: tuple[str, str] = ("samples", "verdicts"),
) -> Recorded:
    """The records of rows that are joined by `columns.key`, or row by row where there is no key.

    A row may leave a column out, as JSON rows do; a column that no row has is refused. `names`: how messages name the
    two files.
    """
    _require_columns(sample_rows, columns.sample_columns, where=names[0])
    _require_columns(judgement_rows, columns.judgement_columns, where=names[1])
    constitution = constitution or implicit_constitution(columns)
    principle = _asked_principle(constitution, columns)
    judge = recorded_model(columns.judge)
    pairs, sample_drops = read_pairs(sample_rows, columns)
    answers = _read_answers(judgement_rows, pairs, sample_drops, columns=columns, principle=principle, judge=judge)
    _require_judgements(answers, columns=columns, where=names[1])
    used = answers.used.values()
    sample_dropped = Counter(sample_drops.values())
    sample_dropped["no_verdict"] = len(pairs) - len(used)
    return Recorded(
        constitution=constitution,
        judge=judge,
        policies=_distinct(policy for pair in used for policy in pair.policies),
        prompts=_distinct(pair.prompt for pair in used),
        samples=_distinct(sample for pair in used for sample in pair.samples),
        pairs=_sorted_pairs(used),
        questions=list(answers.questions.values()),
        judgements=list(answers.judgements.values()),
        failed=list(answers.failed.values()),
        comparisons=compare_recorded(answers.questions, answers.judgements),
        sample_tally=Tally(num_in=len(sample_rows), dropped=_without_zeros(sample_dropped)),
        judgement_tally=answers.tally,
        unread_values=dict(answers.unread.most_common()),
    )


class _Answers(NamedTuple):
    """What the rows of the verdicts file gave."""

    questions: dict[str, Question]
    judgements: dict[str, Judgement]
    """Judgements by question id, as are the failures."""
    failed: dict[str, FailedJudgement]
    used: dict[str, RecordedPair]
    """The pairs that were asked about, by key."""
    tally: Tally
    unread: Counter[str]


def _read_answers(
    rows: Sequence[Row],
    pairs: Mapping[str, RecordedPair],
    sample_drops: Mapping[str, str],
    *,
    columns: ColumnMap,
    principle: PrincipleKey,
    judge: Model,
) -> _Answers:
    dropped: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    answers = _Answers(questions={}, judgements={}, failed={}, used={}, tally=Tally(num_in=len(rows)), unread=unread)
    for number, row in enumerate(rows, start=1):
        key = read_key(row, columns.judgement_key or columns.key, number=number)
        pair = pairs.get(key)
        if pair is None:
            dropped[sample_drops.get(key, "no_sample")] += 1
            continue
        answers.used[key] = pair
        question = read_question(row, pair, columns=columns, principle=principle, judge=judge)
        answer = read_answer(row, question, pair=pair, columns=columns)
        is_failure = isinstance(answer, FailedJudgement)
        # The first verdict on a question stands; one that could be read replaces a failure before it.
        if question.id in answers.judgements or (is_failure and question.id in answers.failed):
            dropped["repeated"] += 1
            continue
        answers.questions[question.id] = question
        if isinstance(answer, FailedJudgement):
            answers.failed[question.id] = answer
            dropped[answer.cause] += 1
            unread[scalar_text(row.cells.get(columns.verdict))] += 1
        else:
            answers.judgements[question.id] = answer
    return answers._replace(tally=Tally(num_in=len(rows), dropped=dict(dropped)))


def implicit_constitution(columns: ColumnMap) -> Constitution:
    """One principle that stands for the standard by which the recorded judge decided."""
    text = columns.principle_text or "The response that the recorded judge prefers, by the standard it was given."
    description = f"Stands for the standard of {columns.judge}, whose verdicts were recorded elsewhere."
    lines = [
        "name: recorded",
        f"description: {json.dumps(description, ensure_ascii=False)}",
        "principles:",
        f"  - id: {json.dumps(columns.principle, ensure_ascii=False)}",
        f"    text: {json.dumps(text, ensure_ascii=False)}",
    ]
    return Constitution(
        name="recorded",
        description=description,
        principles=(Principle(id=columns.principle, text=text, weight=1.0),),
        source="\n".join(lines) + "\n",
    )


def _asked_principle(constitution: Constitution, columns: ColumnMap) -> PrincipleKey:
    by_id = {principle.id: principle for principle in constitution.principles}
    weighted = [principle.id for principle in constitution.principles if principle.weight > 0]
    if columns.principle in by_id:
        if weighted != [columns.principle]:
            raise ConstitutionError(
                f'the recorded verdicts are of "{columns.principle}" alone, and the constitution weighs '
                + (", ".join(weighted) or "nothing"),
                where=constitution.name,
                fix=f'give "{columns.principle}" a weight above 0 and the others 0, or give no constitution',
            )
        return PrincipleKey(id=columns.principle, text_digest=by_id[columns.principle].digest)
    there = ", ".join(principle.id for principle in constitution.principles)
    raise ConstitutionError(
        f'the constitution has no principle "{columns.principle}"',
        where=constitution.name,
        fix=f"write one of {there} under `principle` in the column map",
    )


def compare_recorded(questions: Mapping[str, Question], judgements: Mapping[str, Judgement]) -> list[Comparison]:
    """One comparison per pair; it is debiased where both of its orders were recorded and can be read.

    questions: by id. judgements: by question id, in the order in which their pairs are compared.
    """
    orders: dict[frozenset[str], list[Question]] = {}
    for question_id in judgements:
        question = questions[question_id]
        orders.setdefault(frozenset(question.sample_ids), []).append(question)
    return [
        compare(
            prompt_id=shown[0].prompt_id,
            sample_ids=(shown[0].sample_ids[0], shown[0].sample_ids[1]),
            principle=shown[0].principles[0],
            judge_id=shown[0].judge_id,
            listed=judgements[shown[0].id],
            swapped=judgements[shown[1].id] if len(shown) == 2 else None,
        )
        for shown in orders.values()
    ]


def _require_columns(rows: Sequence[Row], wanted: Collection[str], *, where: str) -> None:
    if not rows:
        raise DataError("the file has no rows", where=where, fix="write one row per pair or verdict")
    there = list(dict.fromkeys(column for row in rows for column in row.columns))
    for column in sorted(wanted):
        if column not in there:
            raise missing_column(column, columns=there, where=where, way_out="name it in the file of --columns")


def _require_judgements(answers: _Answers, *, columns: ColumnMap, where: str) -> None:
    """A column map that fits no verdict at all is an error of the map, not a file of failures."""
    if answers.judgements:
        return
    if answers.unread:
        seen = ", ".join(describe(value) for value, _ in answers.unread.most_common(3))
        raise DataError(
            f'none of {answers.tally.num_in} verdicts can be read: "{columns.verdict}" holds {seen}',
            where=where,
            fix="name the values that it holds under `verdict_values`",
        )
    raise DataError(
        f"no verdict belongs to a usable pair ({answers.tally})",
        where=where,
        fix=f'check that "{columns.key}" names the same pairs in both files',
    )


def _without_zeros(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _sorted_pairs(pairs: Iterable[RecordedPair]) -> list[tuple[Sample, Sample]]:
    """Each pair once, in its canonical order: by sample id."""
    found: dict[tuple[str, str], tuple[Sample, Sample]] = {}
    for pair in pairs:
        a, b = sorted(pair.samples, key=lambda sample: sample.id)
        found.setdefault((a.id, b.id), (a, b))
    return list(found.values())


def _distinct(records: Iterable[R]) -> list[R]:
    """Each record once, in the order of its first use."""
    found: dict[str, R] = {}
    for record in records:
        found.setdefault(record.id, record)
    return list(found.values())
