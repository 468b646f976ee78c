"""Facts about the answers to many thousands of questions: which model answered, and what the answers cost.

Question ids in, a few columns out; no answer is read whole. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import id_lists


class Answered(NamedTuple):
    served_model: str
    """Model name as the server reported it; empty for a local engine."""
    has_logprobs: bool
    host: str = ""
    """The server that answered; empty for a local engine."""


class Paid(NamedTuple):
    """Cost of answers and failures together."""

    calls: int
    tokens: int
    cost: float
    questions: int
    """Number of questions that have an answer or a failure."""


_ATTEMPTS = " UNION ALL ".join(
    f"SELECT question_id, observed FROM {table} WHERE question_id IN (SELECT value FROM json_each(?1))"
    for table in ("judgements", "failed_judgements")
)
_SUMS = (
    "total(coalesce(json_extract(observed, '$.served.calls'), 1)),"
    " total(coalesce(json_extract(observed, '$.prompt_tokens'), 0)"
    " + coalesce(json_extract(observed, '$.reply_tokens'), 0)"
    " + coalesce(json_extract(observed, '$.served.lost_tokens'), 0)),"
    " total(json_extract(observed, '$.served.cost'))"
)
"""SQL of the calls, tokens and cost of all attempts."""


def find_answered(ledger: Ledger, question_ids: Iterable[str]) -> dict[str, Answered]:
    """Facts about the acknowledged answers, by question id; questions without an answer are missing."""
    sql = (
        "SELECT question_id, coalesce(json_extract(observed, '$.served_model'), ''),"
        " json_array_length(content, '$.logprobs') > 0"
        " OR coalesce(json_array_length(content, '$.choice_logprobs'), 0) > 0"
        " OR coalesce(json_array_length(content, '$.log_likelihoods'), 0) > 0,"
        " coalesce(json_extract(observed, '$.served.host'), '') FROM judgements"
        " WHERE question_id IN (SELECT value FROM json_each(?))"
    )
    return {
        key: Answered(model, bool(has_logprobs), host)
        for chunk in id_lists(question_ids)
        for key, model, has_logprobs, host in ledger.rows(sql, (chunk,))
    }


def sum_paid(ledger: Ledger, question_ids: Iterable[str]) -> Paid:
    """Cost of all attempts at these questions together."""
    sql = f"SELECT {_SUMS}, count(DISTINCT question_id) FROM ({_ATTEMPTS})"
    pages = [ledger.rows(sql, (chunk,))[0] for chunk in id_lists(question_ids)]
    calls, tokens, cost, questions = (sum(column) for column in zip(*pages, strict=True)) if pages else (0, 0, 0, 0)
    return Paid(int(calls), int(tokens), float(cost), int(questions))


def find_paid(ledger: Ledger, question_ids: Iterable[str]) -> dict[str, Paid]:
    """Cost of all attempts at each of these questions; questions without an attempt are missing."""
    sql = f"SELECT question_id, {_SUMS}, 1 FROM ({_ATTEMPTS}) GROUP BY question_id"
    return {
        key: Paid(int(calls), int(tokens), float(cost), int(questions))
        for chunk in id_lists(question_ids)
        for key, calls, tokens, cost, questions in ledger.rows(sql, (chunk,))
    }


def find_served_models(ledger: Ledger, question_ids: Iterable[str], *, judge_id: str) -> set[str]:
    """Model names that servers reported when they answered these questions for one judge."""
    sql = (
        "SELECT DISTINCT json_extract(a.observed, '$.served_model') FROM judgements AS a JOIN questions AS q"
        " ON q.id = a.question_id WHERE a.question_id IN (SELECT value FROM json_each(?1))"
        " AND json_extract(q.content, '$.judge_id') = ?2"
    )
    pages = (ledger.rows(sql, (chunk, judge_id)) for chunk in id_lists(question_ids))
    return {model for page in pages for (model,) in page if model}
