"""What a batch endpoint says: how far a batch is, and the answers in its files, one by one.

A line that is no answer is read as None, and a batch without id or status is refused. Sends nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import from_json

from rlaif.errors import StageError
from rlaif.models.endpoint.address import Address
from rlaif.models.endpoint.guards import find_id_fault, read_count, read_time
from rlaif.models.endpoint.http import Answer, read_refusal
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
        status = read_count(status) or 0
        said, words = read_refusal(body, status=status, address=address)
        answer = Answer(
            status, body, said, address.hide(request_id)[:200] if isinstance(request_id, str) else "", words=words
        )
        return BatchLine(key, answer, True)
    code = error.get("code") if isinstance(error, dict) else None
    said = address.hide(show_words(error))[:500] or "the server gave no answer"
    return BatchLine(key, Answer(0, said=said, words=find_words(error)), code not in NOT_ASKED)


def read_id(answer: Answer, *, address: Address) -> str:
    """The id in an answer of a batch endpoint, which goes into addresses, into the journal and onto the terminal."""
    given = answer.body.get("id") if isinstance(answer.body, dict) else None
    return _read_id(given, address=address)


def read_batch(body: Any, *, address: Address) -> BatchState:
    """How far a batch is."""
    given = body if isinstance(body, dict) else {}
    counts = given.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    id = _read_id(given.get("id"), address=address)
    status, expires_at = given.get("status"), read_time(given.get("expires_at"))
    if not isinstance(status, str) or not status:
        raise _refuse('without "status"', address)
    return BatchState(
        id=id,
        status=address.hide(status)[:40],
        done=sum(read_count(counts.get(name)) or 0 for name in ("completed", "failed")),
        total=read_count(counts.get("total")) or 0,
        output_file_id=_read_file_id(given.get("output_file_id"), address=address),
        error_file_id=_read_file_id(given.get("error_file_id"), address=address),
        said=_first_error(given.get("errors"), address=address),
        expires_at=expires_at,
    )


def _read_file_id(given: Any, *, address: Address) -> str | None:
    return _read_id(given, address=address) if isinstance(given, str) and given else None


def _read_id(given: Any, *, address: Address) -> str:
    if not isinstance(given, str) or not given:
        raise _refuse('without "id"', address)
    if fault := find_id_fault(given):
        raise _refuse(f"with an id that {fault} ({address.hide(given)[:80]})", address)
    if address.strike(given) != given:
        raise _refuse("with an id that repeats the key", address)
    return given


def _refuse(what: str, address: Address) -> StageError:
    return StageError(
        f"the judge's server answered {what}",
        where=f"{address.host}: its batch endpoint",
        fix="ask without --batch-api",
    )


def _first_error(errors: Any, *, address: Address) -> str:
    return address.hide(show_words(errors))[:300] if errors else ""
