"""Rendered questions -> those that are still to be asked, one by one, as somebody is free to ask them.

What the ledger answers is not asked, nor what failed as often as is allowed, nor further draws of what has
log-probabilities. Asks nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from rlaif.ledger.answered import find_answered
from rlaif.ledger.store import Ledger
from rlaif.models.interface import StreamingScorer
from rlaif.records import Question, SegmentedMessage

CHUNK = 64
"""Questions looked up in the ledger together."""

Rendered = Iterable[tuple[Question, tuple[SegmentedMessage, ...]]]
FIRST_DRAW = range(1)


class OpenQuestion(NamedTuple):
    question: Question
    chat: tuple[SegmentedMessage, ...]
    attempt: int
    """1: it was never answered nor failed."""


def find_open(
    rendered: Rendered,
    *,
    draws: range,
    ledger: Ledger,
    scorer: StreamingScorer,
    max_attempts: int,
    under_way: Container[str],
    on_known: Callable[[int], None],
) -> Iterator[OpenQuestion]:
    """`draws`: the first draw of each question, or the others of those without log-probabilities.

    `under_way`: ids of those that are being asked, looked at when their turn comes. `on_known` hears how many are not
    to be asked.
    """
    waiting = iter(rendered)
    while chunk := list(islice(waiting, CHUNK)):
        wanted = chunk if draws == FIRST_DRAW else _further_draws(chunk, draws=draws, ledger=ledger)
        ids = [question.id for question, _ in wanted]
        answered = find_answered(ledger, ids)
        for served_model in {known.served_model for known in answered.values()}:
            scorer.expect_model(served_model)
        attempts = ledger.failed_attempts(key for key in ids if key not in answered)
        on_known(len(chunk) * len(draws) - len(wanted))
        for question, chat in wanted:
            attempt = attempts.get(question.id, 0) + 1
            if question.id in answered or question.id in under_way or attempt > max_attempts:
                on_known(1)
                continue
            yield OpenQuestion(question, chat, attempt)


def _further_draws(
    chunk: list[tuple[Question, tuple[SegmentedMessage, ...]]], *, draws: range, ledger: Ledger
) -> list[tuple[Question, tuple[SegmentedMessage, ...]]]:
    first = find_answered(ledger, [question.id for question, _ in chunk])
    alone = [(q, chat) for q, chat in chunk if q.id in first and not first[q.id].has_logprobs]
    return [(question.changed(draw=draw), chat) for question, chat in alone for draw in draws]
