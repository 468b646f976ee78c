"""Rows of recorded samples and verdicts -> pairs, questions and answers, one row at a time.

A number where text belongs is taken as its text; a verdict that the column map does not name is a failed
judgement, never a number. Reads no files and combines no rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, NamedTuple

from rlaif.errors import DataError
from rlaif.files.messages import Sides, read_prompt_messages, read_response, read_sides
from rlaif.files.odd_rows import OddRows
from rlaif.files.row import Row, describe, joined_text, scalar_text
from rlaif.judging.choices import bound_unlisted
from rlaif.judging.recorded_columns import ColumnMap
from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.verdict_text import find_answer_start, find_verdict
from rlaif.records import (
    FailedJudgement,
    Judgement,
    Message,
    Model,
    ModelObserved,
    PrincipleKey,
    Prompt,
    Question,
    Sample,
    Verdict,
    VerdictLogprob,
)
from rlaif.stats.logits import describe_impossible

UNKNOWN_POLICY = "unknown"
WITH_REASON = 1
"""Reason tokens to expect in a recorded reply: it may hold a reason, so only a choice after the marker counts."""
_OTHER_PLACE: Mapping[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


class RecordedPair(NamedTuple):
    """A row of the samples file."""

    prompt: Prompt
    policies: tuple[Model, Model]
    samples: tuple[Sample, Sample]
    """The responses in the order of their columns."""


def recorded_model(name: str) -> Model:
    return Model(engine="recorded", weights=name, observed=ModelObserved(name=name))


def read_pairs(rows: Iterable[Row], columns: ColumnMap) -> tuple[dict[str, RecordedPair], dict[str, str]]:
    """Pairs by key, and by key why a row was dropped. Rows that cannot be read are refused together."""
    pairs: dict[str, RecordedPair] = {}
    dropped: dict[str, str] = {}
    numbers = count(1)

    def read(row: Row) -> tuple[Row, str, RecordedPair | str]:
        return row, read_key(row, columns.key, number=next(numbers)), _read_pair(row, columns)

    for row, key, made in OddRows().read(rows, read):
        if key in pairs or key in dropped:
            raise DataError(
                f'the key {describe(key)} stands twice in "{columns.key}"',
                where=row.where,
                fix="join by a column that names each pair once",
            )
        if isinstance(made, str):
            dropped[key] = made
        else:
            pairs[key] = made
    return pairs, dropped


def _read_pair(row: Row, columns: ColumnMap) -> RecordedPair | str:
    """A row's pair, or the reason for which the row gives none."""
    sides = read_sides(row.cells, columns.responses, prompt=columns.prompt, where=row.where)
    messages = _messages(row, columns, sides)
    responses = list(sides.responses) if sides else [_text(row, column) for column in columns.responses]
    if not messages:
        return "empty_prompt"
    if None in responses:
        return "no_response"
    prompt = Prompt(messages=messages, source=row.where.rsplit("/", 1)[-1])
    first, second = columns.policies.read(row) if columns.policies else (UNKNOWN_POLICY, UNKNOWN_POLICY)
    policies = (recorded_model(first), recorded_model(second))
    a, b = (
        Sample(prompt_id=prompt.id, policy_id=policy.id, finish_reason="recorded", text=text or "")
        for policy, text in zip(policies, responses, strict=True)
    )
    return "identical" if a.id == b.id else RecordedPair(prompt, policies, (a, b))


def _messages(row: Row, columns: ColumnMap, sides: Sides | None) -> tuple[Message, ...]:
    messages: tuple[Message, ...]
    if sides is not None:
        messages = sides.prompt
    elif isinstance(columns.prompt, str):
        messages = read_prompt_messages(
            _number_as_text(row.cells.get(columns.prompt)), where=row.where, column=columns.prompt
        )
    else:
        text = joined_text(_text(row, column) or "" for column in columns.prompt)
        messages = (Message(role="user", content=text),) if text else ()
    system = _text(row, columns.system) if columns.system else None
    if not messages or not system or not system.strip():
        return messages
    if messages[0].role == "system":
        raise DataError(
            f'the prompt and "{columns.system}" both have a system text',
            where=row.where,
            fix="leave one of them out",
        )
    return (Message(role="system", content=system), *messages)


def _text(row: Row, column: str) -> str | None:
    return read_response(_number_as_text(row.cells.get(column)), where=row.where, column=column)


def _number_as_text(value: Any) -> Any:
    """The value with numbers as text: a reply such as "42" or "true" is often a number in a file; NaN is missing."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return scalar_text(value) if isinstance(value, bool | int | float) else value


def read_key(row: Row, column: str | None, *, number: int) -> str:
    if column is None:
        return str(number)
    value = row.cells.get(column)
    if not isinstance(value, str | int | float) or not scalar_text(value):
        raise DataError(f'"{column}" holds {describe(value)}, no key', where=row.where, fix="give every row its key")
    return scalar_text(value)


def _is_swapped(row: Row, columns: ColumnMap) -> bool:
    if columns.order is None:
        return False
    value = row.cells.get(columns.order.column)
    for swapped, values in ((False, columns.order.listed), (True, columns.order.swapped)):
        if scalar_text(value) in {scalar_text(named) for named in values}:
            return swapped
    raise DataError(
        f'"{columns.order.column}" holds {describe(value)}, which the column map does not name',
        where=row.where,
        fix="name it under order.listed or order.swapped",
    )


def read_question(
    row: Row, pair: RecordedPair, *, columns: ColumnMap, principle: PrincipleKey, judge: Model
) -> Question:
    shown = pair.samples[::-1] if _is_swapped(row, columns) else pair.samples
    return Question(
        mode="pair",
        prompt_id=pair.prompt.id,
        sample_ids=tuple(sample.id for sample in shown),
        principles=(principle,),
        template_digest=None,
        judge_id=judge.id,
        decoding="unknown",
        rendered_digest=None,
    )


def read_answer(row: Row, question: Question, *, pair: RecordedPair, columns: ColumnMap) -> Judgement | FailedJudgement:
    value = row.cells.get(columns.verdict)
    verdict = None if value is None else _verdict_in(scalar_text(value), columns)
    reply = _text(row, columns.reply) if columns.reply else None
    raw_reply = scalar_text(value) if reply is None else reply
    if verdict is None:
        return FailedJudgement(question_id=question.id, origin="imported", cause="unparsable", raw_reply=raw_reply)
    # A verdict on the columns' responses becomes one on the places in which they were shown.
    by_response = columns.order is not None and columns.order.verdict_names == "response"
    swapped = by_response and question.sample_ids[0] != pair.samples[0].id
    verdict = _OTHER_PLACE[verdict] if swapped else verdict
    logprobs, unlisted = _logprobs(row, columns, swapped=swapped)
    if verdict not in {entry.verdict for entry in logprobs}:
        logprobs, unlisted = (), ()  # without the verdict's own they say nothing about it
    known = [entry.logprob for entry in logprobs]
    return Judgement(
        question_id=question.id,
        origin="imported",
        verdict=verdict,
        logprobs=logprobs,
        unlisted=unlisted,
        unlisted_at_most=bound_unlisted(known, number=len(unlisted)) if unlisted else None,
        label_mass=min(1.0, math.fsum(map(math.exp, known))) if known else None,
        reason=_text(row, columns.reason) if columns.reason else None,
        raw_reply=raw_reply,
    )


def _verdict_in(text: str, columns: ColumnMap) -> Verdict | None:
    """The verdict in a cell: a value that the map names, or a whole reply with such a value after the marker."""
    by_text = columns.verdict_values.by_text
    if text in by_text or columns.verdict_marker is None:
        return by_text.get(text)
    answer = text[find_answer_start(text) :]
    found = find_verdict(answer, request=ScoreRequest(columns.verdict_marker, tuple(by_text), WITH_REASON))
    return None if found is None else tuple(by_text.values())[found.choice]


def _logprobs(row: Row, columns: ColumnMap, *, swapped: bool) -> tuple[tuple[VerdictLogprob, ...], tuple[Verdict, ...]]:
    """The log-probabilities in the row, and the verdicts whose column is empty while another one is not."""
    if columns.logprobs is None:
        return (), ()
    named: list[tuple[Verdict, str | None]] = [
        ("first", columns.logprobs.first), ("second", columns.logprobs.second), ("tie", columns.logprobs.tie),
    ]  # fmt: skip
    entries: list[VerdictLogprob] = []
    empty: list[Verdict] = []
    for name, column in named:
        if column is None:
            continue
        verdict = _OTHER_PLACE[name] if swapped else name
        value = row.cells.get(column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            empty.append(verdict)
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value <= 1e-6:
            raise DataError(
                f'"{column}" holds {describe(value)}, no log-probability',
                where=row.where,
                fix="give the natural logarithm of a probability: zero or less",
            )
        entries.append(VerdictLogprob(verdict=verdict, logprob=value))
    if said := describe_impossible([entry.logprob for entry in entries]):
        raise DataError(
            f"the log-probabilities of the verdicts are none: {said}",
            where=row.where,
            fix="give natural logarithms of probabilities that sum to 1 at most, or leave out logprobs",
        )
    return tuple(entries), tuple(empty)
