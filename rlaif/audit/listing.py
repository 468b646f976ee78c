"""What `rlaif audit list` shows: judgements, pairs that the order decided, or failed answers, page by page.

Reads the ledger, returns a table of texts that a terminal and a page print alike. Texts may come from models and data
sets: whoever prints them makes them harmless.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from rlaif.errors import InputError, describe_names
from rlaif.ledger import queries
from rlaif.ledger.listing import find_principle_ids, find_run_names
from rlaif.ledger.queries import ComparisonLine, FailureLine, JudgementLine
from rlaif.ledger.store import Ledger
from rlaif.records import Judgement, Question, Verdict

Listed = Literal["judgements", "flipped", "failed"]
ID_SHOWN = 12
MAX_TEXT = 200
"""Characters of a reason or a raw reply."""


class Listing(NamedTuple):
    """One page of a list."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    next_key: int | None
    """Give it as `after` for the next page; None: that was all."""


def list_decisions(
    ledger: Ledger,
    listed: Listed,
    *,
    principle: str | None = None,
    verdict: Verdict | None = None,
    run: str | None = None,
    after: int = 0,
    limit: int = 20,
) -> Listing:
    """`listed`: judgements, comparisons whose two orders named different winners, or failed answers, which have no
    verdict to be found by.

    Raises `InputError` where the ledger has no such principle: an empty list is right only for a name that exists.
    """
    found = _list(ledger, listed, principle=principle, verdict=verdict, run=run, after=after, limit=limit)
    if not found.rows:
        _refuse_unknown_principle(ledger, principle)
    return found


def _refuse_unknown_principle(ledger: Ledger, principle: str | None) -> None:
    if principle is not None and principle not in (known := find_principle_ids(ledger.rows)):
        raise InputError(
            f'no decision in this ledger is under a principle "{principle[:80]}"',
            where=str(ledger.path),
            fix=describe_names(principle, known, noun="the principles"),
        )


def refuse_unknown_run(ledger: Ledger, run: str | None) -> None:
    """Refuse the name of a run that used nothing of a ledger that is given by its file, without the runs' folder."""
    if run is not None and run not in (known := find_run_names(ledger.rows)):
        raise InputError(
            f'no run "{run[:80]}" used a decision in this ledger',
            where=str(ledger.path),
            fix=describe_names(run, known, noun="the runs"),
        )


def _list(
    ledger: Ledger, listed: Listed, *, principle: str | None, verdict: Verdict | None, run: str | None, after: int,
    limit: int,
) -> Listing:  # fmt: skip
    if listed == "flipped":
        compared = queries.list_comparisons(
            ledger, principle=principle, verdict=verdict, flipped=True, run=run, after=after, limit=limit
        )
        columns = ("key", "comparison", "principle", "p(first)", "position effect", "prompt")
        return Listing(columns, tuple(map(_comparison_row, compared.lines)), compared.next_key)
    if listed == "failed":
        failed = queries.list_failures(ledger, principle=principle, run=run, after=after, limit=limit)
        columns = ("key", "failed", "principle", "cause", "attempt", "raw reply")
        return Listing(columns, tuple(map(_failure_row, failed.lines)), failed.next_key)
    judged = queries.list_judgements(ledger, principle=principle, verdict=verdict, run=run, after=after, limit=limit)
    columns = ("key", "judgement", "principle", "verdict", "label mass", "reason")
    return Listing(columns, tuple(map(_judgement_row, judged.lines)), judged.next_key)


def _judgement_row(line: JudgementLine) -> tuple[str, ...]:
    key, judgement, question = line
    mass = "not known" if judgement.label_mass is None else f"{judgement.label_mass:.3f}"
    reason = _one_line(judgement.reason or "")
    return (str(key), judgement.id[:ID_SHOWN], _names(question), _describe_outcome(judgement), mass, reason)


def _describe_outcome(judgement: Judgement) -> str:
    if judgement.score is not None:
        return f"score {judgement.score:g}"
    return judgement.verdict or str(judgement.ranking)


def _comparison_row(line: ComparisonLine) -> tuple[str, ...]:
    key, comparison = line
    effect = "not known" if comparison.position_effect is None else f"{comparison.position_effect:+.2f}"
    return (
        str(key), comparison.id[:ID_SHOWN], comparison.principle.id, f"{comparison.p_first:.3f}", effect,
        comparison.prompt_id[:ID_SHOWN],
    )  # fmt: skip


def _failure_row(line: FailureLine) -> tuple[str, ...]:
    key, failure, question = line
    return (
        str(key), failure.id[:ID_SHOWN], _names(question), failure.cause, str(failure.attempt),
        _one_line(failure.raw_reply),
    )  # fmt: skip


def _names(question: Question | None) -> str:
    """Ids of the principles that a question is about."""
    return ", ".join(principle.id for principle in question.principles) if question else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]
