"""What a batch endpoint says: how far a batch is, and the answers in its files, one by one.

A line that is no answer is read as None, and a batch without id or status is refused. Sends nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import from_json

from rlaif.errors import StageError
from rlaif.models.endpoint.http import Address, Answer, read_refusal
from rlaif.models.endpoint.refusal import find_words, show_words

NOT_ASKED = frozenset({"batch_expired", "batch_cancelled"})
"""Errors of a single request that the server never worked on."""


class BatchState(NamedTuple):
    """How far the server is with a batch."""

    id: str
    status: str
    """validating, in_progress, finalizing, completed, failed, expired, cancelling or cancelled."""
    done: int
    total: int
    output_file_id: str | None
    error_file_id: str | None
    said: str
    """What the server found wrong with the batch as a whole."""
    expires_at: float | None

    @property
    def has_ended(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchLine(NamedTuple):
    """One line of an answer file."""

    key: str
    answer: Answer
    was_asked: bool
    """False where the batch ended before the server came to this request."""


def read_line(line: bytes, *, address: Address) -> BatchLine | None:
    """One line of an answer file; None for a line that is no answer."""
    try:
        given = from_json(line)
    except ValueError:
        return None
    if not isinstance(given, dict) or not isinstance(key := given.get("custom_id"), str):
        return None
    response, error = given.get("response"), given.get("error")
    if isinstance(response, dict):
        status = response.get("status_code")
        body = response.get("body")
        request_id = response.get("request_id")
        status = status if isinstance(status, int) else 0
        said, words = read_refusal(body, status=status, address=address)
        answer = Answer(status, body, said, request_id[:200] if isinstance(request_id, str) else "", words=words)
        return BatchLine(key, answer, True)
    code = error.get("code") if isinstance(error, dict) else None
    said = address.hide(show_words(error))[:500] or "the server gave no answer"
    return BatchLine(key, Answer(0, said=said, words=find_words(error)), code not in NOT_ASKED)


def read_field(answer: Answer, name: str) -> str:
    """A text that every answer of a batch endpoint holds."""
    value = answer.body.get(name) if isinstance(answer.body, dict) else None
    if not isinstance(value, str) or not value:
        raise StageError(
            f'the judge\'s server answered without "{name}"', where="its batch endpoint", fix="ask without --batch-api"
        )
    return value


def read_batch(body: Any) -> BatchState:
    """How far a batch is."""
    answer = Answer(200, body)
    counts = body.get("request_counts") if isinstance(body, dict) else None
    counts = counts if isinstance(counts, dict) else {}
    files = {name: body.get(name) for name in ("output_file_id", "error_file_id")} if isinstance(body, dict) else {}
    expires_at = body.get("expires_at") if isinstance(body, dict) else None
    return BatchState(
        id=read_field(answer, "id"),
        status=read_field(answer, "status"),
        done=sum(n for name in ("completed", "failed") if isinstance(n := counts.get(name), int)),
        total=total if isinstance(total := counts.get("total"), int) else 0,
        output_file_id=name if isinstance(name := files.get("output_file_id"), str) else None,
        error_file_id=name if isinstance(name := files.get("error_file_id"), str) else None,
        said=_first_error(body.get("errors") if isinstance(body, dict) else None),
        expires_at=expires_at if isinstance(expires_at, int | float) else None,
    )


def _first_error(errors: Any) -> str:
    shown = show_words(errors) if errors else ""
    return "".join(c if c.isprintable() else " " for c in shown)[:300]
