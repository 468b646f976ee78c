"""Rendered questions -> those that are still to be asked, one by one, whenever the judge can take another.

Left out are questions that the ledger answers, questions that failed as often as is allowed, and further draws of
questions whose answers have log-probabilities. Asks nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rlaif.judging.question_log import read_streamed
from rlaif.judging.unanswered import is_unanswered
from rlaif.ledger.answers import Answered, find_answered
from rlaif.ledger.store import Ledger
from rlaif.models.interface import StreamingScorer
from rlaif.records import Question, SegmentedMessage

CHUNK = 64
"""How many questions are looked up in the ledger together."""

Rendered = Iterable[tuple[Question, tuple[SegmentedMessage, ...]]]
FIRST_DRAW = range(1)


class OpenQuestion(NamedTuple):
    """A question that is still to be asked."""

    question: Question
    chat: tuple[SegmentedMessage, ...]
    attempt: int
    """1: the question never failed before."""


def find_open(
    rendered: Rendered,
    *,
    draws: range,
    ledger: Ledger,
    scorer: StreamingScorer,
    max_attempts: int,
    under_way: Container[str],
    log_path: Path,
    on_known: Callable[[int], None],
    on_answered: Callable[[Mapping[str, Answered]], None] = lambda answered: None,
) -> Iterator[OpenQuestion]:
    """The questions to ask, made one by one.

    `draws`: the first draw of each question, or the further ones of those without log-probabilities. `under_way`: ids
    of the questions that are being asked, read when a question's turn comes. `log_path`: the log of what this stage
    sent; a question that used up its attempts in another stage without any answer is asked once here. `on_known` is
    called with the number of questions that are not to be asked, `on_answered` with those that the ledger answers.
    """
    waiting = iter(rendered)
    while chunk := list(islice(waiting, CHUNK)):
        wanted = chunk if draws == FIRST_DRAW else _further_draws(chunk, draws=draws, ledger=ledger)
        ids = [question.id for question, _ in wanted]
        answered = find_answered(ledger, ids)
        on_answered(answered)
        for served_model in {known.served_model for known in answered.values()}:
            scorer.expect_model(served_model)
        attempts = ledger.failed_attempts(key for key in ids if key not in answered)
        used_up = [key for key, count in attempts.items() if count >= max_attempts]
        reopened = _find_unanswered_elsewhere(used_up, ledger=ledger, log_path=log_path)
        on_known(len(chunk) * len(draws) - len(wanted))
        for question, chat in wanted:
            attempt = attempts.get(question.id, 0) + 1
            is_used_up = attempt > max_attempts and question.id not in reopened
            if question.id in answered or question.id in under_way or is_used_up:
                on_known(1)
                continue
            yield OpenQuestion(question, chat, attempt)


def _find_unanswered_elsewhere(used_up: list[str], *, ledger: Ledger, log_path: Path) -> set[str]:
    """Questions without attempts left that no server ever answered and that this stage never sent."""
    if not used_up:
        return set()
    failures = ledger.failures_for(used_up)
    unanswered = {key for key in used_up if is_unanswered(failures.get(key))}
    return unanswered.difference(read_streamed(log_path.parent)) if unanswered else set()


def _further_draws(
    chunk: list[tuple[Question, tuple[SegmentedMessage, ...]]], *, draws: range, ledger: Ledger
) -> list[tuple[Question, tuple[SegmentedMessage, ...]]]:
    first = find_answered(ledger, [question.id for question, _ in chunk])
    alone = [(q, chat) for q, chat in chunk if q.id in first and not first[q.id].has_logprobs]
    return [(question.changed(draw=draw), chat) for question, chat in alone for draw in draws]
